"""Files of a run: old or new and never half, and nothing but tensors and plain Python is read."""

import json
import os
import pickle
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.errors import UserError
from seqlab.files import write_atomically, write_json
from seqlab.runs.checkpoints import load_checkpoint, save_checkpoint


class Crafted:
    """A pickle of it runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_an_exception_while_writing_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with suppress(KeyboardInterrupt), write_atomically(path) as partial:
        partial.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_users_own_file_beside_is_left(tmp_path: Path) -> None:
    own = tmp_path / "model.part" / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    with write_atomically(tmp_path / "model") as partial:
        partial.mkdir()
    assert own.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"model", "model.part"}


def test_a_kill_while_writing_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import os, pathlib, sys; from seqlab.files import write_atomically\n"
        "with write_atomically(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('ha'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert path.read_text() == "old"
    with write_atomically(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_written_over_old_files(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for value in ({"status": "running"}, {"status": "done", "metrics": [1, None, 0.5]}):
        write_json(path, value)
        assert json.loads(path.read_text()) == value
    with pytest.raises(TypeError):
        write_json(path, {"model": object()})
    assert json.loads(path.read_text())["status"] == "done"


@pytest.mark.parametrize("mmap", [True, False])
def test_tensors_and_plain_python_come_back(tmp_path: Path, mmap: bool) -> None:
    shared = torch.randn(3, 4)
    value = {
        "state_dict": {"a": shared, "b": shared},
        "step": 7,
        "names": ["x", None, (1, 2.5)],
        "half": torch.ones(2).bfloat16(),
    }
    save_checkpoint(tmp_path / "last.ckpt", value)
    loaded = load_checkpoint(tmp_path / "last.ckpt", mmap=mmap)
    assert torch.equal(loaded["state_dict"]["a"], shared)
    assert loaded["state_dict"]["a"].data_ptr() == loaded["state_dict"]["b"].data_ptr()
    assert loaded["half"].dtype == torch.bfloat16
    assert {key: loaded[key] for key in ("step", "names")} == {"step": 7, "names": ["x", None, (1, 2.5)]}
    assert list(torch.load(tmp_path / "last.ckpt", weights_only=True)) == list(value)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
@pytest.mark.parametrize("mmap", [True, False])
def test_a_crafted_pickle_is_refused_and_not_run(tmp_path: Path, save: Any, mmap: bool) -> None:
    path, proof = tmp_path / "last.ckpt", tmp_path / "proof"
    save({"state_dict": {}, "evil": Crafted(f"touch {proof}")}, path)
    with pytest.raises(UserError, match=r"last.ckpt is not a checkpoint .*nothing of it was executed"):
        load_checkpoint(path, mmap=mmap)
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 garbage"])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "last.ckpt")


def test_half_a_checkpoint_and_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with pytest.raises(UserError, match=r"There is no checkpoint .*checkpoint=best"):
        load_checkpoint(path)
    save_checkpoint(path, {"weights": torch.randn(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


def test_what_could_not_be_read_back_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(UserError, match=r"holds collections.deque, which cannot be read back: keep tensors"):
        save_checkpoint(path, {"step": 2, "window": deque([1.0])})
    assert load_checkpoint(path) == {"step": 1}
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "SHA256SUMS"}


@pytest.mark.parametrize("damage", ["garbage", "x" * 64 + "  last.ckpt", "\x00\xff"])
def test_damaged_checksums_are_named(damage: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.ckpt", {"step": 1})
    with open(tmp_path / "SHA256SUMS", "a", encoding="latin1") as file:
        file.write(damage)
    with pytest.raises(UserError, match=r"SHA256SUMS is damaged in line 2: restore it, or remove it"):
        load_checkpoint(tmp_path / "last.ckpt")
    (tmp_path / "SHA256SUMS").unlink()
    assert load_checkpoint(tmp_path / "last.ckpt") == {"step": 1}


def test_a_full_disk_is_an_os_error_and_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"step": 1})
    code = (
        "import pathlib, resource, signal, sys, torch; from seqlab.runs.checkpoints import save_checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: save_checkpoint(pathlib.Path(sys.argv[1]), {'step': 2, 'weights': torch.zeros(100_000)})\n"
        "except OSError as error: print('errno', error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "errno 27\n"
    assert load_checkpoint(path) == {"step": 1}
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "SHA256SUMS"}
