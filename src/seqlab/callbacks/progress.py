"""The progress bar of a run, and its lines of losses."""

import math
import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from seqlab.callbacks.step_timer import StepTimer

SECONDS_BETWEEN_LINES = 2.0  # of validations and epochs, at least
SECONDS_BETWEEN_SIGNS = 30.0  # without a terminal, at most
SECONDS_BETWEEN_UPDATES = 0.2  # of the bar


class Progress(ProgressBar):
    """One bar over all steps, which shows validation and test as well, and a line of losses after a validation (an epoch
    if there is none), at least two seconds apart, and the last. Without a terminal there is no bar, but a line every 30 seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(highlight=False)
        self.bar: Bar | None = None
        self.updated_at = self.line_at = self.started_at = 0.0
        self.first_step, self.first_tokens, self.timer = 0, 0, StepTimer()
        self.line_step = self.val_step = -1  # of the last line, and of the last validation
        self.tokens_per_second: float | None = None
        self.val_loss = ""

    def enable(self) -> None:
        """Needed by Lightning; `callbacks.progress=null` switches the bar off."""

    def disable(self) -> None:
        """Needed by Lightning, for ranks other than the first."""
        self.console = Console(quiet=True)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        self.console.print(*args, markup=False, soft_wrap=not self.console.is_terminal)  # a line of a log is not broken

    # ------------------------------------------------------------------ training

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Show the bar."""
        self.line_at = self.started_at = time.perf_counter()
        self.first_step, self.first_tokens = trainer.global_step, pl_module.counts.tokens
        self.show_bar("step", get_total_steps(trainer), trainer.global_step)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start the clock of the speed."""
        self.timer.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the bar, a few times a second; without a terminal, give a sign every half minute."""
        self.timer.stop()
        self.measure_speed(pl_module)
        loss = pl_module.counts.step_loss
        loss = "" if math.isnan(loss) else f"loss {loss:.4g}"  # not measured yet, as after a resume
        self.update_bar(trainer.global_step, f"{loss}{self.val_loss}", self.format_speed(trainer))
        if not self.console.is_terminal and time.perf_counter() - self.line_at >= SECONDS_BETWEEN_SIGNS:
            self.print_line(trainer, loss)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the epoch's loss, if nothing is validated."""
        if not sum(trainer.num_val_batches):
            self.print_losses(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the last line, and remove the bar."""
        if self.line_step != trainer.global_step:
            self.line_at = -SECONDS_BETWEEN_LINES
            self.print_losses(trainer, pl_module)
        self.remove_bar()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Remove the bar, so that the terminal is as it was."""
        self.remove_bar()

    def measure_speed(self, pl_module: Any) -> None:
        """Divide the tokens by the time, whenever they have been counted."""
        counts, is_language = pl_module.counts, "vocab_size" in pl_module.required_properties
        counted = counts.tokens - self.first_tokens
        if counted and is_language and counts.local is None and not counts.batches:  # all steps so far are counted
            self.tokens_per_second = counted / self.timer.seconds

    def format_speed(self, trainer: Trainer) -> str:
        """Tokens or steps per second of training."""
        if self.tokens_per_second is not None:
            return f"{self.tokens_per_second:,.0f} tokens/s"
        speed = (trainer.global_step - self.first_step) / max(self.timer.seconds, 1e-9)
        return f"{speed:.1f} steps/s" if speed >= 1 else f"{1 / max(speed, 1e-9):.1f} s/step"

    def print_losses(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the losses of training and validation, unless there was a line just before."""
        if time.perf_counter() - self.line_at < SECONDS_BETWEEN_LINES:
            return
        counts, known = pl_module.counts, trainer.callback_metrics
        mean = (
            counts.epoch_loss / counts.epoch_tokens if counts.epoch_tokens else float(known.get("train/loss", math.nan))
        )
        val_loss = self.val_loss if self.val_step == trainer.global_step else ""  # only where it was measured
        self.print_line(trainer, f"train {mean:.4g}{val_loss}")

    def print_line(self, trainer: Trainer, losses: str) -> None:
        """Print step, losses, speed and the time that is left."""
        self.line_at, self.line_step = time.perf_counter(), trainer.global_step
        total, made = get_total_steps(trainer), trainer.global_step - self.first_step
        left = (
            None if total is None else (self.line_at - self.started_at) / max(made, 1) * (total - trainer.global_step)
        )
        parts = [
            f"step {trainer.global_step}" + ("" if total is None else f"/{total}"),
            losses,
            self.format_speed(trainer),
        ]
        self.print("  ".join([*parts, *([] if left is None else [f"{format_time(left)} left"])]))

    # ------------------------------------------------------------------ validation and test

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        """Show in the bar how far a validation is."""
        done = trainer.fit_loop.epoch_loop.val_loop.batch_progress.current.completed
        self.update_bar(trainer.global_step, f"validation {done}/{sum(trainer.num_val_batches)}", "")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print a line."""
        if (loss := trainer.callback_metrics.get("val/loss")) is not None:
            self.val_loss, self.val_step = f"  val {float(loss):.4g}", trainer.global_step
        if trainer.state.fn == "fit":
            self.print_losses(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Show a bar over the batches."""
        self.line_at = self.started_at = time.perf_counter()
        self.show_bar("batch", int(sum(trainer.num_test_batches)), 0)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Move the bar; without a terminal, give a sign every half minute."""
        self.update_bar(batch_idx + 1, "", "")
        now = time.perf_counter()
        if not self.console.is_terminal and now - self.line_at >= SECONDS_BETWEEN_SIGNS:
            self.line_at, total = now, int(sum(trainer.num_test_batches))
            left = (now - self.started_at) / (batch_idx + 1) * (total - batch_idx - 1)
            self.print(f"batch {batch_idx + 1}/{total}  {format_time(left)} left")

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Remove the bar."""
        self.remove_bar()

    # ------------------------------------------------------------------ the bar

    def show_bar(self, unit: str, total: int | None, completed: int) -> None:
        """Show a bar, on a terminal."""
        if not self.console.is_terminal:
            return
        columns = (
            TextColumn(unit),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self.bar = Bar(*columns, console=self.console, expand=True, refresh_per_second=4, transient=True)
        self.bar.add_task(unit, total=total, completed=completed, loss="", speed="")
        self.bar.start()

    def update_bar(self, completed: int, loss: str, speed: str) -> None:
        """Move the bar, if it was not moved just before."""
        now = time.perf_counter()
        if self.bar and now - self.updated_at > SECONDS_BETWEEN_UPDATES:
            self.updated_at = now
            self.bar.update(self.bar.task_ids[0], completed=completed, loss=loss, speed=speed)

    def remove_bar(self) -> None:
        """Remove the bar."""
        if self.bar:
            self.bar.stop()
            self.bar = None


def get_total_steps(trainer: Trainer) -> int | None:
    """The optimizer steps of the run; None if only time limits it."""
    total = trainer.estimated_stepping_batches
    return int(total) if math.isfinite(total) else None


def format_time(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
