"""The progress bar of a run, and a line of metrics now and then."""

import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 2.0  # seconds at least from one line of metrics to the next


class Progress(ProgressBar):
    """One bar over all steps: loss, steps per second, time left. Without a terminal only the lines of metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(highlight=False)
        self.bar: Bar | None = None
        self.drawn = self.last_line = 0.0
        self.first_step = 0

    def enable(self) -> None:
        """Needed by Lightning; a bar switched off is `callbacks.progress=null`."""

    def disable(self) -> None:
        """Needed by Lightning, for ranks other than the first."""
        self.console = Console(quiet=True)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """What others have to say goes above the bar."""
        self.console.print(*args, markup=False)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw the bar."""
        self.last_line, self.started, self.first_step = time.perf_counter(), time.perf_counter(), trainer.global_step
        if self.console.is_terminal:
            columns = (
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[loss]}"),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )
            self.bar = Bar(*columns, console=self.console, expand=True, refresh_per_second=4, transient=True)
            total = trainer.estimated_stepping_batches
            self.bar.add_task("steps", total=total, completed=trainer.global_step, loss="", speed="")
            self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the bar, a few times a second."""
        now = time.perf_counter()
        if self.bar and now - self.drawn > 0.2:
            self.drawn = now
            speed = (trainer.global_step - self.first_step) / (now - self.started)
            self.bar.update(
                self.bar.task_ids[0],
                completed=trainer.global_step,
                loss=f"loss {pl_module.step_loss:.4g}",
                speed=f"{speed:.1f} steps/s" if speed >= 1 else f"{1 / max(speed, 1e-9):.1f} s/step",
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """A line of the losses, unless there was one just before."""
        now = time.perf_counter()
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            losses = {name: value for name, value in trainer.callback_metrics.items() if name.endswith("/loss")}
            metrics = "  ".join(f"{name} {float(value):.4g}" for name, value in losses.items())
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  " if (trainer.max_epochs or 0) > 0 else ""
            self.print(f"{epoch}step {trainer.global_step}  {metrics}")

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Take the bar away."""
        self.stop()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self.stop()

    def stop(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.stop()
            self.bar = None
