"""A signal that comes before training is not lost, whatever swallows the exception."""

import os
import signal
from pathlib import Path

import pytest

from seqlab import build


def test_an_interrupt_that_a_library_swallows_ends_the_run(
    seqlab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make = build.build_task

    def swallow(*args, **keywords):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            sum(range(1000))
        except KeyboardInterrupt:
            pass
        return make(*args, **keywords)

    monkeypatch.setattr("seqlab.training.train.build_task", swallow)
    answer = seqlab("train", "device=cpu", "trainer.max_epochs=2")
    assert answer.status == 130
    assert answer.err.strip().endswith("Stopped.")
    assert not list(tmp_path.glob("runs/*/*"))
