"""Scalars of the training steps."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from seqlab.callbacks.step_timer import StepTimer


class TrainingMetrics(Callback):
    """Logs the step's loss, learning rate, gradient norm, and for language the tokens seen and their speed."""

    def __init__(self) -> None:
        self.timer, self.tokens = StepTimer(), 0  # since the tokens were last logged

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Measure from here on, also when resumed."""
        self.timer, self.tokens = StepTimer(), pl_module.counts.tokens

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start the clock."""
        self.timer.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop the clock, and log if it is time."""
        self.timer.stop()
        step = trainer.global_step
        if pl_module.counts.batches or not pl_module.is_logged(step):  # in the middle of an optimizer step
            return
        scalars: dict[str, float] = {
            "train/loss_step": pl_module.counts.step_loss,
            "lr": pl_module.step_lr,
            "grad_norm": float(pl_module.grad_norm),
        }
        if "vocab_size" in pl_module.required_properties:
            tokens = pl_module.counts.tokens
            scalars |= {"tokens": tokens, "tokens_per_second": (tokens - self.tokens) / self.timer.pop()}
            self.tokens = tokens
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step)
