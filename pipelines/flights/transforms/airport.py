"""Features of airports that are easier said in Python."""


def stress(row: dict) -> dict:
    """Late departures in strong wind: minutes times miles per hour; unknown where either is."""
    delay, wind = row["dep_delay_2h"], row["wind_speed"]
    return {"stress": None if delay is None or wind is None else delay * wind}
