"""What the transformers share: where each token stands, what it may see, what is remembered, how weights begin.

Shapes: B sequences of T tokens, S tokens seen so far (T without a cache), width C, H heads.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

ExtendCache = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # new keys and values -> all of them


class KeyValueCache:
    """Keys and values of the tokens seen so far, in memory reserved once; each row has a length of its own."""

    def __init__(
        self, like: Tensor, n_layer: int, batch_size: int, n_head: int, max_length: int, head_size: int
    ) -> None:
        shape = (batch_size, n_head, max_length, head_size)
        self.keys = [like.new_zeros(shape) for _ in range(n_layer)]
        self.values = [like.new_zeros(shape) for _ in range(n_layer)]
        self.lengths = torch.zeros(batch_size, dtype=torch.int64)  # (B,)

    def positions(self, T: int) -> Tensor:
        """The positions of the next T tokens of each row; -> (B, T)"""
        return self.lengths.unsqueeze(1) + torch.arange(T)

    def extend(self, layer: int, positions: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v (B, H, T, C / H) at positions (B, T); -> all keys and values (B, H, S, C / H)"""
        rows = torch.arange(k.size(0), device=k.device).unsqueeze(1)  # (B, 1)
        for memory, new in ((self.keys[layer], k), (self.values[layer], v)):
            memory[rows, :, positions] = (
                new.detach().transpose(1, 2).to(memory.dtype)
            )  # (B, T, H, C / H), for inference
        S = int(self.lengths.max()) + k.size(2)
        return self.keys[layer][:, :, :S], self.values[layer][:, :, :S]


def locate_tokens(
    tokens: Tensor, context_length: int, document_ids: Tensor | None, cache: KeyValueCache | None
) -> tuple[Tensor, Tensor | None]:
    """tokens (B, T) -> their positions (1, T) or (B, T), and which tokens each may see (B, 1, T, S), or None for causal.

    Raises ValueError for more tokens than the context.
    """
    T = tokens.size(1)
    past = int(cache.lengths.max()) if cache else 0
    if past + T > context_length:
        raise ValueError(f"{past + T} tokens are more than the context of {context_length}.")
    if document_ids is not None:
        assert cache is None, "a cached row is one document"
        return restart_positions(document_ids), same_document_mask(document_ids)
    if not cache:
        return torch.arange(T, device=tokens.device).unsqueeze(0), None  # (1, T)
    positions = cache.positions(T).to(tokens.device)  # (B, T)
    seen = torch.arange(past + T, device=tokens.device) <= positions[:, None, :, None]  # (B, 1, T, S)
    return positions, seen if past else None


def restart_positions(document_ids: Tensor) -> Tensor:
    """Positions that restart with each document: document_ids (B, T) -> (B, T)"""
    positions = torch.arange(document_ids.size(1), device=document_ids.device)  # (T,)
    first = torch.ones_like(document_ids[:, :1], dtype=torch.bool)
    starts = torch.cat([first, document_ids[:, 1:] != document_ids[:, :-1]], dim=1)  # (B, T)
    return positions - (positions * starts).cummax(dim=1).values


def same_document_mask(document_ids: Tensor) -> Tensor:
    """Which earlier tokens a token may see: document_ids (B, T) -> (B, 1, T, T)"""
    return (document_ids.unsqueeze(2) == document_ids.unsqueeze(1)).tril().unsqueeze(1)


def init_gpt2_weights(model: nn.Module, n_layer: int) -> None:
    """N(0, 0.02), biases zero; layers that write to the residual stream divided by sqrt(2 n_layer) (Radford et al., 2019)."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            residual = name.endswith(("output.weight", "down.weight"))
            nn.init.normal_(parameter, std=0.02 / (2 * n_layer) ** 0.5 if residual else 0.02)
