"""The progress bar of a run, and a line of losses now and then."""

import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 2.0  # at least
SECONDS_BETWEEN_UPDATES = 0.2  # of the bar


class Progress(ProgressBar):
    """One bar over all steps: loss, steps per second, time left. Without a terminal only the lines of losses."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(highlight=False)
        self.bar: Bar | None = None
        self.updated_at = self.line_at = 0.0
        self.first_step = 0

    def enable(self) -> None:
        """Needed by Lightning; `callbacks.progress=null` switches the bar off."""

    def disable(self) -> None:
        """Needed by Lightning, for ranks other than the first."""
        self.console = Console(quiet=True)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        self.console.print(*args, markup=False)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Show the bar."""
        self.line_at, self.started_at, self.first_step = time.perf_counter(), time.perf_counter(), trainer.global_step
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
        if self.bar and now - self.updated_at > SECONDS_BETWEEN_UPDATES:
            self.updated_at = now
            speed = (trainer.global_step - self.first_step) / (now - self.started_at)
            self.bar.update(
                self.bar.task_ids[0],
                completed=trainer.global_step,
                loss=f"loss {pl_module.counts.step_loss:.4g}",
                speed=f"{speed:.1f} steps/s" if speed >= 1 else f"{1 / max(speed, 1e-9):.1f} s/step",
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print a line of the losses, unless there was one just before."""
        now = time.perf_counter()
        if now - self.line_at >= SECONDS_BETWEEN_LINES:
            self.line_at = now
            losses = {name: value for name, value in trainer.callback_metrics.items() if name.endswith("/loss")}
            metrics = "  ".join(f"{name} {float(value):.4g}" for name, value in losses.items())
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  " if (trainer.max_epochs or 0) > 0 else ""
            self.print(f"{epoch}step {trainer.global_step}  {metrics}")

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Remove the bar."""
        self.stop()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Remove the bar, so that the terminal is as it was."""
        self.stop()

    def stop(self) -> None:
        """Remove the bar."""
        if self.bar:
            self.bar.stop()
            self.bar = None
