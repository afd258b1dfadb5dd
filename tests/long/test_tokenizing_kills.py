"""A tokeniser that is killed leaves whole shards, and the next one goes on with them to the same tokens."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.long


def contents(cache: Path) -> dict[str, bytes]:
    """Name -> bytes of everything that was written for one corpus."""
    (folder,) = (path for path in (cache / "tokens").iterdir() if path.is_dir())
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.timeout(300)
def test_five_kills_change_nothing(shared: Path, tmp_path: Path) -> None:
    text = (shared / "tinyshakespeare.txt").read_text()
    (tmp_path / "text.txt").write_text(text * 90)
    words = [sys.executable, "-m", "seqlab", "tokenize", "data=text", "data.path=text.txt", f"paths.data=[{shared}]"]

    def start(cache: str) -> subprocess.Popen:
        environment = os.environ | {"SEQLAB_CACHE": str(tmp_path / cache)}
        return subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    kept: dict[str, bytes] = {}
    for kill in range(5):
        process = start("killed")
        while len(list((tmp_path / "killed").rglob("train-*.npy"))) < kill and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3 * kill / 4 if kill else 3)  # the first one while it imports, reads or begins to encode
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = contents(tmp_path / "killed") if (tmp_path / "killed" / "tokens").is_dir() else {}
        assert "index.json" not in there
        whole = {name: content for name, content in there.items() if name.endswith(".npy")}
        assert kept.items() <= whole.items(), "a finished shard was written again, or lost"
        kept = whole
    assert len(kept) >= 4
    for cache in ("killed", "alone"):
        process = start(cache)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert b"tokens" in out
    assert contents(tmp_path / "killed") == contents(tmp_path / "alone")
    shutil.rmtree(tmp_path / "killed")
    shutil.rmtree(tmp_path / "alone")
