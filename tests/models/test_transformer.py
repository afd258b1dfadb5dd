"""What every transformer does: rows of unequal length in a cache, restarting positions, and the limit of the context."""

import pytest
import torch

from variants import TRANSFORMERS, Variant, tiny, tokens


@pytest.mark.parametrize("variant", TRANSFORMERS)
def test_rows_of_a_cache_may_have_read_differently_much(variant: Variant) -> None:
    model, inputs = tiny(variant), tokens(2, 12)
    cache = model.init_cache(2)
    model.hidden(inputs[:, :5], cache=cache)
    cache.lengths = torch.tensor([5, 3])  # the second row's last two were filler
    new = torch.stack([inputs[0, 5:8], inputs[1, 3:6]])
    logits = model.head(model.hidden(new, cache=cache))
    assert cache.lengths.tolist() == [8, 6]
    for row, length in enumerate([8, 6]):
        torch.testing.assert_close(logits[row], model(inputs[row : row + 1, :length])[0, -3:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", TRANSFORMERS)
def test_positions_restart_with_each_packed_record(variant: Variant) -> None:
    model = tiny(variant)
    record = tokens(1, 4)
    hidden = model.hidden(record.repeat(1, 3), document_ids=torch.tensor([[7] * 4 + [2] * 4 + [9] * 4]))
    torch.testing.assert_close(hidden[:, :4], hidden[:, 4:8], rtol=0, atol=1e-6)
    torch.testing.assert_close(hidden[:, :4], hidden[:, 8:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", TRANSFORMERS)
def test_more_tokens_than_the_context_are_refused(variant: Variant) -> None:
    with pytest.raises(ValueError, match="13 tokens are more than the context of 12"):
        tiny(variant)(tokens(1, 13))
    model = tiny(variant)
    cache = model.init_cache(1)
    model.hidden(tokens(1, 12), cache=cache)
    with pytest.raises(ValueError, match="13 tokens"):
        model.hidden(tokens(1, 1), cache=cache)
