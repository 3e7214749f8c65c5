"""What servers that go away cost, and how fast everything comes back.

    scripts/bench outages [--short] [--only NAME…]

Starts a `tidemill dev` of its own (its objects on an S3 server) under light load: a file and a run every few seconds,
predictions all the time. Then one server after the other goes away, in each way that it can. One line for each:

- down: how long it was away; works again: from its return until a new file is served and a run ends
- repeated: attempts of runs and jobs beyond the first of each; lost: acknowledged rows and runs that are not there or have
  failed in the end, which must be none
- failed: requests that failed of those that were made
- what `/readyz` of server and serve answered, and `status`, in the order in which that changed

Ends with 1 when something was lost or did not work again.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from load import Load, works
from outages import Outages
from servers import Dev, ObjectStore

WORKS_WITHIN = 300
SETTLES_WITHIN = 180
HEADINGS = (
    "outage",
    "down s",
    "works again s",
    "repeated",
    "lost",
    "failed uploads",
    "failed runs",
    "failed predictions",
    "server ready",
    "serve ready",
    "status",
)


def measured(dev, load, outage):
    """Lets one outage happen under load; the cells of its line and what was lost."""
    load.reset()
    runs, began = len(load.runs), dev.must("clock", "show")["now"]
    load.start()
    time.sleep(3)
    left = time.monotonic()
    outage()
    back = time.monotonic()
    again = None
    while again is None and time.monotonic() - back < WORKS_WITHIN:
        if works(dev, load):
            again = time.monotonic() - back
    load.stop()
    lost, repeated = settled(dev, load, runs, began)
    if again is None:
        lost.append("nothing works again")
    of = lambda what: f"{load.failed[what]} of {load.tried[what]}"
    said = [
        " → ".join(map(str, load.said[who])) for who in ("server", "serve", "status")
    ]
    cells = [
        outage.__doc__,
        f"{back - left:.0f}",
        "never" if again is None else f"{again:.1f}",
        repeated,
        len(lost),
        of("uploads"),
        of("runs"),
        of("predictions"),
        *said,
    ]
    return [str(cell) for cell in cells], lost


def settled(dev, load, first, began):
    """Waits until nothing runs any more; acknowledged things that are not there, and attempts beyond the first."""
    deadline = time.monotonic() + SETTLES_WITHIN
    while time.monotonic() < deadline:
        rows = {
            source["name"]: source["rows"] for source in dev.must("sources", "list")
        }
        running = dev.must("runs", "list", "--all", "--state", "running")
        if rows["orders"] >= len(load.rows) and not running:
            break
        time.sleep(0.5)
    lost = [
        f"{name} rows are gone" for name in ["orders"] if rows[name] < len(load.rows)
    ]
    for run in load.runs[first:]:
        page = dev.must("runs", "show", run)
        if page["state"] != "completed":
            lost.append(f"{run} is {page['state']}: {page.get('fault')}")
    # What Redis lost is written again from the lake, which takes a moment.
    while (missing := offline(dev, load)) and time.monotonic() < deadline:
        time.sleep(1)
    lost += missing
    repeated = 0
    for run in dev.must("runs", "list", "--all", "--limit", 1000):
        if run["created_at"] >= began:
            steps = dev.must("runs", "show", run["id"])["step_list"]
            repeated += sum(max(0, len(step["attempts"]) - 1) for step in steps)
    return lost, repeated


def offline(dev, load):
    """Of twenty acknowledged rows, the newest among them, those whose value is not online."""
    customers = list(load.rows)[:: max(1, len(load.rows) // 19)] + list(load.rows)[-1:]
    missing = []
    for customer in customers:
        _, said = dev.run(
            "features", "get", "--view", "last_order", "--entity", customer
        )
        if str(load.rows[customer]) not in json.dumps(said):
            missing.append(f"customer {customer}: {json.dumps(said)}")
    return missing


def table(lines):
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench outages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--short", action="store_true", help="short outages, for a quick look"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="only outages whose name has this"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    asked = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="tidemill-outages-"))
    shutil.copytree(Path(__file__).with_name("project"), folder, dirs_exist_ok=True)
    (folder / "files").mkdir()
    objects = ObjectStore(folder / "weed")
    dev = Dev(folder, objects)
    lines, failed = [HEADINGS], False
    try:
        dev.must("apply")
        load = Load(dev, folder / "files")
        load.ended.clear()
        load.upload()
        dev.must("run", "train", "--wait")
        for outage in Outages(dev, objects, asked.short).all():
            if asked.only and not any(word in outage.__doc__ for word in asked.only):
                continue
            print(f"{outage.__doc__} …", file=sys.stderr, flush=True)
            cells, bad = measured(dev, load, outage)
            print("  " + " · ".join(cells[1:]), file=sys.stderr, flush=True)
            print(
                *(f"  lost: {what}\n" for what in bad),
                sep="",
                end="",
                file=sys.stderr,
                flush=True,
            )
            lines.append(cells)
            failed |= bool(bad)
    finally:
        dev.stop()
        objects.process.kill()
        objects.process.wait()
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    table(lines)
    return int(failed)


sys.exit(main())
