"""Small language models of every kind, for tests of what they have in common."""

from typing import Any

import torch

from seqlab.models.gpt import GPT
from seqlab.models.llama import ROPE_SCALING, Llama
from seqlab.models.rnn_lm import GRULM, LSTMLM, RNNLM

Variant = tuple[Any, dict[str, Any]]

GROUPED = {"n_head": 4, "n_kv_head": 2}
TRANSFORMERS: list[Variant] = [
    (GPT, {}),
    (GPT, {"qkv_bias": True, "tie_embeddings": True, "init": "gpt2"}),
    (GPT, {"norm": "post", "activation": "relu", "head_bias": True, "n_inner": 20}),
    (Llama, {}),
    (Llama, {**GROUPED, "qkv_bias": True, "tie_embeddings": False}),
    (Llama, {**GROUPED, "qk_norm": True, "head_size": 6}),
    (Llama, {"rope_scaling": dict(zip(ROPE_SCALING, (8.0, 1.0, 4.0, 6), strict=True))}),
]
RECURRENT: list[Variant] = [(RNNLM, {}), (LSTMLM, {}), (GRULM, {})]


def tiny(variant: Variant) -> Any:
    """A small model whose weights are large enough to tell tokens apart."""
    make, changes = variant
    torch.manual_seed(0)
    is_recurrent = make in (RNNLM, LSTMLM, GRULM)
    size = {"hidden_size": 16} if is_recurrent else {"context_length": 12, "n_layer": 2, "n_head": 2, "n_embd": 8}
    model = make(**{"vocab_size": 50, **size, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += (0.3 if is_recurrent else 0.1) * torch.randn_like(parameter)
    return model


def tokens(rows: int, columns: int) -> torch.Tensor:
    return torch.randint(0, 50, (rows, columns), generator=torch.Generator().manual_seed(1))


class Uncached(torch.nn.Module):
    """A model that offers `forward` and nothing else."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        if hasattr(model, "context_length"):
            self.context_length = model.context_length

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.model(tokens)
