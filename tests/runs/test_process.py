"""Which process trains a run, and the lock that it holds."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conftest import in_group
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.runs.process import ensure_not_running, is_running, lock_folder, process_exists, process_identity
from seqlab.runs.run_info import FILE_NAME, new_run_info


@pytest.fixture
def other() -> Iterator[subprocess.Popen]:
    """A process that sleeps."""
    process = in_group([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_known_by_when_it_started(other: subprocess.Popen) -> None:
    identity = process_identity(other.pid)
    assert is_running({"process": identity})
    assert not is_running({"process": identity | {"started": identity["started"] - 60}})  # its pid was used again
    assert not is_running({"process": identity | {"boot": "another"}})
    other.kill()
    deadline = time.monotonic() + 10
    while is_running({"process": identity}) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running({"process": identity})  # a zombie is not running
    other.wait()
    assert not process_exists(other.pid)


def test_a_clock_that_is_set_changes_nothing(other: subprocess.Popen, monkeypatch: pytest.MonkeyPatch) -> None:
    identity, now = process_identity(other.pid), psutil.boot_time()
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil, "boot_time", lambda: now + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    assert is_running({"process": identity})


def test_this_process_and_no_process_are_not_another_one() -> None:
    assert not is_running({"process": process_identity()})
    assert not is_running({"process": None})
    assert process_exists(os.getpid())


@pytest.mark.parametrize("trust", [True, False])
def test_of_another_machine_one_can_only_believe(trust: bool) -> None:
    identity = process_identity() | {"host": f"not-{socket.gethostname()}"}
    assert is_running({"process": identity}, trust_other_hosts=trust) == trust


def test_a_run_in_training_is_refused_and_a_dead_one_is_not(other: subprocess.Popen, tmp_path: Path) -> None:
    write_json(tmp_path / FILE_NAME, new_run_info(status="running", process=process_identity(other.pid)))
    with pytest.raises(UserError, match=f"is being trained by process {other.pid}"):
        ensure_not_running(tmp_path)
    other.kill()
    other.wait()
    ensure_not_running(tmp_path)


HOLD = "import sys, time; from pathlib import Path; from seqlab.runs.process import lock_folder\n" + (
    "with lock_folder(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def test_a_lock_is_one_process_and_ends_with_it(tmp_path: Path) -> None:
    holder = in_group([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="is being run by another process"), lock_folder(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with lock_folder(tmp_path):
        pass
