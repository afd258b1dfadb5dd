"""What a language model may offer besides `forward`, tokens (B, T) -> logits (B, T, V).

Losses in chunks and packing work for every model with `hidden` and `head`, cached generation for every one with
`init_cache` besides. A model with `forward` alone trains unpacked and generates uncached, and nothing else changes.
"""

from typing import Any, Protocol, TypeGuard

from torch import Tensor


class Cache(Protocol):
    """What a model remembers of the tokens it has read: rows of their own lengths, which join and leave.

    One that can take back what it has read last offers `forget(row, count)` as well, and text that repeats itself is written
    faster.
    """

    lengths: Tensor  # (B,) int64, on the CPU

    def add_row(self) -> None:
        """Another row, the last, that has read nothing."""

    def remove_row(self, row: int) -> None:
        """Forget a row; the last one takes its place."""


class HiddenModel(Protocol):
    """A language model whose last layer can be applied by itself: `forward` is `head(hidden(tokens))`."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""

    def hidden(self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: Any = None) -> Tensor:
        """tokens (B, T), document_ids (B, T) -> (B, T, C)"""

    def head(self, hidden: Tensor) -> Tensor:
        """(…, C) -> logits (…, V)"""


class CachedModel(HiddenModel, Protocol):
    """A language model that need not read again what it has read: `hidden(new_tokens, cache=cache)` extends the cache.

    Rows that read differently many tokens are packed, (1, T): `document_ids` then names the row that each token continues. A
    model whose cache has no `add_row` is given one row at a time.
    """

    def init_cache(self, batch_size: int = 0) -> Any:
        """A cache of rows that have read nothing, on the weights' device and in their dtype."""


def offers_hidden(model: Any) -> TypeGuard[HiddenModel]:
    """True if the model has `hidden` and `head`."""
    return hasattr(model, "hidden") and hasattr(model, "head")


def offers_cache(model: Any) -> TypeGuard[CachedModel]:
    """True if the model generates with a cache."""
    return offers_hidden(model) and hasattr(model, "init_cache")
