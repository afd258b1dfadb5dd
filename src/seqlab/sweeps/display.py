"""One display for a whole sweep: what is done, runs and has failed, the time left, the best so far."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from seqlab.runs.objective import Objective
from seqlab.runs.run_info import read_run_info
from seqlab.sweeps.manifest import Job, Sweep


class Display:
    """A bar on a terminal, and a line for each job that has ended."""

    def __init__(self, sweep: Sweep, total: int, slots: int) -> None:
        self.sweep, self.slots = sweep, slots
        self.total, self.count = total, 0
        self.objective: Objective | None = None  # of the first job, and its best value
        self.best_job = ""
        self.seconds: list[float] = []  # of each job that has ended
        self.started_at: dict[int, float] = {}  # by job
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
        best = f"best {self.objective.best:.4g} ({self.best_job[:3]})" if self.objective and self.best_job else ""
        parts = [f"{len(running)} running", f"{failed} failed" if failed else "", self.time_left(running), best]
        self.bar.update(self.task, completed=self.count, line="  ".join(filter(None, parts)))

    def time_left(self, running: list[Job]) -> str:
        """The time left, if the jobs take as long as those so far."""
        now = time.monotonic()
        self.started_at = {job.number: self.started_at.get(job.number, now) for job in running}
        if not self.seconds:
            return ""
        mean = sum(self.seconds) / len(self.seconds)
        elapsed = sum(min(now - start, mean) for start in self.started_at.values())
        minutes, seconds = divmod(int(((self.total - self.count) * mean - elapsed) / self.slots), 60)
        return f"{minutes}:{seconds:02d} left"

    def update_best(self, job: Job) -> str:
        """Remember a finished job if it is the best so far of those with its objective; return what it reached."""
        if job.state != "done":
            return ""
        info = read_run_info(self.sweep.path(job))
        metric, best = info["objective"]["metric"], info["metrics"]["best"]
        self.objective = self.objective or Objective(**info["objective"])
        if metric == self.objective.metric and self.objective.update(best):
            self.best_job = job.name
        return f"{metric} {best[metric]:.5g}" if metric in best else ""

    def job_ended(self, job: Job) -> None:
        """Print a line for a job."""
        self.count += 1
        self.seconds.append(job.seconds)
        result = self.update_best(job) if job.state == "done" else job.error or ""
        width = len(str(self.total))
        line = f"[{self.count:>{width}}/{self.total}] {job.name}  {job.state}  {result}  {job.seconds:.1f} s"
        self.bar.console.print(line, markup=False, soft_wrap=True)
