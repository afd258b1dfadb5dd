"""One row per run below a folder, in the order in which they started: python table.py runs"""

import json
import sys
from pathlib import Path
from typing import Any

HEADINGS = ("run", "trained", "of", "steps", "train/loss", "val/loss", "test")


def row(file: Path) -> list[str]:
    """The cells of a run.json. Losses are those of the weights that the test used, where there is a best; else the last."""
    run: dict[str, Any] = json.loads(file.read_text())
    last, best = run["metrics"]["last"], run["metrics"]["best"]
    sizes = run["parameters"] or {"trainable": 0, "total": 0}
    tests = [f"{name.removeprefix('test/')} {last[name]:.4g}" for name in ("test/mse", "test/loss") if name in last]
    return [
        file.parent.name,
        f"{sizes['trainable']:,}",
        f"{sizes['total']:,}",
        f"{run['steps'] or 0:,}",
        *(f"{best.get(name, last[name]):.4g}" if name in last else "-" for name in ("train/loss", "val/loss")),
        tests[0] if tests else run["status"] if run["status"] != "done" else "-",
    ]


def table(runs: Path) -> str:
    """All runs, aligned."""
    files = [*runs.glob("*/*/run.json"), *runs.glob("*/*/*/run.json")]
    started = {file: json.loads(file.read_text())["started"] or "" for file in files}
    rows = [list(HEADINGS), *(row(file) for file in sorted(files, key=lambda file: started[file]))]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows)
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
