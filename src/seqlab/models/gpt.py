"""The GPT-2 architecture (Radford et al., 2019), with the choices in which its descendants and teachers differ.

Shapes: B sequences of T tokens, S tokens seen so far (T without a cache), width C, H heads, vocabulary V.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from seqlab.models.transformer import Attend, KeyValueCache, init_gpt2_weights, locate_tokens
from seqlab.types import Fraction, PositiveInt

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

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        q, k, v = (
            project(x).unflatten(-1, (self.n_head, -1)).transpose(1, 2)  # (B, H, T, C / H)
            for project in (self.query, self.key, self.value)
        )
        y = attend(q, k, v, self.dropout if self.training else 0.0)
        return self.output(y.transpose(1, 2).flatten(2))  # (B, T, C)


class FeedForward(nn.Module):
    """Two layers with an activation between them."""

    def __init__(self, n_embd: int, n_inner: int, activation: str) -> None:
        super().__init__()
        self.up = nn.Linear(n_embd, n_inner)
        self.activation = ACTIVATIONS[activation]()
        self.down = nn.Linear(n_inner, n_embd)

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

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        if self.pre:
            x = x + self.dropout(self.attention(self.norm1(x), attend))
            return x + self.dropout(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x, attend)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class GPT(nn.Module):
    """A decoder-only transformer with learned positions. `init`: gpt2 is N(0, 0.02), torch the default of each layer."""

    def __init__(
        self,
        vocab_size: PositiveInt,
        context_length: PositiveInt,
        n_layer: PositiveInt = 12,
        n_head: PositiveInt = 12,
        n_embd: PositiveInt = 768,
        n_inner: PositiveInt | None = None,
        dropout: Fraction = 0.0,
        qkv_bias: bool = False,
        head_bias: bool = False,
        tie_embeddings: bool = False,
        norm: Literal["pre", "post"] = "pre",
        activation: Literal["gelu_tanh", "gelu", "relu"] = "gelu_tanh",
        init: Literal["torch", "gpt2"] = "torch",
    ) -> None:
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"n_embd={n_embd} cannot be divided among n_head={n_head} heads; use a multiple.")
        self.context_length, self.n_head = context_length, n_head
        self.token_embedding = nn.Embedding(vocab_size, n_embd)
        self.position_embedding = nn.Embedding(context_length, n_embd)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(n_embd, n_head, n_inner or 4 * n_embd, dropout, qkv_bias, norm, activation) for _ in range(n_layer)
        )
        self.norm = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, vocab_size, bias=head_bias)
        if init == "gpt2":
            init_gpt2_weights(self, n_layer)
        if tie_embeddings:
            self.head.weight = self.token_embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.head(self.hidden(tokens))

    def init_cache(self, batch_size: int = 0) -> KeyValueCache:
        """A cache of rows that have read nothing."""
        weight = self.token_embedding.weight
        return KeyValueCache(
            weight, len(self.blocks), self.n_head, weight.size(1) // self.n_head, self.context_length, batch_size
        )

    def hidden(
        self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """tokens (B, T), document_ids (B, T) -> (B, T, C)

        `document_ids` numbers the record of each token: attention stays within it and positions restart with it. `cache`
        holds what each row has read before these tokens, and is extended in place; the row of each token is that of
        `tokens`, or, in a packed batch (1, T), that which `document_ids` names.
        """
        positions, attend = locate_tokens(tokens, self.context_length, document_ids, cache)
        x = self.dropout(self.token_embedding(tokens) + self.position_embedding(positions))  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            x = block(x, partial(attend, layer))
        return self.norm(x)
