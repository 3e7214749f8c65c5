"""Checks that every value comes out of every door as it went in, through real processes alone.

    python scripts/doors [--seed N] [--values N] [--break TYPE]

Starts `tidemill dev`, uploads random rows (CSV, JSON lines, Parquet) with bad ones among them, and compares what comes
out of exports, training sets, features and predictions over REST, gRPC, the Python client and the command line.
`docs/reference/values.md` is the law: what a column can't hold must be refused with its place. `--break TYPE` has the
oracle expect the neighbour of one value of a type, `--break place` a refusal one row later, to see that the check can
fail.
"""

import argparse
import math
import random
import sys
import tempfile
import time
from pathlib import Path

import clients
import datasets
import predictions
import project
import reads
import refusals
import uploads
from asked import Asked
from tally import Tally
from values import FEATURES, TYPES, Values, other
from world import World

REQUESTS = 2_000
"""Predictions of each interface."""
READS = 200
"""Entities whose features are read one by one over REST."""
COMMANDS = 50
"""Predictions on the command line."""
ROWS_LEAST = 100
CHECKS_LEAST = 20_000


def main():
    """Runs it all; the exit code says whether every value was right."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(1 << 32)
    )
    parser.add_argument(
        "--values",
        type=int,
        default=10_000,
        help="values of all types that go into each format of file",
    )
    parser.add_argument(
        "--break",
        choices=sorted({*TYPES.values(), "place"}),
        dest="broken",
        help="expect something else of one value, or of every place",
    )
    options = parser.parse_args()
    started = time.monotonic()
    print(f"doors: seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tidemill-doors-") as folder:
        project.write(Path(folder))
        world = World(Path(folder))
        try:
            tally = check(world, random.Random(options.seed), options)
        finally:
            world.stop()
    for one in tally.told:
        print(f"  {one}", file=sys.stderr)
    print(tally.table())
    wrong = sum(door.wrong for door in tally.doors.values())
    values = sum(door.values for door in tally.doors.values())
    refused = sum(door.refused for door in tally.doors.values())
    took = time.monotonic() - started
    print(
        f"doors: seed {options.seed}, {values} values compared, {refused} refusals, {wrong} wrong, {took:.0f} s"
    )
    return 1 if wrong or values < CHECKS_LEAST else 0


def check(world, rng, options):
    """Sends, reads and compares."""
    tally, world.rng = Tally(), rng
    count = math.ceil(options.values / len(TYPES))
    rows = Values(rng).rows(max(count, ROWS_LEAST))
    expected = [dict(row) for row in rows]
    for name in FEATURES:
        if TYPES[name] == options.broken:
            expected[0][name] = other(expected[0][name])
    asked = Asked(rows, expected, rng)
    world.run("apply")
    for model in ("echo", "repeat"):
        world.run("run", f"train_{model}", "--wait")
    uploads.upload(world, tally, rows, rng, 1 if options.broken == "place" else 0)
    uploads.export(world, tally, expected)
    uploads.upload_exports(world, tally, expected)
    datasets.build_all(world, tally, rows, expected, rng)
    datasets.asked_for(world, tally, asked, rng)
    datasets.learn(world, tally, expected)
    datasets.historical(world, tally, rows, expected, rng)
    world.settled([*datasets.VIEWS, "whole"])
    reads.wire(world, tally, rows, expected)
    reads.rest(world, tally, rows, expected, READS, READS // 10)
    reads.command(world, tally, rows, expected, COMMANDS // 5)
    predictions.rest(world, tally, asked, REQUESTS)
    predictions.wire(world, tally, asked, REQUESTS)
    predictions.command(world, tally, asked, COMMANDS)
    clients.all_of(world, tally, rows, expected, asked, REQUESTS)
    refusals.of_predictions(world, tally, asked)
    refusals.of_features(world, tally)
    refusals.of_labels(world, tally)
    refusals.of_commands(world, tally, asked)
    return tally


if __name__ == "__main__":
    sys.exit(main())
