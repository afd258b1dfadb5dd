"""One display for a whole sweep: what is done, runs and has failed, the time left, the best so far."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from seqlab.runs import folder as runs
from seqlab.runs.objective import Objective
from seqlab.sweeps.manifest import Job, Sweep

ENDED = ("done", "failed", "interrupted", "pruned")


class Display:
    """A bar on a terminal, and a line for each job that has ended."""

    def __init__(self, sweep: Sweep, total: int, slots: int) -> None:
        self.sweep, self.slots = sweep, slots
        self.total, self.count = total, 0
        self.objective: Objective | None = None  # the first one's, and its best value
        self.best = ""  # name of the job that has it
        self.seconds: list[float] = []
        self.began: dict[int, float] = {}
        self.console = Console(highlight=False)
        columns = (
            TextColumn("{task.completed}/{task.total}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[line]}"),
        )
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("jobs", total=total, line="")
        for job in sweep.jobs:
            self.update_best(job)

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def update(self, running: list[Job]) -> None:
        """Draw the bar."""
        failed = self.sweep.count("failed")
        best = f"best {self.objective.best:.4g} ({self.best[:3]})" if self.objective and self.best else ""
        left = self.time_left(running)
        parts = [f"{len(running)} running", f"{failed} failed" if failed else "", left, best]
        self.bar.update(self.task, completed=self.count, line="  ".join(filter(None, parts)))

    def time_left(self, running: list[Job]) -> str:
        """The time left, as the jobs so far took on average."""
        now = time.monotonic()
        self.began = {job.number: self.began.get(job.number, now) for job in running}
        if not self.seconds:
            return ""
        each = sum(self.seconds) / len(self.seconds)
        ahead = (self.total - self.count) * each - sum(min(now - since, each) for since in self.began.values())
        minutes, seconds = divmod(int(ahead / self.slots), 60)
        return f"{minutes}:{seconds:02d} left"

    def update_best(self, job: Job) -> str:
        """Whether a job that is done is the best so far of those with its objective; that, to be read."""
        if job.state != "done":
            return ""
        record = runs.read_run_info(self.sweep.path(job))
        metric, best = record["objective"]["metric"], record["metrics"]["best"]
        self.objective = self.objective or Objective(**record["objective"])
        if metric == self.objective.metric and self.objective.improved(best):
            self.best = job.name
        return f"{metric} {best[metric]:.5g}" if metric in best else ""

    def job_ended(self, job: Job) -> None:
        """A line for a job."""
        self.count += 1
        self.seconds.append(job.seconds)
        told = self.update_best(job) if job.state == "done" else job.error or ""
        width = len(str(self.total))
        line = f"[{self.count:>{width}}/{self.total}] {job.name}  {job.state}  {told}  {job.seconds:.1f} s"
        self.bar.console.print(line, markup=False, soft_wrap=True)
