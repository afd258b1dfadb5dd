"""The choice of the next token: filters, frequencies, penalties, and that a row's draw depends on its own seed alone."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqlab.errors import UserError
from seqlab.generation.next_token import SamplingOptions, adjust_logits, choose_tokens

LOGITS = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()


def make_generators(seeds: Iterable[int]) -> list[np.random.Generator]:
    """As rows of a batch have them."""
    return [np.random.Generator(np.random.SFC64(seed)) for seed in seeds]


def draw(logits: Tensor, count: int, seed: int = 0, **options: Any) -> Tensor:
    """(count,) tokens drawn by one row"""
    (generator,) = make_generators([seed])
    rows = [SamplingOptions(**options)]
    return torch.cat([choose_tokens(logits[None], rows, [generator]) for _ in range(count)])


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1e-40}, {"temperature": 0.01}, {"temperature": 1.0, "top_k": 1}]
)
def test_the_most_likely_token_is_taken(options: dict[str, float]) -> None:
    assert set(draw(LOGITS, 300, **options).tolist()) == {1}


@pytest.mark.parametrize(
    ("options", "possible"),
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
        ({"min_p": 1.0}, {1}),
        ({"min_p": 0.7}, {1, 2}),  # 0.3 is 0.75 of 0.4
        ({"min_p": 0.4}, {1, 2, 3}),
        ({"min_p": 0.4, "top_k": 2}, {1, 2}),
    ],
)
def test_filters_keep_the_likely_tokens_and_at_least_one(options: dict[str, float], possible: set[int]) -> None:
    assert set(draw(LOGITS, 300, temperature=1.0, **options).tolist()) == possible


@pytest.mark.parametrize(
    "options", [{}, {"top_k": 7}, {"top_p": 0.8}, {"min_p": 0.2}, {"top_k": 12, "top_p": 0.9, "min_p": 0.1}]
)
@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_frequencies_pass_a_chi_squared_test(options: dict[str, Any], temperature: float) -> None:
    logits = torch.randn(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probabilities = (logits / temperature).softmax(-1)
    ordered, order = probabilities.sort(descending=True)
    kept = torch.zeros(20, dtype=torch.bool)
    ordered = ordered[: options.get("top_k", 20)]
    ordered = ordered / ordered.sum()
    before = 0.0
    for rank, probability in enumerate(ordered.tolist()):
        is_enough = before >= options.get("top_p", 1.0) - 1e-9
        if rank and (is_enough or probability < options.get("min_p", 0.0) * float(ordered[0])):
            break
        kept[order[rank]] = True
        before += probability
    expected = probabilities * kept / (probabilities * kept).sum()
    count = 4000
    rows = [SamplingOptions(temperature=temperature, **options)] * count
    found = choose_tokens(logits.float().expand(count, -1), rows, make_generators(range(count))).bincount(minlength=20)
    assert int(found[~kept].sum()) == 0
    deviation = ((found[kept] - count * expected[kept]) ** 2 / (count * expected[kept])).sum()
    assert torch.special.gammaincc((kept.sum() - 1) / 2, deviation / 2) > 1e-3  # the p-value


def test_a_row_draws_as_it_would_alone() -> None:
    logits = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    rows = [
        SamplingOptions(temperature=1.0),
        SamplingOptions(),
        SamplingOptions(temperature=0.7, top_k=4),
        SamplingOptions(temperature=2.0, top_p=0.6),
        SamplingOptions(temperature=1.0, min_p=0.3),
    ]
    for seed in range(50):
        together = choose_tokens(logits, rows, make_generators(range(seed, seed + 5)))
        alone = [choose_tokens(logits[i : i + 1], rows[i : i + 1], make_generators([seed + i])) for i in range(5)]
        assert torch.equal(together, torch.cat(alone))
        logits = logits.roll(1, dims=1)


@pytest.mark.parametrize("options", [{}, {"top_p": 0.95}, {"top_k": 500}])
def test_a_last_digit_of_the_logits_hardly_ever_decides(options: dict[str, Any]) -> None:
    """Beside other rows logits differ in it, and a text is to be the same."""
    torch.manual_seed(0)
    logits, rows = 3 * torch.randn(50_000), [SamplingOptions(temperature=1.0, **options)] * 20
    differ = 0
    for seed in range(0, 2000, 20):
        first, second = (
            choose_tokens((logits + error).expand(20, -1), rows, make_generators(range(seed, seed + 20)))
            for error in (0.0, 1e-5 * torch.randn_like(logits))
        )
        differ += int((first != second).sum())
    assert differ <= 1


def test_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    draw(LOGITS, 5, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_penalty_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    logits = torch.randn(20, generator=torch.Generator().manual_seed(0))
    tokens = [3, 5, 3, 19, 0]
    expected = transformers.RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([tokens]), logits[None].clone())[0]
    adjust_logits(logits, tokens, SamplingOptions(repetition_penalty=1.3), [])
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)


def test_a_bias_is_added_and_what_is_forbidden_cannot_come() -> None:
    logits = LOGITS.clone()
    adjust_logits(logits, [], SamplingOptions(logit_bias={0: 5.0, 2: -1.0}), [3])
    torch.testing.assert_close(logits, LOGITS + torch.tensor([5.0, 0.0, -1.0, -torch.inf]))


def test_ties_break_alike_in_company() -> None:
    logits = torch.zeros(2, 2000)
    rows = [SamplingOptions(), SamplingOptions(temperature=1.0, top_p=0.9)]
    generators = make_generators(range(2))
    assert choose_tokens(logits, rows, generators)[0] == choose_tokens(logits[:1], rows[:1], generators[:1])[0]


def test_top_p_of_a_flat_distribution_is_right() -> None:
    logits = (
        torch.randn(5000, generator=torch.Generator().manual_seed(0)) * 0.1
    )  # the likeliest 1024 have a quarter of it
    ordered, order = logits.softmax(-1).sort(descending=True)
    kept = set(order[: int((ordered.cumsum(-1) < 0.5).sum()) + 1].tolist())
    found = set(draw(logits, 2000, temperature=1.0, top_p=0.5).tolist())
    assert found <= kept
    assert len(found) > 1000


def test_logits_that_are_not_numbers_are_said() -> None:
    with pytest.raises(UserError, match="are not numbers"):
        draw(torch.full((5,), torch.nan), 1, temperature=1.0)
