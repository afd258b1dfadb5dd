"""Medians over seeds of a sweep's metrics, per model.

python experiments/medians.py <sweep folder> test/mse train/loss
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def main(sweep: str, *metrics: str) -> None:
    """A row per model: parameters, then median [min, max] of each metric."""
    runs = defaultdict(list)
    for file in sorted(Path(sweep).glob("*/run.json")):
        info = json.loads(file.read_text())
        if info["status"] == "done":
            metrics_of = info["metrics"]["best"] | info["metrics"]["last"]
            runs[info["choices"]["model"], info["parameters"]["total"]].append(metrics_of)
    if not runs:
        raise SystemExit(f"{sweep} has no finished run: give the folder of a sweep.")
    known = set.intersection(*(set(values) for seeds in runs.values() for values in seeds))
    if missing := [metric for metric in metrics if metric not in known]:
        raise SystemExit(f"Not all runs have {missing[0]}: they have {', '.join(sorted(known))}.")
    print("| model | parameters | seeds | " + " | ".join(f"{metric}, median [min, max]" for metric in metrics) + " |")
    print("|---|---|---|" + "---|" * len(metrics))
    for (model, parameters), seeds in runs.items():
        cells = []
        for metric in metrics:
            values = [values[metric] for values in seeds]
            cells.append(f"{statistics.median(values):.5f} [{min(values):.5f}, {max(values):.5f}]")
        print(f"| {model} | {parameters:,} | {len(seeds)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
