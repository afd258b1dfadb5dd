"""The Llama architecture (Touvron et al., arXiv 2302.13971), with the choices of its relatives Qwen, SmolLM2 and Llama 3.

Shapes: B sequences of T tokens, S tokens seen so far (T without a cache), width C, H heads of size D that share K heads of
keys and values (grouped-query attention, Ainslie et al., arXiv 2305.13245), vocabulary V.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlab.models.transformer import Attend, KeyValueCache, init_gpt2_weights, locate_tokens
from seqlab.types import Fraction, PositiveFloat, PositiveInt

Rotation = tuple[Tensor, Tensor]  # cosines and sines
ROPE_SCALING = ("factor", "low_freq_factor", "high_freq_factor", "original_context_length")


def rotary_speeds(head_size: int, theta: float, scaling: dict[str, float] | None) -> Tensor:
    """How far each pair of a head's numbers turns from one position to the next, in radians; -> (D / 2,)

    `scaling` is Llama 3's: a pair that turns fewer than `low_freq_factor` times within `original_context_length` is slowed
    down by `factor`, one that turns more than `high_freq_factor` times is not, and between them there is a smooth passage.
    """
    speeds = 1.0 / theta ** (torch.arange(0, head_size, 2, dtype=torch.int64).float() / head_size)
    if not scaling:
        return speeds
    factor, low, high, context = (scaling[key] for key in ROPE_SCALING)
    turns = context * speeds / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)  # of the speed
    return kept * speeds + (1 - kept) * speeds / factor


class RotaryPositions:
    """Rotary positions (Su et al., arXiv 2104.09864): pairs of a head's numbers turn with the position, each at its own speed.

    Always in fp32, whatever the dtype of the model, and no part of its weights.
    """

    def __init__(self, head_size: int, theta: float, scaling: dict[str, float] | None) -> None:
        if head_size % 2:
            raise ValueError(
                f"head_size={head_size}, which is n_embd / n_head unless it is given, is odd, and rotary positions turn pairs: "
                "use an even one."
            )
        if scaling and scaling.keys() != set(ROPE_SCALING):
            raise ValueError(f"rope_scaling={scaling} must have the keys {', '.join(ROPE_SCALING)}, and no others.")
        with torch.device("cpu"):
            self.speeds = rotary_speeds(head_size, theta, scaling)  # (D / 2,)

    def __call__(self, positions: Tensor) -> Rotation:
        """positions (B, T) -> cosines and sines (B, 1, T, D), the sines of the first half negative"""
        angles = positions[:, None, :, None] * self.speeds.to(positions.device)
        cosines, sines = angles.cos(), angles.sin()
        return torch.cat([cosines, cosines], dim=-1), torch.cat([-sines, sines], dim=-1)


def rotate_pairs(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the pairs (i, i + D / 2) of each head: x (B, H, T, D) -> (B, H, T, D)"""
    cosines, sines = rotation
    first, second = x.chunk(2, dim=-1)
    return (x * cosines + torch.cat([second, first], dim=-1) * sines).to(x.dtype)


class GroupedAttention(nn.Module):
    """Causal self-attention in which several heads of queries share one of keys and values."""

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        n_kv_head: int,
        head_size: int,
        dropout: float,
        qkv_bias: bool,
        qk_norm: bool,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.head_size, self.dropout = head_size, dropout
        self.query = nn.Linear(n_embd, n_head * head_size, bias=qkv_bias)
        self.key = nn.Linear(n_embd, n_kv_head * head_size, bias=qkv_bias)
        self.value = nn.Linear(n_embd, n_kv_head * head_size, bias=qkv_bias)
        self.output = nn.Linear(n_head * head_size, n_embd, bias=False)
        self.query_norm = nn.RMSNorm(head_size, norm_eps) if qk_norm else nn.Identity()
        self.key_norm = nn.RMSNorm(head_size, norm_eps) if qk_norm else nn.Identity()

    def forward(self, x: Tensor, rotation: Rotation, attend: Attend) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        q, k, v = (
            project(x).unflatten(-1, (-1, self.head_size)).transpose(1, 2)  # (B, H, T, D), (B, K, T, D) twice
            for project in (self.query, self.key, self.value)
        )
        q, k = rotate_pairs(self.query_norm(q), rotation), rotate_pairs(self.key_norm(k), rotation)
        y = attend(q, k, v, self.dropout if self.training else 0.0)
        return self.output(y.transpose(1, 2).flatten(2))  # (B, T, C)


