"""Recurrent language models: a cache that counts what it has read, and a tied head."""

import pytest

from seqlab.models.language import offers_cache
from seqlab.models.rnn_lm import LSTMLM
from variants import RECURRENT, Variant, tiny, tokens


@pytest.mark.parametrize("variant", RECURRENT)
def test_a_cache_counts_what_it_has_read(variant: Variant) -> None:
    model = tiny(variant)
    assert offers_cache(model)
    cache = model.init_cache(2)
    for piece in tokens(2, 12).split([5, 1, 6], 1):
        model.hidden(piece, cache=cache)
    assert cache.lengths.tolist() == [12, 12]


def test_a_tied_head_is_the_embedding() -> None:
    model = tiny((LSTMLM, {"tie_embeddings": True}))
    assert model.head.weight is model.token_embedding.weight
