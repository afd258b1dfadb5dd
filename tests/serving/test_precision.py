"""Weights packed for writing: the same logits, ties and biases kept, and which numbers `auto` takes."""

import copy

import pytest
import torch
from torch import nn

from seqlab.errors import UserError
from seqlab.serving import precision
from seqlab.serving.linear import Int8Linear, PackedLinear
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
    assert nn.Linear not in kinds
    assert (Int8Linear if dtype == "int8" else PackedLinear) in kinds


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
    ("speedup", "fewest", "packed", "expected"),
    [
        (2.0, 1, True, torch.bfloat16),
        (1.2, 1, True, torch.float32),
        (None, 1, True, torch.float32),  # the machine is busy
        (2.0, 10**9, True, torch.float32),  # a small model
        (2.0, 1, False, torch.float32),
    ],
)
def test_auto_takes_bfloat16_where_it_is_worth_it(speedup, fewest, packed, expected, monkeypatch) -> None:
    monkeypatch.setattr(precision, "bf16_speedup", lambda *_, **__: speedup)
    monkeypatch.setattr(precision, "MIN_BF16_WEIGHTS", fewest)
    model = place_model(tiny(TRANSFORMERS[0]), CPU, "auto", packed)
    kinds = {module.dtype for module in model.blocks.modules() if isinstance(module, PackedLinear)}
    assert kinds == ({expected} if packed else set())
    if packed:
        assert model.head.dtype == torch.float32  # so that the likeliest tokens keep their order
