"""Scores of texts: the model's own probabilities, in windows where a text is longer than the context."""

import math
from collections.abc import Callable

import pytest
import torch

from seqlab.errors import UserError

TEXT = "The river ran past the mill, and the mill ran because of the river. " * 4


@pytest.mark.parametrize("kind", ["gpt", "gru", "uncached"])
def test_a_short_text_has_the_models_probabilities(kind: str, make_run: Callable) -> None:
    run = make_run(kind)
    score = run.score("The mill ran.")
    ids = run.tokenizer.encode("The mill ran.")
    with torch.no_grad():
        logprobs = run.model(torch.tensor([ids])).log_softmax(-1)[0]
    expected = [float(logprobs[place, token]) for place, token in enumerate(ids[1:])]
    assert score.logprobs == pytest.approx(expected, abs=1e-5)
    assert score.logprob == pytest.approx(sum(expected), abs=1e-4)
    assert score.perplexity == pytest.approx(math.exp(-sum(expected) / 12), rel=1e-5)
    assert score.bits_per_byte == pytest.approx(-sum(expected) / math.log(2) / 12, rel=1e-5)


@pytest.mark.parametrize("stride", [1, 7, 32, 64])
def test_a_long_text_is_read_in_windows(stride: int, make_run: Callable) -> None:
    run = make_run()
    score = run.score(TEXT, stride=stride)
    ids = run.tokenizer.encode(TEXT)
    assert len(score.logprobs) == len(ids) - 1
    end = 64
    while end < len(ids) + stride:  # each window scores its last tokens
        stop = min(end, len(ids) - 1)
        start = max(0, stop - 64)
        with torch.no_grad():
            logprobs = run.model(torch.tensor([ids[start:stop]])).log_softmax(-1)[0]
        first = 0 if end == 64 else end - stride
        expected = [float(logprobs[place - start, ids[place + 1]]) for place in range(first, stop)]
        assert score.logprobs[first:stop] == pytest.approx(expected, abs=1e-5)
        end += stride


def test_a_recurrent_network_reads_a_text_at_once(make_run: Callable) -> None:
    run = make_run("gru")
    ids = run.tokenizer.encode(TEXT)
    with torch.no_grad():
        nll = torch.nn.functional.cross_entropy(run.model(torch.tensor([ids]))[0, :-1], torch.tensor(ids[1:]))
    assert run.score(TEXT).perplexity == pytest.approx(math.exp(float(nll)), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "stride", "message"),
    [
        ("", None, "has 0 token"),
        ("a", None, "has 1 token"),
        ("ab", 0, "stride=0"),
        ("ab", 65, "would leave tokens out"),
    ],
)
def test_what_cannot_be_scored_is_said(text: str, stride: int | None, message: str, make_run: Callable) -> None:
    with pytest.raises(UserError, match=message):
        make_run().score(text, stride=stride)
