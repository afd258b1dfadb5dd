"""A callback that only reports never ends a run."""

from pathlib import Path
from typing import Any

import pytest

GPT = ["data=text", "data.path=story.txt", "tokenizer=char", "model=gpt_mini", "model.n_layer=1", "model.n_head=2"]
GPT += ["model.n_embd=16", "data.context_length=16", "device=cpu", "trainer.max_epochs=2"]


def test_a_sample_that_cannot_be_written_is_a_warning(seqlab, story: Path) -> None:
    answer = seqlab("train", *GPT, "callbacks.samples.prompt=Ωmega", "callbacks.samples.every_seconds=0")
    assert answer.status == 0, answer.err
    said = [line for line in answer.err.splitlines() if "SampleText" in line]
    assert len(said) == 1
    assert "'Ω' is not in this tokenizer's alphabet" in said[0]


def test_a_figure_that_cannot_be_drawn_is_a_warning(seqlab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no fonts here")

    monkeypatch.setattr(Figure, "subplots", fail)
    answer = seqlab("train", "trainer.max_epochs=3", "data.val_fraction=0.1", "device=cpu")
    assert answer.status == 0
    assert answer.err.count("ForecastPlot failed") == 1
    assert "no fonts here" in answer.err
