"""What every transformer does: causality, the cache, packing, and the limit of the context."""

from typing import Any

import pytest
import torch

from seqlab.models.gpt import GPT
from seqlab.models.llama import ROPE_SCALING, Llama

Variant = tuple[Any, dict[str, Any]]

GROUPED = {"n_head": 4, "n_kv_head": 2}
VARIANTS: list[Variant] = [
    (GPT, {}),
    (GPT, {"qkv_bias": True, "tie_embeddings": True, "init": "gpt2"}),
    (GPT, {"norm": "post", "activation": "relu", "head_bias": True, "n_inner": 20}),
    (Llama, {}),
    (Llama, {**GROUPED, "qkv_bias": True, "tie_embeddings": False}),
    (Llama, {**GROUPED, "qk_norm": True, "head_size": 6}),
    (Llama, {"rope_scaling": dict(zip(ROPE_SCALING, (8.0, 1.0, 4.0, 6), strict=True))}),
]


def tiny(variant: Variant) -> Any:
    """A small model whose weights are large enough to tell tokens apart."""
    make, changes = variant
    torch.manual_seed(0)
    model = make(**{"vocab_size": 50, "context_length": 12, "n_layer": 2, "n_head": 2, "n_embd": 8, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def tokens(rows: int, columns: int) -> torch.Tensor:
    return torch.randint(0, 50, (rows, columns), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_token_changes_nothing_before_it(variant: Variant) -> None:
    model, before = tiny(variant), tokens(2, 12)
    after = before.clone()
    after[:, 7] = (after[:, 7] + 1) % 50
    first, second = model(before), model(after)
    assert first.shape == (2, 12, 50)
    torch.testing.assert_close(first[:, :7], second[:, :7], rtol=0, atol=1e-6)
    assert (first[:, 7:] - second[:, 7:]).abs().amax(-1).min() > 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pieces", [[1] * 12, [5, 1, 6], [12]])
def test_cached_logits_equal_uncached_ones(variant: Variant, pieces: list[int]) -> None:
    model, inputs = tiny(variant), tokens(2, 12)
    cache = model.init_cache(2, 12)
    cached = torch.cat([model.head(model.hidden(piece, cache=cache)) for piece in inputs.split(pieces, 1)], 1)
    torch.testing.assert_close(cached, model(inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_of_a_cache_may_have_read_differently_much(variant: Variant) -> None:
    model, inputs = tiny(variant), tokens(2, 12)
    cache = model.init_cache(2, 12)
    model.hidden(inputs[:, :5], cache=cache)
    cache.lengths = torch.tensor([5, 3])  # the second row's last two were filler
    new = torch.stack([inputs[0, 5:8], inputs[1, 3:6]])
    logits = model.head(model.hidden(new, cache=cache))
    assert cache.lengths.tolist() == [8, 6]
    for row, length in enumerate([8, 6]):
        torch.testing.assert_close(logits[row], model(inputs[row : row + 1, :length])[0, -3:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_packed_records_get_the_logits_of_each_alone(variant: Variant) -> None:
    model, inputs = tiny(variant), tokens(2, 12)
    lengths = ([3, 1, 8], [6, 6, 0])
    document_ids = torch.stack([torch.repeat_interleave(torch.arange(3), torch.tensor(row)) for row in lengths])
    packed = model.head(model.hidden(inputs, document_ids=document_ids))
    for row, sizes in enumerate(lengths):
        alone = torch.cat([model(record[None])[0] for record in inputs[row].split(sizes) if len(record)])
        torch.testing.assert_close(packed[row], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_positions_restart_with_each_packed_record(variant: Variant) -> None:
    model = tiny(variant)
    record = tokens(1, 4)
    hidden = model.hidden(record.repeat(1, 3), document_ids=torch.tensor([[7] * 4 + [2] * 4 + [9] * 4]))
    torch.testing.assert_close(hidden[:, :4], hidden[:, 4:8], rtol=0, atol=1e-6)
    torch.testing.assert_close(hidden[:, :4], hidden[:, 8:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_more_tokens_than_the_context_are_refused(variant: Variant) -> None:
    with pytest.raises(ValueError, match="13 tokens are more than the context of 12"):
        tiny(variant)(tokens(1, 13))
    model = tiny(variant)
    cache = model.init_cache(1, 12)
    model.hidden(tokens(1, 12), cache=cache)
    with pytest.raises(ValueError, match="13 tokens"):
        model.hidden(tokens(1, 1), cache=cache)
