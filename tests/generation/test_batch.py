"""Texts that are continued together: each as if it were alone, whenever the others join and leave."""

import random

import pytest
import torch

from seqlab.generation import batch as batch_module
from seqlab.generation.batch import GenerationBatch, TokenSequence
from seqlab.generation.generate import generate_tokens
from seqlab.generation.next_token import SamplingOptions
from variants import RECURRENT, TRANSFORMERS, Uncached, Variant, tiny

VARIANTS = [*TRANSFORMERS, *RECURRENT]
OPTIONS = [
    SamplingOptions(max_new_tokens=30),
    SamplingOptions(max_new_tokens=30, temperature=1.0, top_p=0.9, seed=3),
    SamplingOptions(max_new_tokens=30, temperature=0.8, top_k=9, repetition_penalty=1.2, seed=4),
]
END = 7


def make_prompts(count: int) -> list[list[int]]:
    rng = random.Random(count)
    return [[rng.randrange(50) for _ in range(rng.randint(1, 12))] for _ in range(count)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_each_text_is_as_it_would_be_alone(variant: Variant, seed: int) -> None:
    model, rng = tiny(variant), random.Random(seed)
    waiting = [TokenSequence(prompt, rng.choice(OPTIONS), [END]) for prompt in make_prompts(9)]
    sequences, given_up = list(waiting), []
    for one in (model, Uncached(model)):
        batch = GenerationBatch(one)
        while waiting or batch.sequences:
            if waiting and rng.random() < 0.4:
                batch.add(waiting.pop())
            if batch.sequences and rng.random() < 0.03:
                given_up.append(rng.choice(batch.sequences))
                batch.remove(given_up[-1])
            if batch.sequences:
                batch.step()
        for sequence in sequences:
            alone = list(generate_tokens(model, sequence.tokens[: sequence.prompt_length], sequence.options, [END]))
            new = sequence.new_tokens
            assert new == (alone[: len(new)] if sequence in given_up else alone)
            assert sequence in given_up or sequence.finish_reason == ("length" if len(new) == 30 else "stop")
        waiting = [TokenSequence(s.tokens[: s.prompt_length], s.options, [END]) for s in sequences]
        sequences, given_up = list(waiting), []


@pytest.mark.parametrize("variant", VARIANTS)
def test_long_prompts_are_read_in_pieces(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = tiny(variant), make_prompts(6)
    expected = [list(generate_tokens(model, prompt, OPTIONS[0])) for prompt in prompts]
    monkeypatch.setattr(batch_module, "MAX_READ", 5)
    batch = GenerationBatch(model)
    sequences = [TokenSequence(prompt, OPTIONS[0]) for prompt in prompts]
    for sequence in sequences:
        batch.add(sequence)
    while batch.sequences:
        batch.step()
    assert [sequence.new_tokens for sequence in sequences] == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_padded(variant: Variant) -> None:
    model, read = tiny(variant), []
    hidden = model.hidden

    def count(tokens: torch.Tensor, **options: object) -> torch.Tensor:
        read.append(tokens.numel())
        return hidden(tokens, **options)

    model.hidden = count
    batch = GenerationBatch(model)
    for length in (1, 11, 4):
        batch.add(TokenSequence([3] * length, SamplingOptions(max_new_tokens=2)))
    while batch.sequences:
        batch.step()
    assert read == [16, 3]


def test_rows_that_leave_leave_nothing_behind() -> None:
    model = tiny(TRANSFORMERS[0])
    batch = GenerationBatch(model)
    for _ in range(5):
        for prompt in make_prompts(4):
            batch.add(TokenSequence(prompt, SamplingOptions(max_new_tokens=3)))
        while batch.sequences:
            batch.step()
            assert batch.cache.layers[0].size(1) in (0, 4)  # as many as there are at once
    assert len(batch.cache.lengths) == 0
    assert batch.cache.layers[0].untyped_storage().nbytes() == 0


def test_probabilities_are_those_of_the_model() -> None:
    model = tiny(TRANSFORMERS[0])
    options = SamplingOptions(max_new_tokens=6, temperature=2.0, top_k=5, repetition_penalty=1.5, logprobs=3)
    batch, sequence = GenerationBatch(model), TokenSequence([1, 2, 3], options)
    batch.add(sequence)
    while batch.sequences:
        batch.step()
    logprobs = model(torch.tensor([sequence.tokens])).log_softmax(-1)[0].detach()
    assert len(sequence.logprobs) == 6
    for place, noted in enumerate(sequence.logprobs):
        token = sequence.new_tokens[place]
        row = logprobs[3 + place - 1]
        assert noted.token == token
        assert noted.logprob == pytest.approx(float(row[token]), abs=1e-5)
        assert [token for token, _ in noted.top] == row.topk(3).indices.tolist()
