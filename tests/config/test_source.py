"""The checksums of the code that a run imports."""

import importlib
import sys
from pathlib import Path

import pytest

from seqlab.config.source import user_code_checksums


def test_a_module_that_was_removed_after_its_import_has_no_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gonelab.py"
    file.write_text("answer = 42\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("SEQLAB_ALLOW", "gonelab")
    importlib.import_module("gonelab")
    assert list(user_code_checksums()) == [str(file)]
    file.unlink()
    assert user_code_checksums() == {}
