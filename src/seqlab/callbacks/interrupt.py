"""Ctrl-C and a scheduler's SIGTERM: the step is finished, the run saved and ended as interrupted."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, Trainer

from seqlab.callbacks.agreement import RankAgreement
from seqlab.config.targets import allow_words
from seqlab.errors import Interrupted
from seqlab.streams import signal_safe_print

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class EarlyInterrupt:
    """Handles signals that come before training. C code of a library may swallow the exception, so it is remembered."""

    requested = False

    @classmethod
    def install(cls) -> None:
        """Install the handlers, which Python allows in the main thread only."""
        cls.requested = False
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, cls.handle)

    @classmethod
    def handle(cls, number: int, frame: FrameType | None) -> None:
        """End at once: nothing was trained yet."""
        cls.requested = True
        raise KeyboardInterrupt


class Interrupt(Callback):
    """Ends the run after the step in which any rank was asked to stop; a second signal ends it at once.

    It replaces Lightning's own handlers, in which ranks wait for each other for ever.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.requested = False  # of this rank
        self.stopping = False  # what all ranks have agreed on
        self.agreement = RankAgreement()
        self.previous_handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Install the handlers, unless a signal has come before."""
        if EarlyInterrupt.requested:
            raise KeyboardInterrupt
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            self.previous_handlers[number] = signal.signal(number, self.handle_signal)

    def handle_signal(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; stop at once at the second."""
        if self.requested:
            self.restore_handlers()
            raise Interrupted("Stopped at once; what was saved before stays.")
        self.requested = True
        signal_safe_print("\nStopping after this step, to save it; once more stops at once.\n")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a whole step, agree with the other ranks, and ask the checkpoints, which come later, to save."""
        if pl_module.counts.batches:  # in the middle of an optimizer step
            return
        if not self.stopping and self.agreement.ask(trainer, self.requested):
            self.stopping = True
            for checkpoint in find_checkpoints(trainer):
                checkpoint.request_save()

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """End the run before its next step, now that what was due is validated and saved."""
        self.end_if_stopping(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Restore the handlers; end the run here if there is no next step."""
        self.restore_handlers()
        self.end_if_stopping(trainer)

    def end_if_stopping(self, trainer: Trainer) -> None:
        """Raises Interrupted if the run was asked to stop."""
        if self.stopping:
            step = f"Stopped at step {trainer.global_step}"
            if find_checkpoints(trainer):
                raise Interrupted(f"{step} and saved; continue with seqlab train resume={self.run}{allow_words()}.")
            raise Interrupted(f"{step}; nothing was saved, since callbacks.checkpoint is switched off.")

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Restore the handlers."""
        self.restore_handlers()

    def restore_handlers(self) -> None:
        """Put the previous handlers back."""
        for number, handler in self.previous_handlers.items():
            signal.signal(number, handler)
        self.previous_handlers = {}


def find_checkpoints(trainer: Trainer) -> list[Any]:
    """The callbacks that save when they are asked to."""
    return [callback for callback in trainer.checkpoint_callbacks if hasattr(callback, "request_save")]
