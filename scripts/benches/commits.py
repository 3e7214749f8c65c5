"""Sixteen writers commit to one table of the lake at once, on a Postgres that keeps its promises.

Each of 200 commits a writer stages one file and publishes it; then the same while small files are merged, where every version
that was read on the way is read again at the end. Goal: 300 commits a second.
"""

import re
import subprocess
import sys

GOAL = 300


def main() -> int:
    command = [
        "cargo",
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--test",
        "offline",
        "--",
    ]
    test = ["commits::commits_a_second", "--exact", "--ignored", "--nocapture"]
    told = subprocess.run(
        [*command, *test], check=True, capture_output=True, text=True
    ).stdout
    rates = dict(re.findall(r"^(alone|merging) (\d+.*)$", told, re.MULTILINE))
    for name, rate in rates.items():
        print(f"{name:8} {rate} (commits a second)")
    return 0 if int(rates["alone"]) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
