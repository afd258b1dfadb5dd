"""Weights packed for writing: the same logits, ties and biases kept, and which numbers `auto` takes."""

import copy
import math

import pytest
import torch
from torch import nn

from seqlab.errors import UserError
from seqlab.serving import precision
from seqlab.serving.linear import BF16Linear, FastRMSNorm, Int8Linear, PackedLinear, replace_linear_layers
from seqlab.serving.precision import place_model
from variants import RECURRENT, TRANSFORMERS, Variant, tiny, tokens

CPU = torch.device("cpu")


@pytest.mark.parametrize("variant", [*TRANSFORMERS, *RECURRENT])
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("bfloat16", 0.1), ("int8", 0.2)])
def test_packed_weights_give_the_models_logits(variant: Variant, dtype: str, near: float) -> None:
    plain = tiny(variant)
    packed = place_model(copy.deepcopy(plain), CPU, dtype, packed=True)  # type: ignore[arg-type]  # one of them
    with torch.inference_mode():
        for shape in ((2, 12), (1, 1), (9, 4)):
            logits, expected = packed(tokens(*shape)), plain(tokens(*shape))
            assert logits.dtype == torch.float32
            error = (logits - expected).abs().max() / expected.abs().max()
            assert error < near
    kinds = {type(module) for module in packed.modules()}
    assert not kinds & {nn.Linear, nn.RMSNorm, nn.Dropout}
    assert {"float32": PackedLinear, "bfloat16": BF16Linear, "int8": Int8Linear}[dtype] in kinds


@pytest.mark.parametrize("eps", [None, 1e-5, 1e-6])
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e6])
def test_the_fast_rms_norm_is_torchs(eps: float | None, scale: float) -> None:
    torch.manual_seed(0)
    norm, x = nn.RMSNorm(24, eps), scale * torch.randn(3, 2, 24)
    nn.init.normal_(norm.weight)
    torch.testing.assert_close(FastRMSNorm(norm)(x), norm(x).detach(), rtol=1e-5, atol=1e-6)


def test_without_packing_a_model_can_be_trained() -> None:
    model = place_model(tiny(TRANSFORMERS[1]), CPU, "float32", packed=False)
    model(tokens(1, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


class Own(nn.Module):
    """A model that is not seqlab's, and does more with its layer than to apply it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 9)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.embedding(tokens) @ self.head.weight.t()


def test_a_model_of_ones_own_stays_as_it_is() -> None:
    model = Own()
    before = model(torch.arange(9)[None])
    assert torch.equal(place_model(model, CPU, "auto", packed=True)(torch.arange(9)[None]), before)
    with pytest.raises(UserError, match="dtype=int8 is for models of seqlab"):
        place_model(model, CPU, "int8", packed=True)


@pytest.mark.parametrize(
    ("fewest", "packed", "expected"), [(1, True, BF16Linear), (10**9, True, PackedLinear), (1, False, nn.Linear)]
)
def test_auto_takes_bfloat16_for_large_packed_models(fewest, packed, expected, monkeypatch) -> None:
    monkeypatch.setattr(precision, "MIN_BF16_WEIGHTS", fewest)
    model = place_model(tiny(TRANSFORMERS[0]), CPU, "auto", packed)
    kinds = {type(module) for module in model.modules()} & {nn.Linear, PackedLinear, BF16Linear, Int8Linear}
    assert kinds == {expected}
    assert model(tokens(1, 4)).dtype == torch.float32


def test_one_row_and_the_logits_are_exact_in_bfloat16() -> None:
    """Their products are computed and summed in fp32: as with weights that were rounded to bfloat16, and nothing else."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 48)
    exact_alone = BF16Linear(linear, exact_rows=1)
    rounded = linear.weight.bfloat16().float()
    x = torch.randn(3, 64)
    with torch.inference_mode():
        exact = nn.functional.linear(x, rounded, linear.bias)
        assert torch.allclose(exact_alone(x[:1]), exact[:1], atol=1e-5)
        assert (exact_alone(x) - exact).abs().max() > 1e-3  # several rows are rounded
        assert torch.allclose(BF16Linear(linear, exact_rows=math.inf)(x), exact, atol=1e-5)


def test_a_weight_that_float16_cannot_hold_is_computed_in_bfloat16() -> None:
    linear = nn.Linear(8, 2, bias=False)
    nn.init.constant_(linear.weight, 1e5)
    assert BF16Linear(linear, exact_rows=1)(torch.ones(1, 8)).mean() == pytest.approx(8e5, rel=0.01)


def test_layers_of_one_input_are_one_product_and_each_gives_its_own() -> None:
    torch.manual_seed(0)
    plain = nn.ModuleDict({"query": nn.Linear(6, 4), "key": nn.Linear(6, 2), "value": nn.Linear(6, 2)})
    joint = copy.deepcopy(plain)
    replace_linear_layers(joint, PackedLinear)
    first, second = torch.randn(3, 6), torch.randn(5, 6)
    for name, x in [("query", first), ("key", second), ("query", second), ("value", first), ("key", first)]:
        assert torch.allclose(joint[name](x), plain[name](x), atol=1e-5)
    assert joint["query"].fused is joint["key"].fused is joint["value"].fused
    for name in plain:  # the last one lets go of what was remembered
        joint[name](first)
    assert joint["query"].fused.latest == (None, None)