class GatedFeedForward(nn.Module):
    """SwiGLU (Shazeer, arXiv 2002.05202): one layer decides how much of another passes."""

    def __init__(self, n_embd: int, n_inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(n_embd, n_inner, bias=False)
        self.up = nn.Linear(n_embd, n_inner, bias=False)
        self.down = nn.Linear(n_inner, n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class LlamaBlock(nn.Module):
    """Attention and feed-forward, each with a residual and an RMSNorm before it."""

    def __init__(self, attention: GroupedAttention, n_embd: int, n_inner: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.attention, self.feed_forward = attention, GatedFeedForward(n_embd, n_inner)
        self.norm1, self.norm2 = nn.RMSNorm(n_embd, norm_eps), nn.RMSNorm(n_embd, norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotation: Rotation, attend: Attend) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        x = x + self.dropout(self.attention(self.norm1(x), rotation, attend))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class Llama(nn.Module):
    """A decoder-only transformer with rotary positions, RMSNorm and SwiGLU.

    `n_kv_head` is the number of heads of keys and values (null: as many as `n_head`), `head_size` their width (null: n_embd /
    n_head), `qk_norm` an RMSNorm of each head's queries and keys (Henry et al., arXiv 2010.04245). Weights begin as GPT-2's.
    """

    def __init__(
        self,
        vocab_size: PositiveInt,
        context_length: PositiveInt,
        n_layer: PositiveInt = 6,
        n_head: PositiveInt = 6,
        n_kv_head: PositiveInt | None = None,
        n_embd: PositiveInt = 288,
        n_inner: PositiveInt = 768,
        head_size: PositiveInt | None = None,
        dropout: Fraction = 0.0,
        qkv_bias: bool = False,
        qk_norm: bool = False,
        tie_embeddings: bool = True,
        rope_theta: PositiveFloat = 10000.0,
        rope_scaling: dict[str, PositiveFloat] | None = None,
        norm_eps: PositiveFloat = 1e-5,
    ) -> None:
        super().__init__()
        n_kv_head = n_kv_head or n_head
        if n_head % n_kv_head:
            raise ValueError(f"n_head={n_head} cannot be divided among n_kv_head={n_kv_head} heads; use a multiple.")
        if not head_size and n_embd % n_head:
            raise ValueError(f"n_embd={n_embd} cannot be divided among n_head={n_head} heads; use a multiple.")
        self.context_length, self.n_kv_head, self.head_size = context_length, n_kv_head, head_size or n_embd // n_head
        self.token_embedding = nn.Embedding(vocab_size, n_embd)
        self.rotary = RotaryPositions(self.head_size, rope_theta, rope_scaling)
        self.dropout = nn.Dropout(dropout)
        attention = partial(
            GroupedAttention, n_embd, n_head, n_kv_head, self.head_size, dropout, qkv_bias, qk_norm, norm_eps
        )
        self.blocks = nn.ModuleList(LlamaBlock(attention(), n_embd, n_inner, dropout, norm_eps) for _ in range(n_layer))
        self.norm = nn.RMSNorm(n_embd, norm_eps)
        self.head = nn.Linear(n_embd, vocab_size, bias=False)
        init_gpt2_weights(self, n_layer)
        if tie_embeddings:
            self.head.weight = self.token_embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.head(self.hidden(tokens))

    def init_cache(self, batch_size: int = 0) -> KeyValueCache:
        """A cache of rows that have read nothing."""
        weight = self.token_embedding.weight
        return KeyValueCache(weight, len(self.blocks), self.n_kv_head, self.head_size, self.context_length, batch_size)

    def hidden(
        self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """tokens (B, T), document_ids (B, T) -> (B, T, C)

        `document_ids` numbers the record of each token: attention stays within it and positions restart with it. `cache`
        holds what each row has read before these tokens, and is extended in place; the row of each token is that of
        `tokens`, or, in a packed batch (1, T), that which `document_ids` names.
        """
        positions, attend = locate_tokens(tokens, self.context_length, document_ids, cache)
        x = self.dropout(self.token_embedding(tokens))  # (B, T, C)
        rotation = self.rotary(positions)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, partial(attend, layer))
        return self.norm(x)
