"""A feature from features."""


def mood(row):
    """How a visit compares with those of the week."""
    pages, usual = row["pages"], row["pages_7d"]
    return {"mood": None if pages is None or usual is None else pages * usual}
