"""The views of `project/` as the oracle sees them."""

from data import TTL, TTL_SHORT
from oracle import (
    DAY,
    HOUR,
    MINUTE,
    DerivedView,
    Input,
    LastView,
    Window,
    WindowView,
)


def views(data, ttl_shift):
    """The project's views as the oracle sees them, with their keys."""

    def double(row, _):
        fare, stops = row.columns["fare"], row.columns["stops"]
        return None if fare is None else fare * 2 + (stops or 0)

    def column(name):
        return lambda row, _: row.columns[name]

    def is_fast(row, _):
        # The project's function raises above 95: such a row has no value, and what it replaced is gone.
        speed = row.columns["speed"]
        return None if speed is None or speed > 95 else speed > 50

    def strain(values):
        return None if values["speed"] is None else values["speed"] * values["pings_1h"]

    def rate(values):
        trips = values["trips_2h"]
        return values["fare_sum_6h"] / trips if trips else None

    def gap(values):
        speeds = values["own_speed"], values["other_speed"]
        return None if None in speeds else speeds[0] - speeds[1]

    def pull(values):
        age = -1 if values["age"] is None else values["age"]
        return float((values["own_driver_strain"] or 0) + age)

    five = 5 * MINUTE
    last_trip = LastView(
        data.trips,
        {
            "fare": column("fare"),
            "stops": column("stops"),
            "double": double,
            "age": lambda row, t: (t - row.valid_at) / MINUTE,
        },
        TTL + ttl_shift,
        ("trip",),
        {"fare": -1.0},
    )
    trip_windows = WindowView(
        data.trips,
        {
            "trips_2h": Window("count", None, 2 * HOUR, five),
            "fares_2h": Window("count", "fare", 2 * HOUR, MINUTE),
            "fare_sum_6h": Window("sum", "fare", 6 * HOUR, HOUR),
            "fare_mean_2h": Window("mean", "fare", 2 * HOUR, five),
            "stops_min_13h": Window("min", "stops", 13 * HOUR, HOUR),
            "stops_max_2d": Window("max", "stops", 2 * DAY, HOUR),
        },
        ("trip",),
        {"fare_sum_6h": 0.0},
    )
    pings = {"speed": column("speed"), "ok": column("ok"), "city_seen": column("city")}
    last_ping = LastView(data.pings, pings)
    ping_windows = WindowView(
        data.pings,
        {
            "pings_1h": Window("count", None, HOUR, 30 * MINUTE),
            "speed_sum_1h": Window("sum", "speed", HOUR, five),
        },
    )
    car, driver = ["city", "driver"], ["driver"]

    def same(key, _):
        return key

    def driver_of(key, _):
        return key[1:]

    strain_view = DerivedView(
        [Input(last_ping, same), Input(ping_windows, same)], {"strain": strain}
    )
    mood = DerivedView(
        [
            Input(last_trip, same),
            Input(trip_windows, same),
            Input(last_ping, driver_of, "own"),
            Input(last_ping, lambda _, values: (values["stops"],), "other"),
            Input(strain_view, driver_of, "own_driver"),
        ],
        {"rate": rate, "gap": gap, "pull": pull},
        {"rate": -2.0},
    )
    return {
        "last_trip": (car, last_trip),
        "trip_windows": (car, trip_windows),
        "last_ping": (driver, last_ping),
        "ping_windows": (driver, ping_windows),
        "judged": (driver, LastView(data.pings, {"fast": is_fast}, TTL_SHORT)),
        "strain": (driver, strain_view),
        "mood": (car, mood),
    }
