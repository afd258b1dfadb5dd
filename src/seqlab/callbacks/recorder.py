"""run.json, written as the run goes on."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from seqlab.callbacks.checkpoint import read_best
from seqlab.runs.folder import update_run_info
from seqlab.runs.metrics_log import append_metrics
from seqlab.runs.objective import Objective

SECONDS_BETWEEN_WRITES = 2.0  # seconds at least


class RunRecorder(Callback):
    """Keeps the last value of each metric, and all of them at the step with the best objective."""

    def __init__(self, run: Path, objective: Objective) -> None:
        self.run, self.objective = run, objective
        self.last: dict[str, float] = {}
        self.best: dict[str, float] = {}
        self.best_step: int | None = None
        self.written = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look at what validation gave."""
        self.collect_metrics(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look at the epoch's mean, which belongs to the same step as the validation before it."""
        self.collect_metrics(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look at the mean of an epoch that early stopping cut short."""
        self.collect_metrics(trainer, pl_module)

    def finish_interrupted(self, trainer: Trainer, pl_module: Any) -> None:
        """Do what a run that was killed between its last step and its end had left: its epoch's mean, the validation."""
        if pl_module.train_loss_mean.count:
            loss = {"train/loss": float(pl_module.train_loss_mean.compute())}
            trainer.validate(pl_module, datamodule=trainer.datamodule, verbose=False)  # type: ignore[attr-defined]  # of fit
            self.last |= loss
            if self.best_step == trainer.global_step:
                self.best |= loss
        for callback in trainer.checkpoint_callbacks:
            callback.prune(trainer, pl_module)  # type: ignore[attr-defined]  # there is only our own

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Add the test metrics."""
        self.last |= {name: float(value) for name, value in trainer.callback_metrics.items()}

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Write how far the run came."""
        if trainer.global_step:
            self.write(trainer, pl_module)

    def collect_metrics(self, trainer: Trainer, pl_module: Any) -> None:
        """Take the metrics as they stand."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.last |= metrics
        if self.objective.improved(metrics):
            self.best_step = trainer.global_step
        if trainer.is_global_zero:
            append_metrics(self.run, trainer.global_step, metrics)
        if self.best_step == trainer.global_step:
            self.best = dict(
                self.last
            )  # Lightning's own dictionary forgets the last epoch's mean when a run is resumed
        if time.monotonic() - self.written > SECONDS_BETWEEN_WRITES:
            self.write(trainer, pl_module)

    def write(self, trainer: Trainer, pl_module: Any, **more: Any) -> None:
        """Write how the run stands."""
        update_run_info(
            self.run,
            metrics={"last": self.last, "best": self.best},
            steps=trainer.global_step,
            tokens=int(pl_module.tokens_seen) if "vocab_size" in pl_module.required_properties else None,
            **more,
        )
        self.written = time.monotonic()

    def finish(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the last word, with the checkpoints that were kept."""
        kept = {name: self.run / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")}
        if (self.run / "adapter").exists():
            kept["best"] = self.run / "adapter"
        there = {name: str(path.relative_to(self.run)) if path.exists() else None for name, path in kept.items()}
        self.write(trainer, pl_module, checkpoints=there)
        looked_at = {
            name: value for name, value in self.best.items() if name.startswith("val/") or name == self.objective.metric
        }
        for logger in trainer.loggers:
            if hasattr(logger, "conclude"):
                logger.conclude(looked_at, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """The metrics so far."""
        counts = {"last_metrics": self.last, "best_metrics": self.best, "best_step": self.best_step}
        return counts | self.objective.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the metrics so far."""
        self.last, self.best = dict(state_dict["last_metrics"]), dict(state_dict["best_metrics"])
        self.best_step = state_dict["best_step"]
        self.objective.load_state_dict(state_dict)
        best = read_best(self.run)
        if best and best[0] != self.best_step and self.objective.metric in best[1]:  # saved later than this state
            self.best_step, self.best = best
            self.objective.best = self.best[self.objective.metric]
