"""metrics.jsonl: the metrics of a run, one line for each step at which some were measured."""

import json
from pathlib import Path
from typing import Any

FILE_NAME = "metrics.jsonl"


class MetricsLog:
    """Writes the metrics of a run, from `rewind` on, which a resumed run calls with the step that it continues from."""

    def __init__(self, run: Path) -> None:
        self.file = run / FILE_NAME
        self.last: dict[str, Any] = {"step": None}  # the last line
        self.start = 0  # where it begins
        self.rewind_step: int | None = None

    def rewind(self, step: int) -> None:
        """Forget what was measured after a step, and will be measured again, once something is added."""
        self.rewind_step = step

    def rewrite(self, step: int) -> None:
        """Write anew what was measured up to a step."""
        points = read_metrics(self.file.parent)
        self.file.write_text("", encoding="utf-8")
        for point in points:
            if point["step"] <= step:
                self.add(point.pop("step"), point)

    def add(self, step: int, metrics: dict[str, float]) -> None:
        """Add the metrics of a step, to its line if it is the last one."""
        if self.rewind_step is not None:
            step_before, self.rewind_step = self.rewind_step, None
            self.rewrite(step_before)
        if self.last["step"] != step:
            self.last = {"step": step}
            self.file.touch()
            self.start = self.file.stat().st_size
        self.last |= metrics
        with open(self.file, "r+", encoding="utf-8") as file:
            file.seek(self.start)
            file.write(json.dumps(self.last) + "\n")
            file.truncate()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics by step; a line that is being written, or that a kill left unfinished, is skipped."""
    file = run / FILE_NAME
    points = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            points.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return points
