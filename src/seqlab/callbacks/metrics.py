"""Scalars of the training steps."""

import time
from typing import Any

from lightning.pytorch import Callback, Trainer


class TrainingMetrics(Callback):
    """Logs loss, learning rate, gradient norm, and for language the tokens seen and their speed in training."""

    def __init__(self) -> None:
        self.busy, self.seen = 0.0, 0  # seconds and tokens since the last look
        self.started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Count from here on, also when resumed."""
        self.busy, self.seen = 0.0, int(pl_module.tokens_seen)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start the clock: validation, samples and checkpoints are not training time."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop the clock, and log where it is time."""
        self.busy += time.perf_counter() - self.started
        step = trainer.global_step
        if pl_module.accumulated or not pl_module.is_logged(step):  # a window means: in the middle of a step
            return
        scalars: dict[str, float] = {
            "train/loss": pl_module.step_loss,
            "lr": pl_module.step_lr,
            "grad_norm": float(pl_module.grad_norm),
        }
        if "vocab_size" in pl_module.required_properties:
            tokens = int(pl_module.tokens_seen)
            scalars |= {"tokens": tokens, "tokens_per_second": (tokens - self.seen) / self.busy}
            self.busy, self.seen = 0.0, tokens
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step)
