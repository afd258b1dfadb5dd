"""A callback that makes some runs fail: what a file `trouble/<number of the job>` says, at the second step."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback


class Trouble(Callback):
    """Raises, poisons the weights, kills its own process, slows down, gets worse, hangs, edits this file, or prints a lot."""

    def __init__(self, run: Path, folder: str) -> None:
        file = Path(folder) / run.name[:3]
        self.folder = Path(folder)
        self.kind = file.read_text() if file.exists() else ""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Do what the file says."""
        if trainer.global_step < 2:
            return
        if self.kind == "raise":
            raise RuntimeError("the roof is on fire")
        if self.kind == "nan":
            with torch.no_grad():
                next(pl_module.model.parameters()).fill_(float("nan"))
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "slow":
            time.sleep(1)
        if self.kind == "worse":
            with torch.no_grad():
                next(pl_module.model.parameters()).fill_(3.0)
            time.sleep(0.3)
        if self.kind == "edit":
            source = Path(__file__)
            source.write_text("raise SystemError('edited')\n" + source.read_text())
        if self.kind == "hang":
            (self.folder / "hanging").touch()
            time.sleep(1000)
        if self.kind == "print":
            print("gigabytes " * 2_000_000)
