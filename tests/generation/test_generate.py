"""Generation from a model: cached and uncached alike, the context, the end token, the model's mode."""

import pytest
import torch

from seqlab.generation.generate import generate_tokens
from seqlab.generation.next_token import SamplingOptions
from variants import RECURRENT, TRANSFORMERS, Uncached, Variant, tiny

GPT_VARIANT = TRANSFORMERS[0]


def greedy_by_hand(model: torch.nn.Module, prompt: list[int], count: int) -> list[int]:
    """Everything is read anew for each token; of a full context, the last half is kept."""
    context = getattr(model, "context_length", None)
    tokens, start = list(prompt), 0
    for _ in range(count):
        if context and len(tokens) - start > context:
            start = len(tokens) - context // 2
        tokens.append(int(model(torch.tensor([tokens[start:]]))[0, -1].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("variant", [*TRANSFORMERS, *RECURRENT])
@pytest.mark.parametrize("length", [1, 5, 12])
def test_cached_equals_uncached_also_beyond_the_context(variant: Variant, length: int) -> None:
    model = tiny(variant)
    prompt = torch.randint(0, 50, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    options = SamplingOptions(max_new_tokens=40)
    expected = greedy_by_hand(model, prompt, 40)
    assert list(generate_tokens(model, prompt, options)) == expected
    assert list(generate_tokens(Uncached(model), prompt, options)) == expected


def test_a_prompt_must_have_a_token_and_fit_into_the_context() -> None:
    model = tiny(GPT_VARIANT)
    with pytest.raises(ValueError, match="13 tokens are more than the context of 12"):
        list(generate_tokens(model, [1] * 13))
    with pytest.raises(ValueError, match="has no token"):
        list(generate_tokens(model, []))


def test_the_end_tokens_stop_and_are_not_shown() -> None:
    model = tiny(GPT_VARIANT)
    tokens = list(generate_tokens(model, [1], SamplingOptions(max_new_tokens=12)))
    ends = {tokens[5], tokens[8]}
    before = tokens[: min(map(tokens.index, ends))]
    assert list(generate_tokens(model, [1], SamplingOptions(max_new_tokens=12), ends)) == before
    longer = SamplingOptions(max_new_tokens=12, min_new_tokens=8)
    assert len(list(generate_tokens(model, [1], longer, ends))) >= 8


def test_a_padded_vocabulary_is_not_drawn_from() -> None:
    options = SamplingOptions(max_new_tokens=200, temperature=5.0)
    assert max(generate_tokens(tiny(GPT_VARIANT), [1], options, vocab_size=10)) < 10


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored(training: bool) -> None:
    model = tiny(GPT_VARIANT).train(training)
    tokens = generate_tokens(model, [1], SamplingOptions(max_new_tokens=5))
    next(tokens)
    assert not model.training
    tokens.close()
    assert model.training is training
    list(generate_tokens(model, [1], SamplingOptions(max_new_tokens=5)))
    assert model.training is training


def test_the_same_seed_gives_the_same_text() -> None:
    def text(seed: int) -> list[int]:
        return list(generate_tokens(model, [1, 2], SamplingOptions(max_new_tokens=20, temperature=1.0, seed=seed)))

    model = tiny(GPT_VARIANT)
    assert text(1) == text(1) != text(2)


def test_the_prompt_is_left_as_it_was() -> None:
    prompt = [1, 2]
    list(generate_tokens(tiny(GPT_VARIANT), prompt, SamplingOptions(max_new_tokens=10)))
    assert prompt == [1, 2]
