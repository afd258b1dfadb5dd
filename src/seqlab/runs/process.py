"""Which process trains a run, whether it still does, and the lock that it holds."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from seqlab.errors import UserError
from seqlab.runs.run_info import read_run_info

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux
START_TIME_TOLERANCE = 2.0  # seconds


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Identify a process: host, boot, pid and start time in seconds since the boot, because pids are reused.

    Both times that psutil tells move with the system's clock, and their difference does not.
    """
    process = psutil.Process(pid)
    started = process.create_time() - psutil.boot_time()
    return {"host": socket.gethostname(), "boot": read_boot_id(), "pid": process.pid, "started": started}


def read_boot_id() -> str:
    """What tells this boot of the machine from others; empty where the system does not say."""
    return BOOT_ID.read_text(encoding="utf-8").strip() if BOOT_ID.exists() else ""


def is_running(info: dict[str, Any], trust_other_hosts: bool = False) -> bool:
    """True if the process that run.json names still runs. For a process of another host, `trust_other_hosts` decides."""
    identity = info["process"] or {}
    if identity.get("host") != socket.gethostname():
        return trust_other_hosts
    is_other = identity["pid"] != os.getpid() and identity.get("boot") == read_boot_id()
    return is_other and process_exists(identity["pid"], identity["started"])


def describe_status(info: dict[str, Any]) -> str:
    """A run's status, and whether the process of one that should be running has ended."""
    is_lost = info["status"] == "running" and not is_running(info, trust_other_hosts=True)
    is_own = (info["process"] or {}).get("pid") == os.getpid()
    return "killed" if is_lost and not is_own else info["status"]


def process_exists(pid: int, started: float | None = None) -> bool:
    """True if the process exists and is not a zombie; given `started`, in seconds since the boot, only that one."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return started is None or abs(process_identity(pid)["started"] - started) < START_TIME_TOLERANCE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def ensure_not_running(run: Path) -> None:
    """Raises UserError if another process of this machine trains the run."""
    info = read_run_info(run)
    if info["status"] == "running" and is_running(info):
        raise UserError(
            f"{run} is being trained by process {info['process']['pid']}: wait for it, or stop it with Ctrl-C."
        )


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder's `.lock`, which ends with the process. Raises UserError if another process holds it."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder} is being run by another process: wait for it, or stop it with Ctrl-C.") from None
    except (OSError, NotImplementedError):  # the file system has no locks: run.json still names the process
        pass
    try:
        yield
    finally:
        lock.release()
