"""The verb score: texts on the command line and in files, token by token, and what cannot be scored."""

from collections.abc import Callable
from pathlib import Path

import pytest

from seqlab.serving.engine import load_run


@pytest.fixture
def run(seqlab: Callable, tiny: list[str]) -> str:
    """A run of a small model over the story."""
    assert seqlab(*tiny, "trainer.max_steps=30", "optimizer.lr=0.01").status == 0
    return "run=last"


def test_a_sentence_of_the_story_ranks_above_its_shuffle(run: str, seqlab: Callable) -> None:
    loaded = load_run("last", accelerator="cpu")
    fluent, shuffled = "the river ran past the mill", "lmit eht tsap nar revir eht"
    assert loaded.score(fluent).logprob > loaded.score(shuffled).logprob
    line = seqlab("score", run, f"text={fluent}", "device=cpu").out.splitlines()[1]
    score = loaded.score(fluent)
    assert line.split()[-4:] == ["26", f"{score.logprob:.5g}", f"{score.perplexity:.5g}", f"{score.bits_per_byte:.5g}"]


def test_each_token_is_told(run: str, seqlab: Callable) -> None:
    lines = seqlab("score", run, "text=the", "detail=true", "device=cpu").out.splitlines()
    loaded = load_run("last", accelerator="cpu")
    logprobs = loaded.score("the").logprobs
    assert [line.split()[1:] for line in lines[1:4]] == [
        ["'t'"],
        ["'h'", f"{logprobs[0]:.4f}"],
        ["'e'", f"{logprobs[1]:.4f}"],
    ]


def test_a_file_has_one_text_or_several(run: str, seqlab: Callable) -> None:
    Path("texts.jsonl").write_text('{"text": "the river"}\n{"text": "the mill"}\n')
    assert len(seqlab("score", run, "file=texts.jsonl", "device=cpu").out.splitlines()) == 3
    assert len(seqlab("score", run, "file=story.txt", "stride=3", "device=cpu").out.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give one of the two"),
        (["text=a", "file=story.txt"], "Give one of the two"),
        (["file=nowhere.txt"], "nowhere.txt does not exist"),
        (["text=t"], "the first of a text is not scored"),
        (["text=the", "stride=17"], "would leave tokens out"),
        (["text=Ω?"], "Ω"),
    ],
)
def test_what_cannot_be_scored_is_said(words: list[str], message: str, run: str, seqlab: Callable) -> None:
    answer = seqlab("score", run, *words, "device=cpu")
    assert answer.status != 0
    assert message in " ".join(answer.err.split())
