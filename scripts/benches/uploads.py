"""Many clients upload small files to one source at once, a third of them with bad rows, while views update.

    scripts/bench uploads [--clients N] [--files N] [--rows N] [--seconds N]

Prints how many uploads were refused or failed, how many deadlocks Postgres counted, how long an accepted file took until
its rows were visible, and how long the views took to follow. Fails unless all files arrived without a deadlock and 95 of
100 within five seconds.
"""

import argparse
import sys
import time

from dev import Dev

PROJECT = """
apiVersion: tidemill/v1
kind: Project
name: bench
---
apiVersion: tidemill/v1
kind: Entity
name: meter
keys: { meter: int }
---
apiVersion: tidemill/v1
kind: Source
name: readings
columns:
  meter: int
  read_at: timestamp
  watts: { type: float, min: 0 }
event_time: read_at
---
apiVersion: tidemill/v1
kind: FeatureView
name: last_reading
entity: meter
source: readings
features: { watts: float }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: day
entity: meter
source: readings
features:
  watts_mean_1d: { type: float, mean: watts, window: 1d }
  readings_1d: { type: int, count: "*", window: 1d }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: load
entity: meter
inputs: [last_reading, day]
features: { ratio: { type: float, sql: watts / watts_mean_1d } }
online: true
"""

BAD_EVERY = 3
P95_SECONDS_MAX = 5.0
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
OPEN = "SELECT count(*) FROM engine.run WHERE pipeline = 'ingest.upload' AND finished_at IS NULL"
UPLOADS = """
    SELECT count(*), count(published_at), coalesce(sum(rows), 0), coalesce(sum(dead_letters), 0)
    FROM catalog.upload"""
FAILED = """
    SELECT count(*) FROM engine.run
    WHERE pipeline = 'ingest.upload' AND state NOT IN ('completed', 'running')"""
DELAYS = """
    SELECT extract(epoch FROM published_at - accepted_at) FROM catalog.upload
    WHERE published_at IS NOT NULL ORDER BY 1"""
UPDATES = """
    SELECT count(*) FILTER (WHERE finished_at IS NULL), count(*) FILTER (WHERE state = 'completed'),
           count(*) FILTER (WHERE state NOT IN ('completed', 'running'))
    FROM engine.run WHERE pipeline = 'features.update'"""
FAULTS = """
    SELECT coalesce(fault ->> 'message', '?'), count(*) FROM engine.attempt
    WHERE outcome IN ('retryable', 'discarded', 'lost') GROUP BY 1 ORDER BY 2 DESC LIMIT 5"""


def main():
    """Runs it; the exit code says whether the goals were met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--files", type=int, default=50, help="of each client")
    parser.add_argument("--rows", type=int, default=20, help="of each file")
    parser.add_argument(
        "--seconds", type=int, default=600, help="to wait for the last rows"
    )
    options = parser.parse_args()
    with Dev(PROJECT) as dev:
        return measure(dev, options)


def measure(dev, options):
    """Uploads, waits, and prints the figures."""
    batches = [
        [write(dev.folder, client, number, options) for number in range(options.files)]
        for client in range(options.clients)
    ]
    before = one(dev, DEADLOCKS)
    started = time.monotonic()
    clients = [
        dev.start("sources", "upload", "readings", "--no-wait", *files)
        for files in batches
    ]
    refused = [client.communicate()[1] for client in clients]
    refused = [
        errors
        for client, errors in zip(clients, refused, strict=True)
        if client.returncode
    ]
    sent = time.monotonic() - started
    wait(lambda: one(dev, OPEN) == 0, options.seconds)
    landed = time.monotonic() - started
    wait(lambda: one(dev, UPDATES) == 0, options.seconds)
    followed = time.monotonic() - started

    accepted, published, rows, letters = map(int, dev.sql(UPLOADS)[0])
    _, updates, updates_failed = map(int, dev.sql(UPDATES)[0])
    failed = one(dev, FAILED)
    # The statistics of a session are counted when it is idle.
    deadlocks = one(dev, DEADLOCKS) - before
    delays = [float(delay) for (delay,) in dev.sql(DELAYS)]
    wanted = options.clients * options.files
    print(f"uploads      {wanted} of {options.clients} clients in {sent:.1f} s")
    print(
        f"             {accepted} accepted, {published} in the lake, {failed} failed, "
        f"{accepted - published - failed} unfinished, {len(refused)} clients refused"
    )
    print(
        f"rows         {rows} of {wanted * options.rows} in the lake, {letters} dead letters"
    )
    print(f"deadlocks    {deadlocks}")
    print(
        f"to the lake  p50 {at(delays, 0.5):.2f} s   p95 {at(delays, 0.95):.2f} s   "
        f"max {at(delays, 1):.2f} s   all after {landed:.1f} s"
    )
    print(
        f"views        {updates} updates, {updates_failed} failed, all after {followed:.1f} s"
    )
    for message, count in dev.sql(FAULTS):
        print(f"attempts     {count} failed: {message}")
    for errors in refused[:3]:
        print(errors, file=sys.stderr)
    whole = published == wanted and rows + letters == wanted * options.rows
    good = whole and not failed and not refused and not deadlocks and not updates_failed
    return 0 if good and at(delays, 0.95) <= P95_SECONDS_MAX else 1


def write(folder, client, number, options):
    """A small file; every third has a row with something wrong."""
    name = client * options.files + number
    lines = ["meter,read_at,watts"]
    for row in range(options.rows):
        meter = (name * 7 + row) % 500
        bad = name % BAD_EVERY == 0 and row == options.rows // 2
        watts = "plenty" if bad else f"{100 + row / 4}"
        lines.append(f"{meter},2024-05-01T{row % 24:02}:{name % 60:02}:00Z,{watts}")
    path = folder / f"readings-{client}-{number}.csv"
    # A number of its own, so that no two files are the same.
    lines.append(f"{name + 1000},2024-05-02T00:00:00Z,{name}")
    lines.pop(1)
    path.write_text("\n".join(lines) + "\n")
    return path


def wait(condition, seconds):
    """Until it holds, or for so long."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.5)


def one(dev, statement):
    """The first number of a statement."""
    return int(dev.sql(statement)[0][0])


def at(sorted_values, share):
    """A quantile, the next greater value."""
    if not sorted_values:
        return float("inf")
    place = max(0, -(-len(sorted_values) * share // 1) - 1)
    return sorted_values[min(len(sorted_values) - 1, int(place))]


if __name__ == "__main__":
    sys.exit(main())
