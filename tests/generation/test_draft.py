"""Drafted tokens, read at once: fewer passes for a text that repeats itself, and the same text."""

import random
from typing import Any

import pytest
import torch

from seqlab.generation.batch import GenerationBatch, TokenSequence
from seqlab.generation.draft import MAX_DRAFT, Draft
from seqlab.generation.next_token import SamplingOptions
from seqlab.serving.linear import MAX_EXACT_ROWS, MAX_INT8_ROWS
from variants import TRANSFORMERS, Uncached, Variant, tiny

REPEATING = [5, 9, 11, 20, 5, 9, 11, 20, 5, 9, 11]
OPTIONS = [
    SamplingOptions(max_new_tokens=60),
    SamplingOptions(max_new_tokens=40, temperature=0.5, top_k=2, seed=3, logprobs=2),
    SamplingOptions(max_new_tokens=40, repetition_penalty=1.3, logprobs=0),
    SamplingOptions(max_new_tokens=40, min_new_tokens=20, logit_bias={7: 3.0}),
]


def test_a_draft_is_what_followed_the_same_tokens() -> None:
    draft = Draft()
    draft.length = 4
    assert draft.find_tokens([1, 2, 3, 4, 5, 6, 1, 2, 3], 9) == [4, 5, 6, 1]
    assert draft.find_tokens([1, 2, 3, 4, 5, 6, 1, 2, 3, 8, 1, 2, 3], 9) == [8, 1, 2, 3]  # the latest
    assert draft.find_tokens([1, 2, 3, 4, 5, 6, 1, 2, 3, 8, 1, 2, 3, 0], 9) == []
    assert Draft().find_tokens([1, 2], 9) == []
    around = Draft()
    around.length = 5
    assert around.find_tokens([0, 7, 8, 7, 8, 7], 9) == [8, 7, 8, 7, 8]
    assert around.find_tokens([0, 7, 8, 7, 8, 7], 2) == [8, 7]


def test_drafts_grow_while_they_are_right() -> None:
    draft, logits = Draft(), torch.zeros(MAX_DRAFT, 4)
    lengths = []
    for right in (1, 2, 4, 8, 10, 3, 0):
        tokens = list(range(draft.length))
        draft.keep(tokens, logits[: len(tokens)])
        assert [draft.take_logits(token) is not None for token in tokens[:right]] == [True] * min(right, len(tokens))
        assert draft.take_logits(99) is None
        assert draft.drop() == max(0, len(tokens) - right)
        lengths.append(draft.length)
    assert lengths == [2, 4, 8, 10, 10, 6, 1]


def write(model: Any, options: SamplingOptions, end_ids: list[int]) -> TokenSequence:
    sequence, batch = TokenSequence(REPEATING, options, end_ids), GenerationBatch(model)
    batch.add(sequence)
    while batch.sequences:
        batch.step()
    return sequence


@pytest.mark.parametrize("variant", TRANSFORMERS)
@pytest.mark.parametrize("options", OPTIONS)
def test_a_drafted_text_is_the_text_without_drafts(variant: Variant, options: SamplingOptions) -> None:
    """Beyond the context of 12 as well, and up to an end in the middle of a draft."""
    model = tiny(variant)
    free = write(Uncached(model), options, [])
    for end_ids in ([], [free.new_tokens[-1]]):
        drafted, expected = write(model, options, end_ids), write(Uncached(model), options, end_ids)
        assert drafted.tokens == expected.tokens
        assert drafted.finish_reason == expected.finish_reason
        assert [noted.token for noted in drafted.logprobs] == [noted.token for noted in expected.logprobs]
        for mine, other in zip(drafted.logprobs, expected.logprobs, strict=True):
            assert mine.logprob == pytest.approx(other.logprob, abs=1e-5)


def test_a_text_that_repeats_itself_is_read_in_fewer_passes() -> None:
    model, passes = tiny((TRANSFORMERS[3][0], {"context_length": 128})), []
    hidden = model.hidden

    def count(tokens: torch.Tensor, **options: object) -> torch.Tensor:
        passes.append(tokens.numel())
        return hidden(tokens, **options)

    model.hidden = count
    bias = SamplingOptions(max_new_tokens=60, logit_bias={20: 1e4})  # the same token over and over
    assert write(model, bias, []).new_tokens == [20] * 60
    assert len(passes) < 20
    assert max(passes[1:]) == 1 + MAX_DRAFT


def test_a_text_that_has_ended_keeps_no_logits() -> None:
    for end_ids in ([], [20]):
        sequence = write(tiny(TRANSFORMERS[3]), SamplingOptions(max_new_tokens=30, logit_bias={20: 1e4}), end_ids)
        assert sequence.finish_reason
        assert sequence.draft.logits is None
        assert not sequence.draft.places


def test_drafts_are_within_what_is_exact_in_packed_weights() -> None:
    assert min(MAX_EXACT_ROWS, MAX_INT8_ROWS) >= MAX_DRAFT + 1


def test_one_who_joins_and_leaves_amid_a_draft_changes_nothing() -> None:
    model, bias = tiny((TRANSFORMERS[3][0], {"context_length": 128})), {20: 1e4, 9: 1e4}
    options = SamplingOptions(max_new_tokens=50, temperature=1e3, logit_bias=bias, seed=1)
    expected = write(Uncached(model), options, []).tokens
    for seed in range(8):
        rng = random.Random(seed)
        first, other = TokenSequence(REPEATING, options), TokenSequence([3, 4], SamplingOptions(max_new_tokens=90))
        batch = GenerationBatch(model)
        batch.add(first)
        while first in batch.sequences:
            if rng.random() < 0.15:
                (batch.remove if other in batch.sequences else batch.add)(other)
            if rng.random() < 0.05:  # and the text itself: it is read again
                batch.remove(first)
                batch.add(first)
            batch.step()
        assert first.tokens == expected
