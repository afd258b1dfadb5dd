"""Recurrent language models: causality, a state as cache, packed records from an empty state, and no longest context."""

from typing import Any

import pytest
import torch

from seqlab.generation.generate import generate_tokens
from seqlab.models.language import offers_cache
from seqlab.models.rnn_lm import GRULM, LSTMLM, RNNLM

MODELS = [RNNLM, LSTMLM, GRULM]


def tiny(make: Any, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = make(**{"vocab_size": 50, "hidden_size": 16, "num_layers": 2, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def tokens(rows: int, columns: int) -> torch.Tensor:
    return torch.randint(0, 50, (rows, columns), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", MODELS)
def test_a_token_changes_nothing_before_it(make: Any) -> None:
    model, before = tiny(make), tokens(2, 12)
    after = before.clone()
    after[:, 7] = (after[:, 7] + 1) % 50
    first, second = model(before), model(after)
    assert first.shape == (2, 12, 50)
    torch.testing.assert_close(first[:, :7], second[:, :7], rtol=0, atol=1e-6)
    assert (first[:, 7:] - second[:, 7:]).abs().amax(-1).min() > 1e-5


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("pieces", [[1] * 12, [5, 1, 6], [12]])
def test_cached_logits_equal_uncached_ones(make: Any, pieces: list[int]) -> None:
    model, inputs = tiny(make), tokens(2, 12)
    assert offers_cache(model)
    cache = model.init_cache(2, 12)
    cached = torch.cat([model.head(model.hidden(piece, cache=cache)) for piece in inputs.split(pieces, 1)], 1)
    torch.testing.assert_close(cached, model(inputs), rtol=0, atol=1e-5)
    assert cache.lengths.tolist() == [12, 12]


@pytest.mark.parametrize("make", MODELS)
def test_packed_records_get_the_logits_of_each_alone(make: Any) -> None:
    model, inputs = tiny(make), tokens(2, 12)
    lengths = ([3, 1, 8], [6, 6, 0])
    document_ids = torch.stack([torch.repeat_interleave(torch.arange(3), torch.tensor(row)) for row in lengths])
    packed = model.head(model.hidden(inputs, document_ids=document_ids))
    for row, sizes in enumerate(lengths):
        alone = torch.cat([model(record[None])[0] for record in inputs[row].split(sizes) if len(record)])
        torch.testing.assert_close(packed[row], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_generation_has_no_longest_context_and_is_that_without_a_cache(make: Any) -> None:
    model = tiny(make)
    cached = list(generate_tokens(model, [3, 1, 4], 40))
    ids = [3, 1, 4]
    for _ in range(40):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    assert cached == ids[3:]


def test_a_tied_head_is_the_embedding() -> None:
    model = tiny(LSTMLM, tie_embeddings=True)
    assert model.head.weight is model.token_embedding.weight
