"""metrics.jsonl: the metrics of a run by step, one line for each time that they were measured."""

import json
from pathlib import Path
from typing import Any

FILE_NAME = "metrics.jsonl"


def append_metrics(run: Path, step: int, metrics: dict[str, float]) -> None:
    """Add the metrics of a step. What a resumed run measures again replaces what stands there."""
    with open(run / FILE_NAME, "a") as file:
        file.write(json.dumps({"step": step} | metrics) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics by step; a line that a kill left unfinished is skipped."""
    file = run / FILE_NAME
    by_step: dict[int, dict[str, Any]] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            point = json.loads(line)
        except json.JSONDecodeError:
            continue
        while by_step and next(reversed(by_step)) > point["step"]:
            by_step.popitem()
        by_step.setdefault(point["step"], {}).update(point)
    return list(by_step.values())
