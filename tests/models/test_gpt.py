"""GPT: published parameter counts, tying, and the untrained loss."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from seqlab.config.groups import read_option
from seqlab.models.gpt import GPT

COUNTS = [  # REFERENCE section 2: choice, context, tie_embeddings, parameters
    ("gpt", 256, False, 162_419_712),
    ("gpt", 256, True, 123_822_336),
    ("gpt", 1024, False, 163_009_536),
    ("gpt", 1024, True, 124_412_160),
    ("gpt2", 256, False, 162_447_360),
    ("gpt2", 256, True, 123_849_984),
    ("gpt2", 1024, False, 163_037_184),
    ("gpt2", 1024, True, 124_439_808),
    ("gpt2_medium", 256, False, 405_499_904),
    ("gpt2_medium", 256, True, 354_036_736),
    ("gpt2_medium", 1024, False, 406_286_336),
    ("gpt2_medium", 1024, True, 354_823_168),
    ("gpt2_large", 256, False, 837_376_000),
    ("gpt2_large", 256, True, 773_047_040),
    ("gpt2_large", 1024, False, 838_359_040),
    ("gpt2_large", 1024, True, 774_030_080),
    ("gpt2_xl", 256, False, 1_636_793_600),
    ("gpt2_xl", 256, True, 1_556_382_400),
    ("gpt2_xl", 1024, False, 1_638_022_400),
    ("gpt2_xl", 1024, True, 1_557_611_200),
    ("distilgpt2", 1024, True, 81_912_576),
]


def parameters(model: GPT) -> int:
    return sum(p.numel() for p in model.parameters())


def tiny(**changes: Any) -> GPT:
    torch.manual_seed(0)
    return GPT(**{"vocab_size": 50, "context_length": 12, "n_layer": 2, "n_head": 2, "n_embd": 8, **changes}).eval()


@pytest.mark.parametrize(("choice", "context", "tie_embeddings", "count"), COUNTS)
def test_published_parameter_counts(choice: str, context: int, tie_embeddings: bool, count: int) -> None:
    size = {
        **read_option("model", choice),
        "vocab_size": 50_257,
        "context_length": context,
        "tie_embeddings": tie_embeddings,
    }
    del size["_target_"]
    with torch.device("meta"):
        assert parameters(GPT(**size)) == count


@pytest.mark.parametrize(("choice", "count"), [("gpt2", 124_439_808), ("gpt2_xl", 1_557_611_200)])
def test_yamls_of_published_models_are_the_published_models(choice: str, count: int) -> None:
    size = {**read_option("model", choice), "vocab_size": 50_257}
    del size["_target_"]
    with torch.device("meta"):
        assert parameters(GPT(**size)) == count


@pytest.mark.parametrize(("vocabulary", "count"), [(50_257, 70_953_041), (62, 19_503_166)])
def test_parameter_counts_of_the_post_norm_tutorial_model(vocabulary: int, count: int) -> None:
    size = {**read_option("model", "simple_lm"), "vocab_size": vocabulary}
    del size["_target_"]
    with torch.device("meta"):
        assert parameters(GPT(**size)) == count


def test_a_tied_head_is_the_embedding_and_an_untied_one_is_not() -> None:
    tie_embeddings, untied = tiny(tie_embeddings=True), tiny()
    assert tie_embeddings.head.weight is tie_embeddings.token_embedding.weight
    assert untied.head.weight is not untied.token_embedding.weight
    assert parameters(untied) - parameters(tie_embeddings) == 50 * 8


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="n_embd=8 cannot be divided among n_head=3"):
        tiny(n_head=3)


@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_untrained_loss_of_the_published_initialisation(tie_embeddings: bool) -> None:
    torch.manual_seed(0)
    vocabulary, size = 50_257, {"n_layer": 1, "tie_embeddings": tie_embeddings, "qkv_bias": True, "init": "gpt2"}
    model = GPT(vocabulary, 64, **size).eval()
    with torch.inference_mode():
        loss = F.cross_entropy(model(torch.randint(vocabulary, (1, 64)))[0], torch.randint(vocabulary, (64,)))
    assert loss.item() == pytest.approx(10.98, abs=0.1)
    assert math.log(vocabulary) + 768 * 0.02**2 / 2 == pytest.approx(10.98, abs=0.01)


def test_published_initialisation_has_its_standard_deviations() -> None:
    torch.manual_seed(0)
    model = GPT(500, 200, n_layer=8, n_head=2, n_embd=128, qkv_bias=True, init="gpt2")
    block = model.blocks[3]
    for layer in (
        model.token_embedding,
        model.position_embedding,
        model.head,
        block.attention.query,
        block.feed_forward.up,
    ):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
    for layer in (block.attention.output, block.feed_forward.down):
        assert layer.weight.std().item() == pytest.approx(0.02 / 4, rel=0.03)
        assert not layer.bias.any()
