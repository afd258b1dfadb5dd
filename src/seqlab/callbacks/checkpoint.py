"""Checkpoints: `last.ckpt` with everything needed to continue, and the best weights alone."""

import json
import time
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint

from seqlab.adapters.base import Adapter, read_metadata
from seqlab.callbacks.agreement import RankAgreement
from seqlab.callbacks.lightning_private import is_epoch_end, is_validated_after_batch
from seqlab.runs import checkpoints
from seqlab.runs.objective import Objective
from seqlab.types import NonNegativeFloat, PositiveInt


class AtomicCheckpointIO(TorchCheckpointIO):
    """How Lightning's Trainer writes and reads checkpoints: atomically, and nothing is unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a temporary name, sync, rename; keep the previous one."""
        checkpoints.save_checkpoint(Path(path), checkpoint, previous=Path(path).with_name(checkpoints.PREVIOUS))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain Python that match their checksum."""
        return checkpoints.load_checkpoint(Path(path))


class Checkpoint(LightningCheckpoint):
    """Saves `last.ckpt` every so many minutes or steps and at the end, and `best.ckpt`, the weights alone, whenever a
    `val/…` objective improves; with an adapter `adapter/` in its place.

    `keep` is what stays of a finished run: everything, the best weights (the last ones if there are no best), or nothing.
    """

    def __init__(
        self,
        run: Path,
        objective: Objective,
        adapter: Adapter | None = None,
        every_minutes: NonNegativeFloat | None = 10,
        every_n_steps: PositiveInt | None = None,
        keep: Literal["all", "weights", "none"] = "all",
    ) -> None:
        self.run, self.objective, self.adapter = run, objective, adapter
        self.last, self.best = run / "checkpoints" / checkpoints.LAST, run / "checkpoints" / checkpoints.BEST
        self.every_seconds, self.every_n_steps, self.keep = (every_minutes or 0) * 60, every_n_steps, keep
        self.agreement = RankAgreement()
        self.due = False  # all ranks agree that a save is due
        self.saved_at, self.saved_step = time.monotonic(), -1

    # ------------------------------------------------------------------ when

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock, and refuse what could not be read back, before it is hours of training."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by its constructor
        for callback in callbacks:
            checkpoints.check_state(callback.state_dict(), f"The state_dict of the callback {type(callback).__name__}")
        self.saved_at = time.monotonic()

    def request_save(self) -> None:
        """Save at the next opportunity; every rank must ask for it at the same step."""
        self.due = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save if due; if a validation follows this batch, after it."""
        if pl_module.counts.batches:  # in the middle of an optimizer step
            return
        stops = trainer.should_stop or trainer.global_step == trainer.max_steps
        self.due |= bool(self.every_n_steps and trainer.global_step % self.every_n_steps == 0)
        if self.every_seconds:
            self.due |= self.agreement.ask(trainer, time.monotonic() - self.saved_at >= self.every_seconds)
        self.due |= stops and self.keep == "all"  # once stopped, the epoch counts as over and could not be continued
        validates_first = is_validated_after_batch(trainer) and not stops
        if not (validates_first or is_epoch_end(trainer)):
            self.save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save the weights if these are the best so far, and in mid-epoch what came due with the batch."""
        is_best = self.has_best() and self.objective.best_step == trainer.global_step
        if is_best and self.keep != "none":
            self.save_weights(trainer, pl_module, self.best)
        if not is_epoch_end(trainer):
            self.due |= trainer.should_stop and self.keep == "all"
            self.save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save what came due with the last batch."""
        self.save_if_due(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save what is kept of a finished run."""
        self.due |= self.keep == "all"
        self.save_if_due(trainer)
        self.prune(trainer, pl_module)

    # ------------------------------------------------------------------ what

    def has_best(self) -> bool:
        """True if the objective tells which weights are the best; `train/loss` belongs to no weights."""
        return self.objective.metric.startswith("val/")

    def save_if_due(self, trainer: Trainer) -> None:
        """Save `last.ckpt` if it is due, once a step, after the logs of this step are on disk."""
        if not self.due:
            return
        self.due = False
        if self.saved_step == trainer.global_step:
            return
        for logger in trainer.loggers:
            logger.save()
            flush = getattr(getattr(logger, "experiment", None), "flush", None)
            if flush:
                flush()
        self.save_last(trainer)
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step

    def save_last(self, trainer: Trainer) -> None:
        """Save everything needed to continue."""
        trainer.save_checkpoint(self.last)

    def save_weights(self, trainer: Trainer, pl_module: Any, path: Path) -> None:
        """Save the weights alone with the metrics of this step: as a checkpoint, or of an adapter in `adapter/`."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.adapter:
            metadata = {"global_step": json.dumps(trainer.global_step), "metrics": json.dumps(metrics)}
            self.adapter.save(pl_module.model, self.run / "adapter", metadata)
        else:
            weights = {f"model.{name}": tensor for name, tensor in pl_module.model.state_dict().items()}
            content = {"state_dict": weights, "global_step": trainer.global_step, "metrics": metrics}
            checkpoints.save_checkpoint(path, content)

    def prune(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave what a finished run keeps, and no more."""
        if trainer.is_global_zero:
            checkpoints.remove_checkpoint(self.last.with_name(checkpoints.PREVIOUS))
            if self.keep != "all":
                checkpoints.remove_checkpoint(self.last)
        if self.keep == "none":
            return
        if self.adapter:
            if not self.has_best() or not (self.run / "adapter").exists():
                self.save_weights(trainer, pl_module, self.best)
        elif self.keep == "weights" and not self.best.exists():
            self.save_weights(trainer, pl_module, self.last)


def read_best(run: Path) -> tuple[int, dict[str, float]] | None:
    """Step and metrics of the best weights that a run has kept."""
    weights = run / "checkpoints" / checkpoints.BEST
    if (run / "adapter").exists():
        metadata = read_metadata(run / "adapter")
        if "metrics" in metadata:
            return json.loads(metadata["global_step"]), json.loads(metadata["metrics"])
    elif weights.exists():
        best = checkpoints.load_checkpoint(weights, mmap=True)
        if "metrics" in best:
            return best["global_step"], best["metrics"]
    return None
