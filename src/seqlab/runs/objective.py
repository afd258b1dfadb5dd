"""The one number that drives checkpoints, early stopping and rankings."""

import math
from typing import Any


class Objective:
    """Tracks the best value of a metric and the step that reached it; `mode` is min or max."""

    def __init__(self, metric: str, mode: str) -> None:
        self.metric, self.mode = metric, mode
        self.best: float | None = None
        self.best_step: int | None = None

    def update(self, metrics: dict[str, float], step: int | None = None) -> bool:
        """True if these metrics are the best so far, which are then remembered. NaN never is the best."""
        value = metrics.get(self.metric)
        if value is None or not math.isfinite(value):
            return False
        if self.best is not None and (value >= self.best if self.mode == "min" else value <= self.best):
            return False
        self.best, self.best_step = value, step
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best value and its step."""
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the best value."""
        self.best, self.best_step = state["best"], state["best_step"]
