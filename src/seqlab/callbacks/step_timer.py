"""The time spent in training steps."""

import time


class StepTimer:
    """Seconds of training steps alone: validation, samples and checkpoints are not training time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.started = 0.0

    def start(self) -> None:
        """A batch begins."""
        self.started = time.perf_counter()

    def stop(self) -> None:
        """A batch is done."""
        self.seconds += time.perf_counter() - self.started

    def pop(self) -> float:
        """The seconds since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds
