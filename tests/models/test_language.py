"""What every language model does that has `hidden` and a cache: causality, cached logits, packed records."""

import pytest
import torch

from variants import RECURRENT, TRANSFORMERS, Variant, tiny, tokens

VARIANTS = [*TRANSFORMERS, *RECURRENT]


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
    cache = model.init_cache(2)
    cached = torch.cat([model.head(model.hidden(piece, cache=cache)) for piece in inputs.split(pieces, 1)], 1)
    torch.testing.assert_close(cached, model(inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_packed_records_get_the_logits_of_each_alone(variant: Variant) -> None:
    model, inputs = tiny(variant), tokens(2, 12)
    lengths = ([3, 1, 8], [6, 6, 0])
    document_ids = torch.stack([torch.repeat_interleave(torch.arange(3), torch.tensor(row)) for row in lengths])
    packed = model.head(model.hidden(inputs, document_ids=document_ids))
    for row, sizes in enumerate(lengths):
        alone = torch.cat([model(record[None])[0] for record in inputs[row].split(sizes) if len(record)])
        torch.testing.assert_close(packed[row], alone, rtol=0, atol=1e-5)
