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
            runs[info["choices"]["model"], info["parameters"]["total"]].append(info["metrics"]["last"])
    print("| model | parameters | seeds | " + " | ".join(f"{metric}, median [min, max]" for metric in metrics) + " |")
    print("|---|---|---|" + "---|" * len(metrics))
    for (model, parameters), seeds in runs.items():
        cells = []
        for metric in metrics:
            values = [values[metric] for values in seeds]
            cells.append(f"{statistics.median(values):.5f} [{min(values):.5f}, {max(values):.5f}]")
        print(f"| {model} | {parameters:,} | {len(seeds)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
