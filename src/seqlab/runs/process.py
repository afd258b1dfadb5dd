"""Which process trains a run, and whether it still does."""

import os
import socket
from pathlib import Path
from typing import Any

import psutil

from seqlab.errors import UserError
from seqlab.runs.run_info import read_run_info

START_TIME_TOLERANCE = 2.0  # seconds; the system's clock may have been set between two looks


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Identify a process: host, pid and start time (seconds since the epoch), because pids are reused."""
    process = psutil.Process(pid)
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def is_running(info: dict[str, Any], trust_other_hosts: bool = False) -> bool:
    """True if the process that run.json names still runs. For a process of another host, `trust_other_hosts` decides."""
    identity = info["process"] or {}
    if identity.get("host") != socket.gethostname():
        return trust_other_hosts
    return identity["pid"] != os.getpid() and process_exists(identity["pid"], identity["started"])


def process_exists(pid: int, started: float | None = None) -> bool:
    """True if the process exists and is not a zombie; given `started`, only if it is the one that started then."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return started is None or abs(process.create_time() - started) < START_TIME_TOLERANCE
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
