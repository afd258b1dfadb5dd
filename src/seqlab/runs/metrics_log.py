"""metrics.jsonl: the metrics of a run at each step where all of them were looked at, a line each."""

import json
from pathlib import Path
from typing import Any

FILE_NAME = "metrics.jsonl"


def append_metrics(run: Path, step: int, metrics: dict[str, float]) -> None:
    """Add the metrics of a step. What a resumed run metric_names again replaces what stands there."""
    with open(run / FILE_NAME, "a") as file:
        file.write(json.dumps({"step": step} | metrics) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics by step; of a line that a kill left unfinished, nothing."""
    file = run / FILE_NAME
    found: dict[int, dict[str, Any]] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            point = json.loads(line)
        except json.JSONDecodeError:
            continue
        while found and next(reversed(found)) > point["step"]:
            found.popitem()
        found.setdefault(point["step"], {}).update(point)
    return list(found.values())
