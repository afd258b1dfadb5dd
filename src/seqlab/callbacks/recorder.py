"""run.json and metrics.jsonl, written during the run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from seqlab.callbacks.checkpoint import read_best
from seqlab.runs.checkpoints import BEST, LAST
from seqlab.runs.metrics_log import MetricsLog
from seqlab.runs.objective import Objective
from seqlab.runs.pending_resume import commit_resume
from seqlab.runs.run_info import read_run_info, update_run_info

SECONDS_BETWEEN_WRITES = 2.0  # at least


class RunRecorder(Callback):
    """Keeps the last value of each metric, and all of them at the step with the best objective.

    It alone updates the objective, which other callbacks read.
    """

    def __init__(self, run: Path, objective: Objective, config: dict[str, Any]) -> None:
        self.run, self.objective, self.config = run, objective, config
        self.last: dict[str, float] = {}
        self.best: dict[str, float] = {}
        self.step, self.measured = -1, dict[str, float]()  # at this step
        self.metrics_log = MetricsLog(run)
        self.has_made_step, self.validated_step = False, -1
        self.tests_best = False  # the test is of the best weights, not of the last ones
        self.written_at = self.started_at = time.monotonic()
        self.seconds_before = read_run_info(run)["seconds"] or 0.0  # of the parts before this one

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Forget metrics that an interrupted run measured after its checkpoint."""
        if trainer.is_global_zero:
            self.metrics_log.rewind(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write how far the run is, now and then; at the first step, what it was resumed with."""
        if not self.has_made_step and not pl_module.counts.batches:  # a whole optimizer step
            self.has_made_step = True
            if trainer.is_global_zero:
                commit_resume(self.run, self.config)
        self.write_if_due(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Collect what was validated."""
        self.validated_step = trainer.global_step
        self.collect_metrics(trainer, pl_module, lambda name: name.startswith("val/"))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Collect the epoch's loss."""
        self.collect_metrics(trainer, pl_module, is_of_training)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Collect the loss of an epoch that early stopping cut short."""
        self.collect_metrics(trainer, pl_module, is_of_training)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Add the test metrics to those of the weights that were tested."""
        tested = self.best if self.tests_best else self.last
        tested |= {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("test/")}

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Write how far the run came."""
        if trainer.global_step:
            self.write(trainer, pl_module)

    def collect_metrics(self, trainer: Trainer, pl_module: Any, is_new: Callable[[str], bool]) -> None:
        """Read the metrics that were measured at this step; Lightning keeps the others as they were."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if is_new(name)}
        if self.step != trainer.global_step:
            self.step, self.measured = trainer.global_step, {}
        self.measured |= metrics
        self.last |= metrics
        if self.objective.update(metrics, self.step):
            self.best = dict(self.measured)
        elif self.objective.best_step == self.step:
            self.best |= metrics
        if trainer.is_global_zero and metrics:
            self.metrics_log.add(self.step, metrics)
        self.write_if_due(trainer, pl_module)

    def write_if_due(self, trainer: Trainer, pl_module: Any) -> None:
        """Write, unless it was done just before."""
        if time.monotonic() - self.written_at > SECONDS_BETWEEN_WRITES:
            self.write(trainer, pl_module)

    def finish_training(self, trainer: Trainer, pl_module: Any, resumed_step: int | None) -> None:
        """Validate the last weights, if that is still to be done."""
        data: Any = pl_module.data
        if trainer.global_step == resumed_step:
            self.finish_interrupted(trainer, pl_module)
        elif "val" in data.splits and trainer.limit_val_batches and self.validated_step != trainer.global_step:
            # the loss of its epoch has stopped the run early
            trainer.validate(pl_module, datamodule=data, verbose=False)

    def finish_interrupted(self, trainer: Trainer, pl_module: Any) -> None:
        """Do what a run that was killed between its last step and its end still lacks: validate, log the epoch's loss."""
        if pl_module.counts.epoch_tokens:
            loss = {"train/loss": pl_module.counts.pop_epoch_mean()}
            trainer.validate(pl_module, datamodule=pl_module.data, verbose=False)
            for logger in trainer.loggers:
                logger.log_metrics(loss, trainer.global_step)
            self.last |= loss
            if self.objective.best_step == trainer.global_step:
                self.best |= loss
        for checkpoint in trainer.checkpoint_callbacks:
            if hasattr(checkpoint, "prune"):
                checkpoint.prune(trainer, pl_module)

    def write(self, trainer: Trainer, pl_module: Any, **more: Any) -> None:
        """Write how far the run is."""
        update_run_info(
            self.run,
            metrics={"last": self.last, "best": self.best},
            steps=trainer.global_step,
            seconds=self.seconds_before + time.monotonic() - self.started_at,
            tokens=pl_module.counts.tokens if "vocab_size" in pl_module.required_properties else None,
            **more,
        )
        self.written_at = time.monotonic()

    def finish(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the final state with the checkpoints that were kept, and log the best metrics."""
        kept = {"best": self.run / "checkpoints" / BEST, "last": self.run / "checkpoints" / LAST}
        if (self.run / "adapter").exists():
            kept["best"] = self.run / "adapter"
        paths = {name: str(path.relative_to(self.run)) if path.exists() else None for name, path in kept.items()}
        self.write(trainer, pl_module, checkpoints=paths)
        names = [name for name in self.best if name.startswith("val/") or name == self.objective.metric]
        for logger in trainer.loggers:
            if hasattr(logger, "log_best"):
                logger.log_best({name: self.best[name] for name in names}, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """The metrics so far, and the config that the run was trained with, whatever is written into config.yaml later."""
        metrics = {"last_metrics": self.last, "best_metrics": self.best}
        return metrics | {"config": self.config} | self.objective.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the metrics so far; those of the best weights on disk, if they were saved later than this state."""
        self.last, self.best = dict(state_dict["last_metrics"]), dict(state_dict["best_metrics"])
        self.objective.load_state_dict(state_dict)
        saved = read_best(self.run)
        if saved and saved[0] != self.objective.best_step and self.objective.metric in saved[1]:
            self.objective.best_step, self.best = saved
            self.objective.best = self.best[self.objective.metric]


def is_of_training(name: str) -> bool:
    """True for a metric that is neither of the validation nor of the test split."""
    return not name.startswith(("val/", "test/"))
