"""What run.json says: where a run comes from, and how it stands."""

import datetime
import os
import platform
import socket
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.files import compute_sha256
from seqlab.runs.folder import is_in_sweep, read_run_info, remove_run, update_run_info

PACKAGES = ("seqlab", "torch", "lightning", "hydra-core", "torchmetrics", "tiktoken", "numpy")


def timestamp() -> str:
    """The local time with its zone, sortable within one."""
    return datetime.datetime.now().astimezone().isoformat()


def new_run_info(**known: Any) -> dict[str, Any]:
    """The first record of a run: all the keys that there are, most of them yet to come."""
    keys = (
        "status command overrides choices seed parameters metrics objective checkpoints steps tokens data_properties "
        "started ended process git versions hardware data base resumed error"
    )
    return dict.fromkeys(keys.split()) | {"status": "pending", "metrics": {"last": {}, "best": {}}} | known


def collect_environment(processes: int = 1) -> dict[str, Any]:
    """Where this process runs, which is one of so many on this machine: process, code, versions, hardware."""
    import torch

    from seqlab.device import hardware_name

    return {
        "process": process_identity(os.getpid()),
        "git": git_state(Path(__file__).parent),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "hardware": {
            "device": hardware_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "processes": processes,
        },
    }


def is_running(record: dict[str, Any], remote: bool = False) -> bool:
    """Whether the process that a record names still runs on this machine; of another machine's, `remote` is believed."""
    here, there = process_identity(os.getpid()), record["process"] or {}
    if (there.get("host"), there.get("boot_id")) != (here["host"], here["boot_id"]):
        return remote
    if there["pid"] == here["pid"]:
        return False
    return process_exists(there["pid"]) and there.get("begun") in (None, process_start_time(there["pid"]))


def mark_ended(run: Path, status: str, error: str, unwanted: bool) -> None:
    """Say how a run ended before its end. One that is unwanted and made no step is taken away, unless a sweep counts it."""
    if unwanted and not is_in_sweep(run) and not read_run_info(run)["steps"]:
        remove_run(run)
    else:
        update_run_info(run, status=status, ended=timestamp(), error=error)


def ensure_not_running(run: Path) -> None:
    """Raises Mistake where another process of this machine trains a run."""
    record = read_run_info(run)
    if record["status"] == "running" and is_running(record):
        raise UserError(
            f"{run} is being trained by process {record['process']['pid']}: wait for it, or stop it with Ctrl-C."
        )


def process_exists(pid: int) -> bool:
    """Whether there is such a process on this machine, which is not dead with nobody having asked for it."""
    if stat(pid)[:1] == ["Z"]:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def process_identity(pid: int) -> dict[str, Any]:
    """A process of this machine, as no other one can be called."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text().strip() if boot.exists() else None
    return {"host": socket.gethostname(), "pid": pid, "boot_id": boot_id, "begun": process_start_time(pid)}


def process_start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did, where the system says so: numbers are used again."""
    fields = stat(pid)
    return int(fields[19]) if fields else None


def stat(pid: int) -> list[str]:
    """What Linux says of a process, from its state on (proc_pid_stat(5), field 3); nothing remote, or once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that a folder lies in, and whether tracked files differ from it; None outside of one."""

    def ask(*words: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", "--no-optional-locks", "-C", str(folder), *words], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    if (
        ask("ls-files", "--error-unmatch", str(folder / "record.py")) is None
    ):  # seqlab itself is not what is checked out
        return None
    commit = ask("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))} if commit else None


def compute_checksums(files: Iterable[Path]) -> dict[str, str]:
    """sha256 per file."""
    return {str(file): compute_sha256(file) for file in files}
