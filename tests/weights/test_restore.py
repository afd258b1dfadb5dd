"""Models that are built with weights at hand: nothing is drawn, ties stay, and what a model of one's own draws is kept."""

import sys
from pathlib import Path

import pytest
import torch

from seqlab.errors import UserError
from seqlab.weights.restore import build_with_weights
from variants import RECURRENT, TRANSFORMERS, Variant, tiny, tokens

OWN = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("drawn", torch.empty(3).normal_(), persistent=False)
"""


def describe(variant: Variant) -> dict:
    """The node of a small model."""
    make, changes = variant
    is_recurrent = make.__module__.endswith("rnn_lm")
    size = {"hidden_size": 16} if is_recurrent else {"context_length": 12, "n_layer": 2, "n_head": 2, "n_embd": 8}
    return {"_target_": f"{make.__module__}.{make.__qualname__}", "vocab_size": 50, **size, **changes}


@pytest.mark.parametrize("variant", [*TRANSFORMERS, *RECURRENT])
def test_the_weights_are_the_tensors_themselves(variant: Variant) -> None:
    model = tiny(variant)
    tensors = model.state_dict()
    built = build_with_weights(describe(variant), {}, tensors, Path("weights"))
    for name, tensor in built.state_dict().items():
        assert tensor.data_ptr() == tensors[name].data_ptr(), name
    assert len(list(built.parameters())) == len(list(model.parameters()))  # a tied head is the embedding
    assert torch.equal(built.eval()(tokens(2, 5)), model(tokens(2, 5)))


def test_weights_of_another_architecture_are_refused() -> None:
    tensors = tiny(TRANSFORMERS[0]).state_dict()
    with pytest.raises(UserError, match=r"of another architecture: token_embedding\.weight"):
        build_with_weights(describe(TRANSFORMERS[0]) | {"vocab_size": 51}, {}, tensors, Path("weights"))


def test_what_a_model_of_ones_own_draws_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drawing.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("SEQLAB_ALLOW", "drawing")
    tensors = {"linear.weight": torch.ones(3, 3), "linear.bias": torch.zeros(3)}
    torch.manual_seed(1)
    first = build_with_weights({"_target_": "drawing.Own"}, {}, tensors, Path("weights"))
    torch.manual_seed(1)
    second = build_with_weights({"_target_": "drawing.Own"}, {}, tensors, Path("weights"))
    assert torch.equal(first.drawn, second.drawn)
    assert first.drawn.abs().min() > 1e-6
