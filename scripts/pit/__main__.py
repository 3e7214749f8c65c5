"""Checks the point-in-time join through the public interfaces alone, against `oracle.py`.

    python scripts/pit [--seed N] [--labels N] [--break]

Starts `tidemill dev`, applies `project/`, uploads random files (CSV, JSON lines, Parquet) in waves while the data clock
moves, builds training sets from label files under each kind of `known_at`, and compares every value. `--break` shifts
the oracle's ttl by a microsecond, to see that the check can fail.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from data import Data, clock_of, micros, read, text, write
from oracle import HOUR, Known, agree
from views import views

CHECKS_LEAST = 2_000


class Tidemill:
    """A `tidemill dev` of its own, and commands in its folder."""

    def __init__(self, folder):
        self.folder = folder
        self.dev = subprocess.Popen(
            ["tidemill", "dev"], cwd=folder, stderr=subprocess.PIPE, text=True
        )
        for line in self.dev.stderr:
            if "next: tidemill apply" in line:
                return
        raise SystemExit("tidemill dev did not start; see .tidemill/logs")

    def run(self, *arguments):
        """One command; what it prints."""
        done = subprocess.run(
            ["tidemill", *map(str, arguments)],
            check=False,
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(
                f"tidemill {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def stop(self):
        """In order, as Ctrl-C does."""
        self.dev.send_signal(signal.SIGINT)
        self.dev.communicate()


def main():
    """Runs it all; the exit code says whether every value was right."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(1 << 32)
    )
    parser.add_argument(
        "--labels", type=int, default=300, help="label rows of each training set"
    )
    parser.add_argument(
        "--break", action="store_true", dest="broken", help="shift the oracle's ttl"
    )
    options = parser.parse_args()
    started = time.monotonic()
    print(f"pit: seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tidemill-pit-") as folder:
        folder = Path(folder)
        shutil.copytree(Path(__file__).parent / "project", folder, dirs_exist_ok=True)
        tidemill = Tidemill(folder)
        try:
            checks, wrong = check(tidemill, random.Random(options.seed), options)
        finally:
            tidemill.stop()
    for one in wrong[:10]:
        print(f"  {one}", file=sys.stderr)
    told = ", ".join(f"{name} {count}" for name, count in sorted(checks.items()))
    print(
        f"pit: {sum(checks.values())} values checked ({told}), {len(wrong)} wrong, {time.monotonic() - started:.0f} s"
    )
    return 1 if wrong or sum(checks.values()) < CHECKS_LEAST else 0


def check(tidemill, rng, options):
    """Uploads, builds and compares; how many values of each view, and what was wrong."""
    data = Data(rng)
    tidemill.run("apply")
    for wave, (trips, pings) in enumerate(
        [("csv", "jsonl"), ("parquet", "csv"), ("jsonl", "parquet")]
    ):
        tidemill.run("clock", "set", text(micros(clock_of(wave))))
        for source, ending, rows, times in [
            ("trips", trips, data.new_trips(wave), ["ended_at", "recorded_at"]),
            ("pings", pings, data.new_pings(wave), ["seen_at"]),
        ]:
            file = tidemill.folder / f"{source}-{wave}.{ending}"
            write(file, rows, times, rng)
            tidemill.run("sources", "upload", source, file)
    oracle = views(data, 1 if options.broken else 0)
    fixed = micros(clock_of(1)) + 7 * HOUR
    checks, wrong = Counter(), []
    for known, labels, result in [
        (Known(), "csv", "jsonl"),
        (Known("label"), "jsonl", "parquet"),
        (Known("fixed", fixed), "parquet", "jsonl"),
    ]:
        rows = data.labels(options.labels)
        file, out = (
            tidemill.folder / name for name in (f"labels.{labels}", f"set.{result}")
        )
        write(file, rows, ["label_ts"], rng)
        flag = {
            "any": [],
            "label": ["--known-at", "label"],
            "fixed": ["--known-at", text(fixed)],
        }[known.mode]
        tidemill.run(
            "datasets",
            "build",
            "--labels",
            file,
            "--inputs",
            ",".join(oracle),
            "--force",
            "--out",
            out,
            *flag,
        )
        compare(read(out), rows, oracle, known, checks, wrong)
    return checks, wrong


def compare(got, labels, asked, known, checks, wrong):
    """Every label row is there, in order, with every value."""
    if [row["number"] for row in got] != [row["number"] for row in labels]:
        wrong.append(
            f"known_at {known.mode}: {len(got)} rows for {len(labels)} labels, or in another order"
        )
        return
    for found, label in zip(got, labels, strict=True):
        t = label["label_ts"]
        for view, (keys, rule) in asked.items():
            key = tuple(label[name] for name in keys)
            for name, expected in rule.at(key, t, known).items():
                checks[view] += 1
                if not agree(found[name], expected):
                    place = (
                        f"{view}.{name} of {key} at {text(t)} (known_at {known.mode})"
                    )
                    wrong.append(f"{place}: got {found[name]!r}, expected {expected!r}")


if __name__ == "__main__":
    sys.exit(main())
