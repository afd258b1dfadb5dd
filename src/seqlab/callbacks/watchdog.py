"""Watches over the processes of a data-parallel run."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.strategies.launchers import subprocess_script

from seqlab.runs import ranks
from seqlab.runs.folder import read_run_info, update_run_info
from seqlab.runs.run_info import is_running, mark_ended, timestamp

POLL_SECONDS = 0.5  # seconds
STOPPED = "was stopped"
GRACE_SECONDS = 5.0  # seconds in which a rank that lost another may end by itself


class RankWatchdog(Callback):
    """Ends the run, with the error in run.json, where one of its processes on this machine dies.

    A collective may wait for a dead rank for half an hour, and Lightning's own observer kills without a word.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        launcher: Any = subprocess_script
        launcher._launch_process_observer = self.watch_children  # called as soon as there are any

    def watch_children(self, children: list[Any]) -> None:
        """The first rank watches the others that it has started."""
        self.watch(lambda: find_dead_rank(children), read_run_info(self.run)["process"])

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """The others watch the first."""
        if stage != "fit" or trainer.world_size == 1 or not ranks.get_rank():
            return
        first = read_run_info(self.run)["process"]
        self.watch(lambda: None if is_running({"process": first}, remote=True) else (0, "was killed"), first)

    def watch(self, look: Callable[[], tuple[int, str] | None], first: Any) -> None:
        """Call `look` every so often; once it names a rank and what happened to it, end this process.

        `first` is the process of the first rank as run.json names it, unless the run has been gone on with since.
        """

        def go_on() -> None:
            while not (dead := look()):
                time.sleep(POLL_SECONDS)
            if not ranks.get_rank():
                ranks.report_error(self.run, *dead)  # the main thread asks for it
            time.sleep(GRACE_SECONDS)
            said = ranks.first_error(self.run) or f"rank {dead[0]}: {dead[1]}"
            with suppress(FileNotFoundError):  # the first one may take the folder away
                record = read_run_info(self.run)
                if record["status"] == "running" and record["process"] == first:
                    if dead[1] == STOPPED:  # and this one waits for it where it cannot hear Ctrl-C
                        mark_ended(self.run, "interrupted", "KeyboardInterrupt: Stopped.", unwanted=True)
                        os._exit(130)
                    update_run_info(self.run, everyone=True, status="failed", ended=timestamp(), error=said)
                    print(f"seqlab: {said}", file=sys.stderr, flush=True)
            os._exit(1)

        threading.Thread(target=go_on, daemon=True).start()


def find_dead_rank(processes: list[Any]) -> tuple[int, str] | None:
    """The first rank among these processes that ended badly, and how."""
    for number, process in enumerate(processes, 1):
        status = process.poll()
        if status:
            if status in (130, -signal.SIGINT):
                return number, STOPPED
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
            return number, how
    return None
