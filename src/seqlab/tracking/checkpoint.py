"""Checkpoints: `last.ckpt` with everything needed to go on, and the best weights alone."""

import os
import shutil
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint

from seqlab.adapters.lora import LoRALinear, save_adapter
from seqlab.mistakes import Interrupted
from seqlab.runs.files import load_tensors, save_tensors
from seqlab.runs.objective import Objective


class AtomicFiles(TorchCheckpointIO):
    """How Lightning's Trainer writes and reads checkpoints: atomically, and nothing unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a temporary name, sync, rename."""
        save_tensors(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain Python."""
        return load_tensors(Path(path))


class Checkpoint(LightningCheckpoint):
    """Saves in the run folder: `last.ckpt` every so many minutes or steps, at the end and when interrupted, and
    whenever a `val/…` objective improves `best.ckpt`, the weights alone; with an adapter `adapter/` in PEFT's format.

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
        self.last, self.best = self.folder / "last.ckpt", self.folder / "best.ckpt"
        self.every_seconds, self.every_n_steps, self.keep = (every_minutes or 0) * 60, every_n_steps, keep
        self.stopped_by: int | None = None
        self.saved, self.saved_step, self.due = time.monotonic(), -1, False
        self.previous: dict[int, Any] = {}

    # ------------------------------------------------------------------ when

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Listen to Ctrl-C and to a scheduler's SIGTERM."""
        self.saved = time.monotonic()
        self.previous = {number: signal.signal(number, self.ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """The first time remember it, the second time stop at once."""
        if self.stopped_by:
            self.restore_signals()
            raise Interrupted("Stopped at once; what was saved before stays.")
        self.stopped_by = number
        os.write(2, b"\nStopping after this step, to save it; once more stops at once.\n")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save where it is time, and stop where someone asked for it; at the end of an epoch after its validation."""
        if pl_module.window:  # in the middle of a step
            return
        stops = trainer.should_stop or trainer.global_step == trainer.max_steps
        self.due |= bool(self.every_n_steps and trainer.global_step % self.every_n_steps == 0)
        self.due |= bool(self.every_seconds and time.monotonic() - self.saved >= self.every_seconds)
        self.due |= stops and self.keep == "all"  # once stopped, the epoch counts as over and could not be gone on with
        if not (trainer.is_last_batch or batch_idx + 1 == trainer.num_training_batches):
            self.save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save what came due with the last batch."""
        if self.saved_step != trainer.global_step:
            self.save_if_due(trainer)

    def save_if_due(self, trainer: Trainer) -> None:
        """Save if it is time or someone asked the run to stop, and then stop."""
        if self.due or self.stopped_by:
            self.save_last(trainer)
        if self.stopped_by:
            raise Interrupted(
                f"Stopped at step {trainer.global_step} and saved; go on with resume={self.folder.parent}."
            )

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save the weights if these are the best so far."""
        if not trainer.fit_loop.restarting and self.objective.metric.startswith("val/"):
            if (
                self.objective.improved({k: float(v) for k, v in trainer.callback_metrics.items()})
                and self.keep != "none"
            ):
                self.save_weights(trainer, pl_module, self.best)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save what is kept of a finished run."""
        self.restore_signals()
        if self.keep == "all":
            if self.saved_step != trainer.global_step:
                self.save_last(trainer)
        else:
            self.last.unlink(missing_ok=True)
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
        """Everything needed to go on."""
        trainer.save_checkpoint(self.last)
        self.saved, self.saved_step, self.due = time.monotonic(), trainer.global_step, False

    def save_weights(self, trainer: Trainer, pl_module: Any, path: Path) -> None:
        """The weights alone: as a checkpoint, or with an adapter in `adapter/`."""
        if has_adapter(pl_module):
            partial = self.adapter.with_name("adapter.part")
            save_adapter(pl_module.model, partial)
            self.adapter.mkdir(exist_ok=True)
            for file in partial.iterdir():
                file.replace(self.adapter / file.name)
            shutil.rmtree(partial)
            return
        weights = {f"model.{name}": tensor for name, tensor in pl_module.model.state_dict().items()}
        save_tensors(path, {"state_dict": weights, "global_step": trainer.global_step})

    def state_dict(self) -> dict[str, Any]:
        """The best objective so far."""
        return self.objective.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best objective."""
        self.objective.load_state_dict(state_dict)


def has_adapter(pl_module: Any) -> bool:
    """Whether a base is frozen under an adapter."""
    return any(isinstance(module, LoRALinear) for module in pl_module.model.modules())
