"""Holds the figures of the demo's summary against what the year 2013 is known to give.

    python scripts/demo_figures.py SUMMARY.json

Bounds are wide enough for another version of a library, too narrow for a join that sees the future, a model that was
not trained, or a value that is not the one that was stored.
"""

import json
import sys
from pathlib import Path


def main(path: Path) -> int:
    summary = json.loads(path.read_text())
    wrong = [what for what, holds in expectations(summary) if not holds]
    for what in wrong:
        print(f"the demo's figures don't hold: {what}", file=sys.stderr)
    return 1 if wrong else 0


def expectations(summary):
    rows, predictions, recovery = (
        summary[name] for name in ("rows", "predictions", "recovery")
    )
    yield "336,776 flights", rows["schedule"] == 336_776 and rows["arrivals"] == 327_346
    yield (
        "26,115 weather hours, 3,322 planes",
        rows["weather"] == 26_115 and rows["planes"] == 3_322,
    )
    yield "no dead letters", not any(summary["dead_letters"].values())

    june = {role: model["auc_june"] for role, model in summary["models"].items()}
    yield f"point-in-time ≥ 0.75 in June: {june}", june["point_in_time"] >= 0.75
    yield (
        f"request-only ≈ 0.68 in June: {june}",
        abs(june["request_only"] - 0.68) < 0.01,
    )
    yield f"leak ≈ 0.773 in the notebook: {june}", abs(june["leak"] - 0.773) < 0.01
    served = summary["leak_served_auc"]
    yield f"leak ≈ 0.723 when served: {served}", abs(served - 0.723) < 0.01
    yield "check finds the leak", summary["leak_check"] == "TM0412"

    everything = predictions["count"] == predictions["online_equals_offline"] == 754
    yield (
        f"754 predictions, online as offline: {predictions}",
        everything and predictions["errors"] == 0,
    )

    drift = {row["month"]: row for row in summary["drift"]}
    yield (
        "June to December scanned",
        sorted(drift) == [f"2013-{month:02}" for month in range(6, 13)],
    )
    quiet = not any(drift[f"2013-0{month}"]["incident"] for month in (6, 7, 8))
    yield (
        "June to August quiet, an incident in September",
        quiet and drift["2013-09"]["incident"],
    )
    september = drift["2013-09"]["psi_prediction"]
    yield f"predictions drift in September: {september}", abs(september - 0.36) < 0.05

    again = (recovery["run_state"], recovery["steps_repeated"])
    yield f"the run went on where it was: {recovery}", again == ("completed", 0)
    trees = [
        int(recovery[name].removeprefix("tree "))
        for name in ("resumed_from", "log_begins")
    ]
    yield f"from a checkpoint: {recovery}", trees[0] > 0 and trees[1] == trees[0] + 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
