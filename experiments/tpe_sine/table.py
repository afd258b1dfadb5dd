"""The best validation loss of each search, seed by seed, and what it has on test: python table.py <folder of searches>"""

import csv
import statistics
import sys
from pathlib import Path

SAMPLERS = ("random", "tpe")


def best(folder: Path) -> tuple[float, float, int, str]:
    """Validation loss and test error of the best run of a search, how many runs it has, and what it drew."""
    (results,) = folder.glob("*/*-sweep-*/results.csv")
    with open(results, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "done"]
    first = min(rows, key=lambda row: float(row["best val/loss"]))
    drawn = f"{first['model']} {first['model.hidden_size']}, lr {float(first['optimizer.lr']):.2g}"
    return float(first["best val/loss"]), float(first["test/mse"]), len(rows), drawn


def main(runs: Path) -> None:
    """Print the table."""
    print("| seed | " + " | ".join(f"{name}: best val/loss | test/mse | done | drawn" for name in SAMPLERS) + " |")
    print("|---|" + "---|" * 4 * len(SAMPLERS))
    found = {name: [best(runs / f"{name}-{seed}") for seed in range(1, 6)] for name in SAMPLERS}
    for seed in range(5):
        cells = [
            f"{loss:.5f} | {test:.5f} | {done} | {drawn}"
            for loss, test, done, drawn in (found[n][seed] for n in SAMPLERS)
        ]
        print(f"| {seed + 1} | " + " | ".join(cells) + " |")
    means = [
        f"{statistics.fmean(one[0] for one in found[name]):.5f} | {statistics.fmean(one[1] for one in found[name]):.5f} | | "
        for name in SAMPLERS
    ]
    print("| mean | " + " | ".join(means) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
