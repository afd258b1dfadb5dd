"""Validation loss of some runs, step by step: python experiments/shakespeare/curves.py <figure.png> <run folder> …"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure


def main(file: str, *runs: str) -> None:
    """A line for each run, in the order of their names."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for run in sorted(runs, key=lambda run: json.loads(Path(run, "run.json").read_text())["name"]):
        points = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
        measured = [(point["step"], point["val/loss"]) for point in points if "val/loss" in point]
        axes.plot(*zip(*measured, strict=True), marker="o", label=json.loads(Path(run, "run.json").read_text())["name"])
    axes.set(xlabel="step", ylabel="validation loss, nats per character")
    axes.legend()
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
