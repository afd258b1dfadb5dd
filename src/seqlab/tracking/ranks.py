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

from seqlab.runs import ranks
from seqlab.runs.folder import read_record, write_record
from seqlab.runs.record import alive, now

EVERY = 0.5  # seconds
PATIENCE = 5.0  # seconds in which a rank that lost another may end by itself


class Ranks(Callback):
    """Ends the run, with the error in run.json, where one of its processes on this machine dies.

    A collective may wait for a dead rank for half an hour, and Lightning's own observer kills without a word.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Watch from a thread: the first rank its children, the others the first."""
        if stage != "fit" or trainer.world_size == 1:
            return
        children = getattr(trainer.strategy.launcher, "procs", [])
        for thread in threading.enumerate():
            if thread.name == "child-process-observer":
                thread._child_processes = []  # type: ignore[attr-defined]  # it then sees nothing to do, and ends
        first = {"process": read_record(self.run)["process"]}
        if children:
            self.watch(lambda: died(children))
        elif ranks.rank():
            self.watch(lambda: None if alive(first, elsewhere=True) else (0, "was killed"))

    def watch(self, look: Callable[[], tuple[int, str] | None]) -> None:
        """Call `look` every so often; once it names a rank and what happened to it, end this process."""

        def go_on() -> None:
            while not (dead := look()):
                time.sleep(EVERY)
            if not ranks.rank():
                ranks.report(self.run, *dead)  # the main thread asks for it
            time.sleep(PATIENCE)
            said = ranks.reported(self.run) or f"rank {dead[0]}: {dead[1]}"
            with suppress(FileNotFoundError):  # the first one may take the folder away
                if read_record(self.run)["status"] == "running":
                    write_record(self.run, everyone=True, status="failed", ended=now(), error=said)
                    print(f"seqlab: {said}", file=sys.stderr, flush=True)
            os._exit(1)

        threading.Thread(target=go_on, daemon=True).start()


def died(processes: list[Any]) -> tuple[int, str] | None:
    """The first rank among these processes that ended badly, and how."""
    for number, process in enumerate(processes, 1):
        status = process.poll()
        if status:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
            return number, how
    return None
