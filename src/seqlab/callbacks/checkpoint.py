"""Checkpoints: `last.ckpt` with everything needed to go on, and the best weights alone."""

import json
import shutil
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint
from safetensors import safe_open

from seqlab.adapters.lora import LoRALinear, save_adapter
from seqlab.errors import Interrupted
from seqlab.runs import checkpoints
from seqlab.runs.objective import Objective
from seqlab.streams import signal_safe_print


class AtomicCheckpointIO(TorchCheckpointIO):
    """How Lightning's Trainer writes and reads checkpoints: atomically, and nothing unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a temporary name, sync, rename; keep the one before."""
        checkpoints.save_checkpoint(Path(path), checkpoint, previous=Path(path).with_name(checkpoints.PREVIOUS))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain Python that are what was written."""
        return checkpoints.load_checkpoint(Path(path))


class Checkpoint(LightningCheckpoint):
    """Saves in the run folder: `last.ckpt` every so many minutes or steps, at the end and when interrupted, and
    whenever a `val/…` objective improves `best.ckpt`, the weights alone; with an adapter `adapter/` in PEFT's format.

    What one rank is asked for, all do in the same step: when to save, and when to stop.

    `keep` is what stays of a finished run: all, the best weights (where there are none the last), or none. SIGINT and
    SIGTERM finish the step, save, and end the run as interrupted; a second one ends it at once.
    """

    def __init__(
        self,
        run: Path,
        objective: Objective,
        every_minutes: float | None = 10,
        every_n_steps: int | None = None,
        keep: Literal["all", "weights", "none"] = "all",
    ) -> None:
        self.folder, self.adapter, self.objective = run / "checkpoints", run / "adapter", objective
        self.last, self.best = self.folder / checkpoints.LAST, self.folder / "best.ckpt"
        self.every_seconds, self.every_n_steps, self.keep = (every_minutes or 0) * 60, every_n_steps, keep
        self.stopped_by: int | None = None
        self.stopping = self.due = False  # what all ranks have agreed on
        self.saved, self.saved_step = time.monotonic(), -1
        self.previous: dict[int, Any] = {}

    # ------------------------------------------------------------------ when

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Listen to Ctrl-C and to a scheduler's SIGTERM, instead of Lightning, whose ranks wait in their handlers."""
        self.saved = time.monotonic()
        self.previous = {number: signal.signal(number, self.ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """The first time remember it, the second time stop at once."""
        if self.stopped_by:
            self.restore_signals()
            raise Interrupted("Stopped at once; what was saved before stays.")
        self.stopped_by = number
        signal_safe_print("\nStopping after this step, to save it; once more stops at once.\n")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save where it is time, and stop where someone asked for it; where this batch is validated, after that."""
        if pl_module.accumulated:  # in the middle of a step
            return
        stops = trainer.should_stop or trainer.global_step == trainer.max_steps
        due = bool(self.every_n_steps and trainer.global_step % self.every_n_steps == 0)
        due |= bool(self.every_seconds and time.monotonic() - self.saved >= self.every_seconds)
        agree = trainer.strategy.reduce_boolean_decision
        if agree(due or self.stopped_by is not None, all=False):
            self.due, self.stopping = True, agree(self.stopped_by is not None, all=False)
        self.due |= stops and self.keep == "all"  # once stopped, the epoch counts as over and could not be gone on with
        loop: Any = trainer.fit_loop
        validated = loop.epoch_loop._should_check_val_fx(loop._data_fetcher) and not stops
        if not (validated or is_epoch_end(trainer)):
            self.save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save what came due with the last batch."""
        if self.saved_step != trainer.global_step:
            self.save_if_due(trainer)

    def save_if_due(self, trainer: Trainer) -> None:
        """Save if it is time or someone asked the run to stop, and then stop."""
        if self.due:
            self.save_last(trainer)
        if self.stopping:
            raise Interrupted(
                f"Stopped at step {trainer.global_step} and saved; go on with resume={self.folder.parent}."
            )

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save the weights if these are the best so far, and in mid-epoch what came due with the batch."""
        if self.objective.metric.startswith("val/"):
            improved = self.objective.improved({k: float(v) for k, v in trainer.callback_metrics.items()})
            if improved and self.keep != "none":
                self.save_weights(trainer, pl_module, self.best)
        if self.saved_step != trainer.global_step and not is_epoch_end(trainer):
            self.due |= trainer.should_stop and self.keep == "all"
            self.save_if_due(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save what is kept of a finished run."""
        self.restore_signals()
        if self.keep == "all" and self.saved_step != trainer.global_step:
            self.save_last(trainer)
        self.prune(trainer, pl_module)

    def prune(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave what a finished run keeps, and no more."""
        if trainer.is_global_zero:
            checkpoints.remove_checkpoint(self.last.with_name(checkpoints.PREVIOUS))
            if self.keep != "all":
                checkpoints.remove_checkpoint(self.last)
        if self.keep != "none" and (has_adapter(pl_module) and not self.adapter.exists()):
            self.save_weights(trainer, pl_module, self.best)
        if self.keep == "weights" and not self.best.exists() and not has_adapter(pl_module):
            self.save_weights(trainer, pl_module, self.last)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Give the signals back."""
        self.restore_signals()

    def restore_signals(self) -> None:
        """Give the signals back."""
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}

    # ------------------------------------------------------------------ what

    def save_last(self, trainer: Trainer) -> None:
        """Everything needed to go on, once the logs of this step are on disk."""
        for logger in trainer.loggers:
            flush = getattr(getattr(logger, "experiment", None), "flush", None)
            if flush:
                flush()
        trainer.save_checkpoint(self.last)
        self.saved, self.saved_step, self.due = time.monotonic(), trainer.global_step, False

    def save_weights(self, trainer: Trainer, pl_module: Any, path: Path) -> None:
        """The weights alone: as a checkpoint, or with an adapter in `adapter/`."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if has_adapter(pl_module):
            partial = self.adapter.with_name("adapter.part")
            notes = {"global_step": json.dumps(trainer.global_step), "metrics": json.dumps(metrics)}
            save_adapter(pl_module.model, partial, notes)
            self.adapter.mkdir(exist_ok=True)
            for file in partial.iterdir():
                file.replace(self.adapter / file.name)
            shutil.rmtree(partial)
            return
        weights = {f"model.{name}": tensor for name, tensor in pl_module.model.state_dict().items()}
        checkpoints.save_checkpoint(
            path, {"state_dict": weights, "global_step": trainer.global_step, "metrics": metrics}
        )

    def state_dict(self) -> dict[str, Any]:
        """The best objective so far."""
        return self.objective.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best objective: that of the weights which are there, if the state is older than they are."""
        self.objective.load_state_dict(state_dict)
        if best := read_best(self.folder.parent):
            self.objective.best = best[1].get(self.objective.metric, self.objective.best)


def read_best(run: Path) -> tuple[int, dict[str, float]] | None:
    """Step and metrics of the best weights that a run has kept."""
    adapter, weights = run / "adapter" / "adapter_model.safetensors", run / "checkpoints" / "best.ckpt"
    if adapter.exists():
        with safe_open(adapter, "pt") as file:
            notes = file.metadata() or {}
        return (json.loads(notes["global_step"]), json.loads(notes["metrics"])) if "metrics" in notes else None
    if weights.exists():
        best = checkpoints.load_checkpoint(weights, mmap=True)
        return (best["global_step"], best["metrics"]) if "metrics" in best else None
    return None


def is_epoch_end(trainer: Trainer) -> bool:
    """Whether this batch is the last one of its epoch."""
    return trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def has_adapter(pl_module: Any) -> bool:
    """Whether a base is frozen under an adapter."""
    return any(isinstance(module, LoRALinear) for module in pl_module.model.modules())
