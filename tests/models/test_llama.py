"""Llama: published parameter counts, its beginning, rotary positions in every dtype, and sizes that do not fit."""

from typing import Any

import pytest
import torch

from seqlab.config.groups import read_option
from seqlab.models.llama import Llama, RotaryPositions, rotate_pairs

COUNTS = [
    ("smollm2_135m", 49_152, 134_515_008),
    ("qwen2_0_5b", 151_936, 494_032_768),
    ("llama3_2_1b", 128_256, 1_235_814_400),
]


def tiny(**changes: Any) -> Llama:
    return Llama(**{"vocab_size": 50, "context_length": 12, "n_layer": 2, "n_head": 2, "n_embd": 8, **changes})


@pytest.mark.parametrize(("choice", "vocabulary", "count"), COUNTS)
def test_yamls_of_published_models_are_the_published_models(choice: str, vocabulary: int, count: int) -> None:
    size = {**read_option("model", choice), "vocab_size": vocabulary}
    del size["_target_"]
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in Llama(**size).parameters()) == count


def test_weights_begin_small_and_those_that_write_to_the_residual_stream_smaller() -> None:
    torch.manual_seed(0)
    model = Llama(500, 200, n_layer=8, n_head=2, n_embd=128, n_inner=256, qkv_bias=True, tie_embeddings=False)
    block = model.blocks[3]
    for layer in (model.token_embedding, model.head, block.attention.query, block.feed_forward.gate):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
    for layer in (block.attention.output, block.feed_forward.down):
        assert layer.weight.std().item() == pytest.approx(0.02 / 4, rel=0.03)
    assert not block.attention.query.bias.any()
    assert bool((block.norm1.weight == 1).all())


def test_what_two_tokens_are_to_each_other_depends_on_their_distance_alone() -> None:
    rotary = RotaryPositions(16, 10000.0, None)
    q, k = torch.randn(2, 1, 1, 1, 16).double()
    products = [
        (rotate_pairs(q, rotary(torch.tensor([[at + 5]]))) * rotate_pairs(k, rotary(torch.tensor([[at]])))).sum().item()
        for at in (0, 1, 100)
    ]
    assert products == pytest.approx([products[0]] * 3, rel=1e-4)
    assert rotate_pairs(q, rotary(torch.tensor([[7]]))).norm().item() == pytest.approx(q.norm().item(), rel=1e-6)


def test_rotary_positions_stay_exact_in_a_model_of_bfloat16() -> None:
    exact, half = tiny(), tiny().bfloat16()
    for ours, theirs in zip(exact.rotary(torch.arange(4000)[None]), half.rotary(torch.arange(4000)[None]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert half(torch.zeros(1, 3, dtype=torch.int64)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_head": 3}, "n_embd=8 cannot be divided among n_head=3 heads"),
        ({"n_head": 4, "n_kv_head": 3}, "n_head=4 cannot be divided among n_kv_head=3 heads"),
        ({"head_size": 3}, "head_size=3, which .* is odd"),
        ({"rope_scaling": {"factor": 2.0}}, "rope_scaling=.* must have the keys factor, low_freq_factor"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**sizes)
