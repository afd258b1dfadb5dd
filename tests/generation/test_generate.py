"""Generation: greedy, filtered and seeded sampling, cache and crop, the model's mode, streamed text."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seqlab.generation.generate import decode_stream, generate_tokens, sample_token
from seqlab.models.gpt import GPT
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.gpt2 import GPT2Tokenizer

LOGITS = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Bare(nn.Module):
    """A model that offers `forward` and nothing else."""

    def __init__(self, model: GPT, context_length: int | None) -> None:
        super().__init__()
        self.model = model
        if context_length:
            self.context_length = context_length

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.model(tokens)


def tiny(**changes: Any) -> GPT:
    torch.manual_seed(0)
    return GPT(
        **({"vocab_size": 40, "context_length": 8, "n_layer": 2, "n_head": 2, "n_embd": 16, "dropout": 0.5} | changes)
    )


def sampled(count: int = 300, **choices: Any) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    return {sample_token(LOGITS, generator=generator, **choices) for _ in range(count)}


def test_temperature_0_is_greedy_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert sample_token(LOGITS, temperature=0, top_k=2, top_p=0.5, generator=generator) == 1
    assert torch.equal(generator.get_state(), state)
    assert sampled(temperature=0.01) == {1}
    assert sampled(temperature=1e-50) == {1}  # 0 in fp32


@pytest.mark.parametrize(
    ("choices", "possible"),
    [
        ({}, {0, 1, 2, 3}),
        ({"top_k": 1}, {1}),
        ({"top_k": 2}, {1, 2}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        ({"top_p": 1e-9}, {1}),
        ({"top_p": 0.39}, {1}),
        ({"top_p": 0.5}, {1, 2}),
        ({"top_p": 0.8}, {1, 2, 3}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        ({"top_k": 2, "top_p": 0.5}, {1}),  # of the two left, the first has 0.57
    ],
)
def test_filters_keep_the_likely_tokens_and_at_least_one(choices: dict[str, float], possible: set[int]) -> None:
    assert sampled(temperature=1.0, **choices) == possible


def test_samples_follow_the_softmax_at_their_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([sample_token(LOGITS, 2.0, generator=generator) for _ in range(4000)])
    frequencies = drawn.bincount(minlength=4) / 4000
    torch.testing.assert_close(frequencies, (LOGITS / 2).softmax(0), rtol=0, atol=0.03)


def test_a_temperature_near_0_is_greedy_too() -> None:
    assert sample_token(LOGITS, temperature=1e-40) == 1


def test_the_same_seed_gives_the_same_text_and_leaves_the_global_generator_alone() -> None:
    def text(seed: int) -> list[int]:
        draw = partial(sample_token, temperature=1.0, generator=torch.Generator().manual_seed(seed))
        return list(generate_tokens(model, [1, 2], 20, next_token=draw))

    model = tiny()
    state = torch.get_rng_state()
    assert text(1) == text(1) != text(2)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("prompt", [[3], list(range(8)), list(range(20))])
def test_cached_equals_uncached_also_beyond_the_context(prompt: list[int]) -> None:
    model = tiny()
    expected, tokens = [], list(prompt)
    model.eval()
    for _ in range(15):
        expected.append(int(model(torch.tensor([tokens[-8:]]))[0, -1].argmax()))
        tokens.append(expected[-1])
    assert list(generate_tokens(model, prompt, 15)) == expected
    assert list(generate_tokens(Bare(model, 8), prompt, 15)) == expected


def test_a_model_without_a_context_sees_everything() -> None:
    model = tiny(context_length=64)
    assert list(generate_tokens(Bare(model, None), [1, 2, 3], 15)) == list(generate_tokens(model, [1, 2, 3], 15))


def test_the_end_token_stops_and_is_not_shown() -> None:
    tokens = iter([5, 6, 9, 7])
    assert list(generate_tokens(tiny(), [1], 20, eos_id=9, next_token=lambda _: next(tokens))) == [5, 6]
    assert list(generate_tokens(tiny(), [1], 3, eos_id=9, next_token=lambda _: 5)) == [5, 5, 5]
    assert list(generate_tokens(tiny(), [1], 0)) == []


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored(training: bool) -> None:
    model = tiny().train(training)
    modes = []
    tokens = generate_tokens(model, [1], 5, next_token=lambda logits: modes.append(model.training) or 5)
    next(tokens)
    tokens.close()
    assert (modes, model.training) == ([False], training)
    list(generate_tokens(model, [1], 5))
    assert model.training is training
    with pytest.raises(ZeroDivisionError):
        list(generate_tokens(model, [1], 5, next_token=lambda logits: 1 // 0))
    assert model.training is training


def test_the_prompt_is_left_as_it_was() -> None:
    prompt = [1, 2]
    list(generate_tokens(tiny(), prompt, 10))
    assert prompt == [1, 2]


TEXT = "naïve 🙂 日本語 👩‍👩‍👧 end"


def pieces(tokenizer: ByteTokenizer | GPT2Tokenizer, text: str) -> list[str]:
    ids = tokenizer.encode(text)
    shown = list(decode_stream(ids, tokenizer.decode))
    assert "".join(shown) == tokenizer.decode(ids)
    return shown


def test_streamed_text_never_shows_half_a_character(shared: Path) -> None:
    for tokenizer in (ByteTokenizer(), GPT2Tokenizer(folders=[str(shared)])):
        shown = pieces(tokenizer, TEXT)
        assert "".join(shown) == TEXT
        assert not any(REPLACEMENT in piece for piece in shown)
        assert len(shown) > 10  # it streams


@given(st.text())
def test_streamed_pieces_add_up_to_the_whole(text: str) -> None:
    assert "".join(pieces(ByteTokenizer(), text)) == text


@given(st.lists(st.integers(0, 256)))
def test_streamed_pieces_of_any_bytes_add_up_to_the_decoded_whole(ids: list[int]) -> None:
    assert "".join(decode_stream(ids, ByteTokenizer().decode)) == ByteTokenizer().decode(ids)
