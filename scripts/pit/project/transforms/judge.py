def judge(row):
    if row["speed"] is not None and row["speed"] > 95:
        raise ValueError("faster than a car")
    return {"fast": None if row["speed"] is None else row["speed"] > 50}
