"""The one number that drives checkpoints, early stopping and rankings."""

import math
from typing import Any


class Objective:
    """Keeps the best value of a metric; `mode` is min or max."""

    def __init__(self, metric: str, mode: str) -> None:
        self.metric, self.mode = metric, mode
        self.best: float | None = None

    def improved(self, metrics: dict[str, float]) -> bool:
        """Whether these metrics are the best so far; remembers them if so. What is not a number never is."""
        value = metrics.get(self.metric)
        if value is None or not math.isfinite(value):
            return False
        if self.best is not None and (value >= self.best if self.mode == "min" else value <= self.best):
            return False
        self.best = value
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best value."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the best value."""
        self.best = state["best"]
