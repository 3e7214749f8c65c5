"""Features of airports that are easier said in Python."""


def chill(row: dict) -> dict:
    """Wind chill in °F (US National Weather Service, 2001), which is defined for cold and wind; else the temperature."""
    temp, wind = row["temp"], row["wind_speed"]
    if temp is None or wind is None or temp > 50 or wind < 3:
        return {"chill": temp}
    felt = wind**0.16
    return {"chill": 35.74 + 0.6215 * temp - 35.75 * felt + 0.4275 * temp * felt}
