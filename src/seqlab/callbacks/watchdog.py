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

from seqlab.callbacks.lightning_private import watch_child_ranks
from seqlab.runs import ranks
from seqlab.runs.folder import mark_ended
from seqlab.runs.process import is_running
from seqlab.runs.run_info import read_run_info, timestamp, update_run_info

POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0  # for a rank that lost another one to end by itself
STOPPED = "was stopped"


class RankWatchdog(Callback):
    """Ends the run, with the error in run.json, if one of its processes on this machine dies.

    A collective may wait half an hour for a dead rank, and Lightning's own observer kills without a word.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.watches_rank0 = False
        watch_child_ranks(self.watch_children)
        if ranks.get_rank() and not ranks.is_externally_launched():
            self.watch_rank0()  # which has started this process, and may be dead before the ranks have found each other

    def watch_children(self, children: list[Any]) -> None:
        """On rank 0: watch the other ranks that it has started."""
        self.watch(lambda: find_dead_rank(children), read_run_info(self.run)["process"])

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """On the other ranks, if a cluster has started them: watch rank 0, which has claimed the run by now."""
        if stage == "fit" and trainer.world_size > 1 and ranks.get_rank() and not self.watches_rank0:
            self.watch_rank0()

    def watch_rank0(self) -> None:
        """Watch the process that run.json names."""
        self.watches_rank0 = True
        rank0 = read_run_info(self.run)["process"]
        is_dead = (0, "was killed")
        self.watch(lambda: None if is_running({"process": rank0}, trust_other_hosts=True) else is_dead, rank0)

    def watch(self, find_dead: Callable[[], tuple[int, str] | None], rank0: Any) -> None:
        """Poll in a thread; end this process once `find_dead` names a rank and what happened to it.

        `rank0` is the process of rank 0 as run.json names it, unless the run has been resumed since.
        """

        def poll() -> None:
            while not (dead := find_dead()):
                time.sleep(POLL_SECONDS)
            if not ranks.get_rank():
                ranks.report_error(self.run, *dead)  # for the main thread
            time.sleep(GRACE_SECONDS)
            self.end_process(dead, rank0)

        threading.Thread(target=poll, daemon=True).start()

    def end_process(self, dead: tuple[int, str], rank0: Any) -> None:
        """Write why the run ended, unless the main thread has, and exit."""
        error = ranks.first_error(self.run) or f"rank {dead[0]}: {dead[1]}"
        with suppress(FileNotFoundError):  # rank 0 may have removed the folder
            info = read_run_info(self.run)
            if info["status"] == "running" and info["process"] == rank0:
                if dead[1] == STOPPED:  # and this rank waits for it where it cannot react to Ctrl-C
                    mark_ended(self.run, "interrupted", "Stopped.", remove_if_empty=True)
                    os._exit(130)
                update_run_info(self.run, any_rank=True, status="failed", ended=timestamp(), error=error)
                print(f"seqlab: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def find_dead_rank(processes: list[Any]) -> tuple[int, str] | None:
    """The first rank among these processes that ended badly, and how."""
    for rank, process in enumerate(processes, 1):
        status = process.poll()
        if status:
            if status in (130, -signal.SIGINT):
                return rank, STOPPED
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
            return rank, how
    return None
