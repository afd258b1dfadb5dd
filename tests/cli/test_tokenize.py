"""The verb tokenize: what it prints, that a run finds it, and what it refuses."""

import json
from pathlib import Path

import pytest

from commands import write_texts
from seqlab.data import shards

MODEL = [
    "model=gpt_mini",
    "model.n_layer=1",
    "model.n_head=2",
    "model.n_embd=16",
    "device=cpu",
    "data.context_length=16",
]
TEXTS = ["data=text", "data.path=my-texts", "tokenizer=byte"]


def test_what_was_tokenised_is_what_a_run_reads(seqlab, tmp_path: Path, monkeypatch) -> None:
    write_texts(tmp_path)
    answer = seqlab("tokenize", *TEXTS, "data.split_by=characters")
    assert answer.status == 0, answer.err
    assert "texts       2 documents, 48,838 bytes" in answer.out
    assert "tokens      43,955 train, 4,885 val" in answer.out
    assert "of a vocabulary of 257" in answer.out
    assert Path(answer.out.split("kept in")[1].strip().replace("\n", "")).is_dir()
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(shards, "write_tokens", None)  # nothing is encoded any more
    trained = seqlab("train", *TEXTS, "data.split_by=characters", *MODEL, "trainer.max_steps=1")
    assert trained.status == 0, trained.err
    (info,) = (json.loads(file.read_text()) for file in tmp_path.glob("runs/*/*/run.json"))
    assert [Path(file).name for file in info["data"]] == ["a.txt", "notes.md"]


def test_a_tokenizer_that_learns_does_so_as_in_a_run(seqlab, tmp_path: Path, monkeypatch) -> None:
    write_texts(tmp_path)
    words = ["data=text", "data.path=[my-texts/notes.md,my-texts/more]", "tokenizer=bpe", "tokenizer.size=280"]
    assert seqlab("tokenize", *words).status == 0
    monkeypatch.setattr(shards, "write_tokens", None)
    assert seqlab("train", *words, *MODEL, "trainer.max_steps=1").status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=sine"], "data=sine is not kept as tokens"),
        (["data=instruction"], "data=instruction is not kept as tokens"),
        (["-m", *TEXTS], "leave -m out"),
        ([*TEXTS, "plan=true"], "plan=true has no effect: tokenize has no run"),
        ([*TEXTS, "explain=true"], "explain=true has no effect"),
        ([*TEXTS, "start=false"], "start=false has no effect"),
        (["data=text"], "data.path is missing"),
        (["data=text", "data.path=nowhere"], "There is no file nowhere"),
        (["data=text", "data.path=[]"], "data.path=[] names no text"),
        (["data=text", "data.path=*.rst"], "There is no file *.rst"),
        (["data=text", "data.path=my-code"], "no files that end in .txt, .md"),
        ([*TEXTS, "data.split_by=words"], "data.split_by=words does not fit"),
        ([*TEXTS, "data.encoding_errors=ignore"], "must be strict or replace"),
        (["data=text", "data.path=my-texts", "tokenizer=bpe", "data.split_by=tokens"], "needs a tokenizer first"),
        (["data=text", "data.path=http://127.0.0.1:9/a.txt", "tokenizer=byte"], "cannot be reached"),
    ],
)
def test_what_cannot_be_tokenised_is_refused(words: list[str], said: str, seqlab, shared: Path, tmp_path: Path) -> None:
    write_texts(tmp_path)
    answer = seqlab("tokenize", *words, f"paths.data=[{shared}]")
    assert answer.status == 1
    assert said in " ".join(answer.err.split())
    assert "Traceback" not in answer.err
    assert not list(tmp_path.rglob("index.json"))
