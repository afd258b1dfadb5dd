"""A causal transformer over values instead of tokens."""

import torch
from torch import Tensor, nn

from seqlab.models.gpt import Block
from seqlab.models.transformer import apply_attention
from seqlab.types import Fraction, PositiveInt


class GPTForecaster(nn.Module):
    """Predicts `horizon` steps of `channels` values from what a small GPT makes of the last value of a window.

    A line takes the place of the token embedding, and of the head.
    """

    def __init__(
        self,
        channels: PositiveInt,
        window: PositiveInt,
        horizon: PositiveInt,
        n_layer: PositiveInt = 2,
        n_head: PositiveInt = 4,
        n_embd: PositiveInt = 32,
        dropout: Fraction = 0.0,
    ) -> None:
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"n_embd={n_embd} cannot be divided among n_head={n_head} heads; use a multiple.")
        self.horizon = horizon
        self.value_embedding = nn.Linear(channels, n_embd)
        self.position_embedding = nn.Embedding(window, n_embd)
        self.blocks = nn.ModuleList(
            Block(n_embd, n_head, 4 * n_embd, dropout, qkv_bias=True, norm="pre", activation="gelu_tanh")
            for _ in range(n_layer)
        )
        self.norm = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, horizon * channels)

    def forward(self, windows: Tensor) -> Tensor:
        """windows (B, T, C) -> predictions (B, H, C)"""
        positions = torch.arange(windows.size(1), device=windows.device)
        x = self.value_embedding(windows) + self.position_embedding(positions)  # (B, T, n_embd)
        for block in self.blocks:
            x = block(x, apply_attention)
        return self.head(self.norm(x[:, -1])).unflatten(-1, (self.horizon, -1))  # (B, H, C)
