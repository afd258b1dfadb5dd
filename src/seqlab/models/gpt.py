"""The GPT-2 architecture (Radford et al., 2019), with the choices in which its descendants and teachers differ.

Shapes: B sequences of T tokens, S tokens seen so far (T without a cache), width C, H heads, vocabulary V.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Cache = list[tuple[Tensor, Tensor]]  # per layer keys and values (B, H, S, C / H); an empty list to begin with

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "gelu": nn.GELU,
    "relu": nn.ReLU,
}


class Attention(nn.Module):
    """Causal self-attention with separate layers for query, key and value."""

    def __init__(self, n_embd: int, n_head: int, dropout: float, qkv_bias: bool) -> None:
        super().__init__()
        self.n_head, self.dropout = n_head, dropout
        self.query = nn.Linear(n_embd, n_embd, bias=qkv_bias)
        self.key = nn.Linear(n_embd, n_embd, bias=qkv_bias)
        self.value = nn.Linear(n_embd, n_embd, bias=qkv_bias)
        self.output = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        """x (B, T, C), mask (B, 1, T, S) or None for causal -> (B, T, C)"""
        q, k, v = (
            project(x).unflatten(-1, (self.n_head, -1)).transpose(1, 2)  # (B, H, T, C / H)
            for project in (self.query, self.key, self.value)
        )
        if cache is not None:
            if layer < len(cache):
                k, v = (
                    torch.cat([cache[layer][0], k], dim=2),
                    torch.cat([cache[layer][1], v], dim=2),
                )  # (B, H, S, C / H)
                cache[layer] = (k, v)
            else:
                cache.append((k, v))
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, dropout_p=self.dropout if self.training else 0.0
        )
        return self.output(y.transpose(1, 2).flatten(2))  # (B, T, C)


class FeedForward(nn.Module):
    """Two layers with an activation between them."""

    def __init__(self, n_embd: int, n_inner: int, activation: str) -> None:
        super().__init__()
        self.up, self.activation, self.down = (
            nn.Linear(n_embd, n_inner),
            ACTIVATIONS[activation](),
            nn.Linear(n_inner, n_embd),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """Attention and feed-forward, each with a residual and a LayerNorm before (GPT-2) or after it (the first GPT)."""

    def __init__(
        self, n_embd: int, n_head: int, n_inner: int, dropout: float, qkv_bias: bool, norm: str, activation: str
    ) -> None:
        super().__init__()
        self.pre = norm == "pre"
        self.attention = Attention(n_embd, n_head, dropout, qkv_bias)
        self.feed_forward = FeedForward(n_embd, n_inner, activation)
        self.norm1, self.norm2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        """x (B, T, C), mask (B, 1, T, S) or None for causal -> (B, T, C)"""
        if self.pre:
            x = x + self.dropout(self.attention(self.norm1(x), mask, cache, layer))
            return x + self.dropout(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x, mask, cache, layer)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class GPT(nn.Module):
    """A decoder-only transformer with learned positions; `gpt2` init is N(0, 0.02), `torch` the layers' own."""

    def __init__(
        self,
        vocab_size: int,
        context_length: int,
        n_layer: int = 12,
        n_head: int = 12,
        n_embd: int = 768,
        n_inner: int | None = None,
        dropout: float = 0.0,
        qkv_bias: bool = False,
        head_bias: bool = False,
        tie_embeddings: bool = False,
        norm: Literal["pre", "post"] = "pre",
        activation: Literal["gelu_tanh", "gelu", "relu"] = "gelu_tanh",
        init: Literal["torch", "gpt2"] = "torch",
    ) -> None:
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"n_embd={n_embd} cannot be divided among n_head={n_head} heads; take a multiple.")
        self.context_length = context_length
        self.token_embedding = nn.Embedding(vocab_size, n_embd)
        self.position_embedding = nn.Embedding(context_length, n_embd)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(n_embd, n_head, n_inner or 4 * n_embd, dropout, qkv_bias, norm, activation) for _ in range(n_layer)
        )
        self.norm = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, vocab_size, bias=head_bias)
        if init == "gpt2":
            self.init_gpt2_weights(n_layer)
        if tie_embeddings:
            self.head.weight = self.token_embedding.weight

    def init_gpt2_weights(self, n_layer: int) -> None:
        """N(0, 0.02), biases zero; layers that write to the residual stream divided by sqrt(2 n_layer)."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                residual = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * n_layer) ** 0.5 if residual else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.head(self.hidden(tokens))

    def hidden(self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """tokens (B, T), documents (B, T) -> (B, T, C)

        `document_ids` numbers the record of each token: attention stays within it and positions restart with it. `cache`
        holds the S - T tokens before these and is extended in place.
        """
        past = cache[0][0].size(2) if cache else 0
        T = tokens.size(1)
        if past + T > self.context_length:
            raise ValueError(f"{past + T} tokens are more than the context of {self.context_length}.")
        positions = torch.arange(past, past + T, device=tokens.device)  # (T,)
        mask = None
        if document_ids is not None:
            assert not past, "a cache holds one document"
            starts = torch.cat(
                [torch.ones_like(document_ids[:, :1]), document_ids[:, 1:] != document_ids[:, :-1]], dim=1
            )
            positions = positions - (positions * starts).cummax(dim=1).values  # (B, T)
            mask = (document_ids.unsqueeze(2) == document_ids.unsqueeze(1)).tril().unsqueeze(1)  # (B, 1, T, T)
        elif past:
            mask = torch.arange(past + T, device=tokens.device) <= positions.unsqueeze(1)  # (T, S)
        x = self.dropout(self.token_embedding(tokens) + self.position_embedding(positions))  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, cache, layer)
        return self.norm(x)
