"""A job in a process of its own, on this machine."""

import multiprocessing
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from seqlab.runs.run_info import timestamp

OUTPUT_FILE = "output.log"  # in the run folder
SAFE_PATH = "PYTHONSAFEPATH"
BLOCKED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # in the fork server
LOST_EXIT_STATUS = 255  # of a job whose fork server was killed: nobody waits for the job any more
MAX_HEAD_BYTES, MAX_TAIL_BYTES = 4_000_000, 100_000  # of a job's output that are kept


def start_fork_server() -> ForkServerContext:
    """Start the server that jobs are forked from, which imports what they need meanwhile."""
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["seqlab.sweeps.preload"])
    with safe_import_path():
        resource_tracker.ensure_running()  # first, since it unblocks the signals
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)  # jobs shall save before the server ends
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


@contextmanager
def safe_import_path() -> Iterator[None]:
    """Let what is started here import nothing from the working folder (like `python -P`)."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        os.environ.pop(SAFE_PATH)
        if before is not None:
            os.environ[SAFE_PATH] = before


class JobProcess:
    """Runs a run folder in a process group of its own, which dies with this process."""

    def __init__(self, context: ForkServerContext, run: Path, threads: int | None, gpu: int | None) -> None:
        reader, writer = context.Pipe(duplex=False)
        self.process = context.Process(target=job_main, args=(run, writer, dict(os.environ), threads, gpu))
        self.process.start()
        writer.close()
        self.sentinel = self.process.sentinel
        self.copier = threading.Thread(target=copy_output, args=(reader, run / OUTPUT_FILE), daemon=True)
        self.copier.start()

    def has_ended(self) -> bool:
        """True if it has, and all its output is kept."""
        if self.process.exitcode is None:
            return False
        if self.process.exitcode == LOST_EXIT_STATUS and self.process.pid:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.copier.join(2)  # no longer: something that outlives the job may hold its output open
        return True

    def signal(self, number: int) -> None:
        """Signal all processes of the job: SIGINT asks it to save, SIGKILL ends it."""
        pid = self.process.pid
        if pid and self.process.exitcode is None:
            with suppress(ProcessLookupError):
                try:
                    os.killpg(pid, number)
                except ProcessLookupError:  # it has no group yet
                    os.kill(pid, number)

    def failure_reason(self) -> str:
        """How it ended, if it could not record that itself."""
        status = self.process.exitcode or 0
        if status == -signal.SIGKILL:
            return "was killed by SIGKILL, as the system does when memory runs out"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"


def copy_output(reader: Connection, file: Path) -> None:
    """Copy a job's output to a file, leaving out the middle if it is very long."""
    head_left, tail, dropped = MAX_HEAD_BYTES, deque[bytes](), 0
    with reader, open(file, "ab", buffering=0) as log:
        if log.tell():  # of an attempt before this one
            log.write(f"--- {timestamp()}\n".encode())
        while block := read_output(reader):
            head, block = block[:head_left], block[head_left:]
            head_left -= len(head)
            with suppress(OSError):  # the disk is full: the job shall continue
                log.write(head)
            if block:
                tail.append(block)
                while sum(map(len, tail)) > MAX_TAIL_BYTES:
                    dropped += len(tail.popleft())
        if tail:
            with suppress(OSError):
                log.write(b"\n... %d bytes left out ...\n" % dropped + b"".join(tail))


def read_output(reader: Connection) -> bytes:
    """What a job has printed; nothing once it has ended."""
    try:
        return os.read(reader.fileno(), 65536)
    except OSError:
        return b""


def job_main(run: Path, writer: Connection, environment: dict[str, str], threads: int | None, gpu: int | None) -> None:
    """In the job's process: run the folder, with the output in a file, and end with the parent process."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()  # the server's may be older
    os.environ.update(environment)
    for number in (1, 2):
        os.dup2(writer.fileno(), number)
    threading.Thread(target=die_with_parent, daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = nth_visible_gpu(gpu, os.environ.get("CUDA_VISIBLE_DEVICES"))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_SIGNALS)  # one that came since the fork is handled now
        status = run_job(run, threads)
    except KeyboardInterrupt:  # before the run began
        status = 130
    raise SystemExit(status)


def nth_visible_gpu(gpu: int, visible: str | None) -> str:
    """The name of the n-th GPU that the sweep may use: `nth_visible_gpu(1, "2,3") = "3"`."""
    return visible.split(",")[gpu].strip() if visible else str(gpu)


def run_job(run: Path, threads: int | None) -> int:
    """Run a folder here or, if it needs several processes, as the command that Lightning repeats; exit status."""
    import torch

    from seqlab.errors import run_cli
    from seqlab.launch.run import launch_command, needs_subprocesses, run_folder
    from seqlab.runs.folder import read_config

    if needs_subprocesses(read_config(run)):
        if threads:
            os.environ["OMP_NUM_THREADS"] = str(threads)
        signal.signal(signal.SIGINT, lambda *_: None)  # the command gets it too, and ends by itself
        return subprocess.Popen(launch_command(run)).wait()
    if threads:
        torch.set_num_threads(threads)
    return run_cli(lambda: run_folder(run))


def die_with_parent() -> None:
    """Once the sweep's process has ended, kill this job's group, so that nothing writes on."""
    parent: Any = multiprocessing.parent_process()
    parent.join()
    os.killpg(0, signal.SIGKILL)
