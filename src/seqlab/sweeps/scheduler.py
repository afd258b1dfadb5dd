"""Runs jobs, one after another or side by side, until there are no more: watched, limited in time, stopped by Ctrl-C."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from seqlab.config.targets import allow_words
from seqlab.errors import Interrupted, UserError, format_error
from seqlab.runs.run_info import read_run_info, timestamp, update_run_info
from seqlab.streams import signal_safe_print
from seqlab.sweeps.display import Display
from seqlab.sweeps.manifest import Job, Sweep

GRACE_SECONDS = 60.0  # for a job to save once its time is over; after Ctrl-C it may take as long as it needs
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 0.1


class Handle(Protocol):
    """A job that was started."""

    def has_ended(self) -> bool:
        """True if it has."""

    def signal(self, number: int) -> None:
        """Send it a signal."""

    def failure_reason(self) -> str:
        """How it ended, if it could not record that itself."""


class Launcher(Protocol):
    """Where jobs run."""

    slots: int
    timeout: float | None  # seconds of a job

    def start_job(self, sweep: Sweep, job: Job) -> Handle:
        """Start a job. Raises UserError for one that may not be started."""

    def wait(self, handles: list[Any], seconds: float) -> None:
        """Wait until one of them ends, at most `seconds`."""


@dataclass
class Running:
    """A job that runs, since when, and when and why it was asked to stop."""

    job: Job
    handle: Handle
    since: float
    asked: float | None = None
    reason: str | None = None


class Scheduler:
    """Runs what `ask` gives, which is None if nothing is left, and gives `tell` what has ended.

    `should_prune` is called for every running job.
    """

    def __init__(self, sweep: Sweep, launcher: Launcher, display: Display) -> None:
        self.sweep, self.launcher, self.display = sweep, launcher, display
        self.running: list[Running] = []
        self.stops = 0  # how often the user has asked
        self.slots = launcher.slots
        self.postponed: list[Job] = []  # for which there was no process

    def run(
        self,
        ask: Callable[[], Job | None],
        tell: Callable[[Job], None] = lambda job: None,
        should_prune: Callable[[Job], bool] = lambda job: False,
    ) -> None:
        """Run all. Raises Interrupted once running jobs have saved after Ctrl-C, and at once after a second one."""
        ignores_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup
        signals = SIGNALS[:2] if ignores_hangup else SIGNALS
        previous = {number: signal.signal(number, self.handle_stop) for number in signals}
        left = True
        try:
            while self.running or (left and not self.stops):
                while left and not self.stops and len(self.running) < self.slots:
                    left = self.start_next(ask, tell)
                if self.running:
                    self.launcher.wait([running.handle for running in self.running], POLL_SECONDS)
                for running in list(self.running):
                    self.poll_job(running, tell, should_prune)
                self.display.update([running.job for running in self.running])
        finally:
            for running in self.running:  # only after an error here
                running.handle.signal(signal.SIGKILL)
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self.stops:
            done, failed, interrupted, pending = map(self.sweep.count, ("done", "failed", "interrupted", "pending"))
            raise Interrupted(
                f"The sweep was stopped: {done} done, {f'{failed} failed, ' if failed else ''}{interrupted} interrupted, "
                f"{pending} not started; continue with seqlab train sweep.resume={self.sweep.folder}{allow_words()}."
            )

    def start_next(self, ask: Callable[[], Job | None], tell: Callable[[Job], None]) -> bool:
        """Start the next job; false if there is none."""
        job = self.postponed.pop() if self.postponed else ask()
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
            handle = self.launcher.start_job(self.sweep, job)
        except (OSError, EOFError) as error:  # the machine has no process for it
            self.postpone(job, error)
            return True
        except ValueError as error:
            self.mark_failed(job, str(error))
            self.display.job_ended(job)
            tell(job)
            return True
        self.running.append(Running(job, handle, time.monotonic()))
        if self.stops:  # Ctrl-C came while it was being started
            self.forward_stop(self.running[-1])
        return True

    def postpone(self, job: Job, error: Exception) -> None:
        """Start a job once another has ended, and no more at once than now. Raises UserError if none is running."""
        self.sweep.set_state(job, "pending")
        if not self.running:
            raise UserError(
                f"No process could be started for {job.name} ({format_error(error)}): end other work on this machine, and "
                f"continue with seqlab train sweep.resume={self.sweep.folder}{allow_words()}."
            ) from error
        self.postponed.append(job)
        self.slots = len(self.running)

    def poll_job(self, running: Running, tell: Callable[[Job], None], should_prune: Callable[[Job], bool]) -> None:
        """Notice that a job has ended, was deleted, or has run out of time."""
        seconds = time.monotonic() - running.since
        if self.is_deleted(running.job):
            running.handle.signal(signal.SIGKILL)
            self.running.remove(running)
            self.mark_deleted(running.job)
        elif running.handle.has_ended():
            self.running.remove(running)
            running.job.seconds = seconds
            self.record_end(running)
            tell(running.job)
        elif running.asked is None:
            if self.launcher.timeout and seconds > self.launcher.timeout:
                limit = self.launcher.timeout / 60
                self.interrupt(running, f"took longer than hydra.launcher.timeout_minutes={limit:g}")
            elif should_prune(running.job):
                self.interrupt(running, "pruned")
        elif running.reason and time.monotonic() - running.asked > GRACE_SECONDS:
            running.handle.signal(signal.SIGKILL)

    def interrupt(self, running: Running, reason: str | None) -> None:
        """Ask a job to save and stop."""
        running.asked, running.reason = time.monotonic(), reason
        running.handle.signal(signal.SIGINT)

    def record_end(self, running: Running) -> None:
        """Write into the manifest how a job ended, and into run.json if it could not do so itself."""
        job, folder = running.job, self.sweep.path(running.job)
        job.submitted = None
        info = read_run_info(folder)
        if info["status"] == "done":
            self.sweep.set_state(job, "done")
        elif running.reason == "pruned":
            error = "was pruned: it was worse than the trials before it"
            update_run_info(folder, status="interrupted", error=error)
            self.sweep.set_state(job, "pruned")
        elif running.reason:
            self.mark_failed(job, running.reason)
        elif info["status"] in ("pending", "running"):
            is_ours = self.stops > 1
            reason = "was ended by the second Ctrl-C" if is_ours else running.handle.failure_reason()
            self.mark_failed(job, reason, "interrupted" if self.stops else "failed")
        else:
            self.sweep.set_state(job, info["status"], info["error"])
        self.display.job_ended(job)

    def is_deleted(self, job: Job) -> bool:
        """True if the user has removed a job's folder; what the job still writes may be there."""
        return not all((self.sweep.path(job) / file).exists() for file in ("config.yaml", "run.json"))

    def mark_deleted(self, job: Job) -> None:
        """Record a job whose folder was removed."""
        self.sweep.set_state(job, "failed", "its folder was removed")
        self.display.job_ended(job)

    def mark_failed(self, job: Job, error: str, status: str = "failed") -> None:
        """Record the end of a job that did not record it itself."""
        update_run_info(self.sweep.path(job), status=status, error=error, ended=timestamp())
        self.sweep.set_state(job, status, error)

    def handle_stop(self, *_: Any) -> None:
        """The first Ctrl-C lets the running jobs save, the second ends them at once."""
        self.stops += 1
        for running in self.running:
            self.forward_stop(running)
        first = "stopping: the running jobs save; Ctrl-C again ends them at once"
        signal_safe_print(f"seqlab: {first if self.stops == 1 else 'stopped at once'}\n")

    def forward_stop(self, running: Running) -> None:
        """Ask a job to save, unless it was asked before, or end it at once, as the user wants."""
        if self.stops > 1:
            running.handle.signal(signal.SIGKILL)
        elif running.asked is None:
            self.interrupt(running, None)
