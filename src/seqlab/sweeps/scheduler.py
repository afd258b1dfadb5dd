"""Jobs one after another or side by side, until there are no more: watched, limited in time, stopped by Ctrl-C."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from seqlab.errors import Interrupted
from seqlab.runs import folder as runs
from seqlab.runs.run_info import timestamp
from seqlab.streams import signal_safe_print
from seqlab.sweeps.display import Display
from seqlab.sweeps.manifest import Job, Sweep

GRACE_SECONDS = (
    60.0  # seconds that a job may take to save once its time is over; after Ctrl-C it may take what it takes
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 0.1  # seconds between two looks at what runs


class Handle(Protocol):
    """A job that was started."""

    def has_ended(self) -> bool:
        """Whether it has."""

    def signal(self, number: int) -> None:
        """Send it a signal."""

    def failure_reason(self) -> str:
        """How it ended, for one that could not say so itself."""


class Launcher(Protocol):
    """Where jobs run."""

    slots: int
    timeout: float | None  # seconds of a job

    def start(self, sweep: Sweep, job: Job) -> Handle:
        """Start a job. Raises Mistake for one that may not be started."""

    def wait(self, handles: list[Any], seconds: float) -> None:
        """Until one of them ends, or for so long."""


@dataclass
class Running:
    """A job that runs, since when, and whether and why it was asked to stop."""

    job: Job
    handle: Handle
    since: float
    asked: float | None = None
    why: str | None = None


class Scheduler:
    """Runs what `ask` gives, which is None where nothing is left, and passes on to `tell` what has ended.

    `should_prune` is asked of every running job whether to prune it.
    """

    def __init__(self, sweep: Sweep, launcher: Launcher, display: Display) -> None:
        self.sweep, self.launcher, self.display = sweep, launcher, display
        self.running: list[Running] = []
        self.stops = 0  # how often the user has asked

    def run(
        self,
        ask: Callable[[], Job | None],
        tell: Callable[[Job], None] = lambda job: None,
        should_prune: Callable[[Job], bool] = lambda job: False,
    ) -> None:
        """Run all. Raises Interrupted once what runs has saved after Ctrl-C, and at once after a second one."""
        nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        heard = SIGNALS[:2] if nohup else SIGNALS
        before = {number: signal.signal(number, self.handle_stop) for number in heard}
        left = True
        try:
            while self.running or (left and not self.stops):
                while left and not self.stops and len(self.running) < self.launcher.slots:
                    left = self.start_next(ask, tell)
                if self.running:
                    self.launcher.wait([running.handle for running in self.running], POLL_SECONDS)
                for running in list(self.running):
                    self.poll_job(running, tell, should_prune)
                self.display.update([running.job for running in self.running])
        finally:
            for running in self.running:  # only where something went wrong here
                running.handle.signal(signal.SIGKILL)
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stops:
            done, failed, interrupted, pending = map(self.sweep.count, ("done", "failed", "interrupted", "pending"))
            raise Interrupted(
                f"The sweep was stopped: {done} done, {f'{failed} failed, ' if failed else ''}{interrupted} interrupted, "
                f"{pending} not begun; go on with sweep.resume={self.sweep.folder}."
            )

    def start_next(self, ask: Callable[[], Job | None], tell: Callable[[Job], None]) -> bool:
        """Start the next job; whether there was one."""
        job = ask()
        if job is None:
            return False
        if job.state == "failed":  # a trial that was refused
            self.display.job_ended(job)
            tell(job)
            return True
        if self.is_deleted(job):
            self.mark_deleted(job)
            return True
        try:
            self.sweep.set_state(job, "running")
            handle = self.launcher.start(self.sweep, job)
        except ValueError as mistake:
            self.mark_failed(job, str(mistake))
            tell(job)
            return True
        self.running.append(Running(job, handle, time.monotonic()))
        if self.stops:  # Ctrl-C came while it was being started
            self.forward_stop(self.running[-1])
        return True

    def poll_job(self, running: Running, tell: Callable[[Job], None], should_prune: Callable[[Job], bool]) -> None:
        """Take note of an end, and of a time limit that is over."""
        took = time.monotonic() - running.since
        if self.is_deleted(running.job):
            running.handle.signal(signal.SIGKILL)
            self.running.remove(running)
            self.mark_deleted(running.job)
        elif running.handle.has_ended():
            self.running.remove(running)
            running.job.seconds = took
            self.record_end(running)
            tell(running.job)
        elif running.asked is None:
            if self.launcher.timeout and took > self.launcher.timeout:
                limit = self.launcher.timeout / 60
                self.interrupt(running, f"took longer than hydra.launcher.timeout_minutes={limit:g}")
            elif should_prune(running.job):
                self.interrupt(running, "pruned")
        elif running.why and time.monotonic() - running.asked > GRACE_SECONDS:
            running.handle.signal(signal.SIGKILL)

    def interrupt(self, running: Running, why: str | None) -> None:
        """Ask a job to save and stop."""
        running.asked, running.why = time.monotonic(), why
        running.handle.signal(signal.SIGINT)

    def record_end(self, running: Running) -> None:
        """Say in run.json and in the manifest how a job ended, where it could not say so itself."""
        job, folder = running.job, self.sweep.path(running.job)
        job.submitted = None
        record = runs.read_run_info(folder)
        if record["status"] == "done":
            self.sweep.set_state(job, "done")
        elif running.why == "pruned":
            why = "was pruned: it looked should_prune beside the trials before it"
            runs.update_run_info(folder, status="interrupted", error=why)
            self.sweep.set_state(job, "pruned")
        elif running.why:
            self.mark_failed(job, running.why)
        elif record["status"] in ("pending", "running"):
            self.mark_failed(job, running.handle.failure_reason(), "interrupted" if self.stops else "failed")
        else:
            self.sweep.set_state(job, record["status"], record["error"])
        self.display.job_ended(job)

    def is_deleted(self, job: Job) -> bool:
        """Whether the user took a job's folder away; what the job still wrote may be there."""
        return not all((self.sweep.path(job) / file).exists() for file in ("config.yaml", "run.json"))

    def mark_deleted(self, job: Job) -> None:
        """Record a job whose folder is no more."""
        self.sweep.set_state(job, "failed", "its folder was taken away")

    def mark_failed(self, job: Job, why: str, status: str = "failed") -> None:
        """Record what a job could not."""
        runs.update_run_info(self.sweep.path(job), status=status, error=why, ended=timestamp())
        self.sweep.set_state(job, status, why)

    def handle_stop(self, *_: Any) -> None:
        """The first Ctrl-C lets the running jobs save, the second ends them at once."""
        self.stops += 1
        for running in self.running:
            self.forward_stop(running)
        again = "stopping: the running jobs save; Ctrl-C again ends them at once"
        signal_safe_print(f"seqlab: {again if self.stops == 1 else 'stopped at once'}\n")

    def forward_stop(self, running: Running) -> None:
        """Ask a job to save, unless it was asked before, or end it at once, as the user wants it."""
        if self.stops > 1:
            running.handle.signal(signal.SIGKILL)
        elif running.asked is None:
            self.interrupt(running, None)
