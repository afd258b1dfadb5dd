"""Which files a command reads: what the user names is never replaced by something else."""

import json
from pathlib import Path

import pytest

from commands import write_texts

SMALL = ["tokenizer=byte", "model=gpt_mini", "model.n_layer=1", "model.n_head=2", "model.n_embd=16", "device=cpu"]


@pytest.mark.parametrize("data", ["instruction", "verdict"])
def test_a_misspelt_path_downloads_nothing(data: str, seqlab, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    monkeypatch.setenv("SEQLAB_CACHE", str(tmp_path / "cache"))
    answer = seqlab("train", f"data={data}", "data.path=my-own-recrods.json", *SMALL)
    assert answer.status == 1
    assert "There is no file my-own-recrods.json" in answer.err
    assert "cannot be reached" not in answer.err  # as a download would be, here
    own = seqlab("train", f"data={data}", f"paths.data=[{tmp_path}]", *SMALL)
    assert "cannot be reached" in own.err


def test_evaluate_downloads_nothing_for_a_misspelt_path(seqlab, story: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    monkeypatch.setenv("SEQLAB_CACHE", str(tmp_path / "cache"))
    small = [*SMALL, "trainer.max_steps=1", "data.context_length=16"]
    assert seqlab("train", "data=text", "data.path=story.txt", *small).status == 0
    answer = seqlab("evaluate", "run=last", "data=verdict", "data.path=typo.txt", "split=val")
    assert answer.status == 1
    assert "There is no file typo.txt" in answer.err
    assert "cannot be reached" not in answer.err


def test_a_frozen_base_that_was_drawn_from_a_seed_is_drawn_from_it_again(seqlab, story: Path, tmp_path: Path) -> None:
    words = ["data=text", "data.path=story.txt", *SMALL, "data.context_length=16", "adapter=lora", "seed=3"]
    assert seqlab("train", *words, "trainer.max_epochs=1").status == 0
    assert seqlab("evaluate", "run=last", "split=val").status == 0
    (run,) = tmp_path.glob("runs/*/*")
    measured = json.loads((run / "evaluations" / "text-val-best.json").read_text())["metrics"]["val/loss"]
    assert measured == pytest.approx(
        json.loads((run / "run.json").read_text())["metrics"]["best"]["val/loss"], rel=1e-5
    )


def test_a_folder_of_texts_is_resumed_as_it_was(seqlab, tmp_path: Path) -> None:
    write_texts(tmp_path)
    words = ["data=text", "data.path=my-texts", *SMALL, "data.context_length=16"]
    assert seqlab("train", *words, "trainer.max_steps=2").status == 0
    (run,) = tmp_path.glob("runs/*/*")
    (tmp_path / "my-texts" / "later.txt").write_text("A text that the run was not trained on.\n" * 99)
    (tmp_path / "my-texts").rename(tmp_path / "moved")
    answer = seqlab("train", "resume=last", "trainer.max_steps=3")
    assert answer.status == 1
    assert "is not there: give its new place with data.path=<file>, or <folder>" in " ".join(answer.err.split())
    refused = seqlab("train", "resume=last", "trainer.max_steps=3", "data.path=[moved/later.txt,moved/notes.md]")
    assert "has no file with the bytes of" in refused.err
    assert seqlab("train", "resume=last", "trainer.max_steps=3", "data.path=moved").status == 0
    info = json.loads((run / "run.json").read_text())
    assert sorted(info["data"]) == sorted(str(tmp_path / "moved" / name) for name in ("notes.md", "more/a.txt"))
    (tmp_path / "moved" / "notes.md").write_text("changed")
    changed = seqlab("train", "resume=last", "trainer.max_steps=4")
    assert changed.status == 1
    assert "is not what this run was trained on" in changed.err
