"""A language model that has only `forward`, so that it can be generated from like the others."""

from typing import Any

import torch
from torch import Tensor


class TokenCache:
    """The tokens that each row has read, which are all read again."""

    def __init__(self, batch_size: int) -> None:
        self.rows: list[list[int]] = [[] for _ in range(batch_size)]

    @property
    def lengths(self) -> Tensor:
        """(B,)"""
        return torch.tensor([len(row) for row in self.rows])

    def add_row(self) -> None:
        """Another row, the last, that has read nothing."""
        self.rows.append([])

    def remove_row(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        self.rows[row] = self.rows[-1]
        self.rows.pop()


class UncachedModel:
    """Takes the place of a model's `hidden` and `head`: what is hidden are the logits themselves."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def init_cache(self, batch_size: int = 0) -> TokenCache:
        """A cache of rows that have read nothing."""
        return TokenCache(batch_size)

    def hidden(self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: TokenCache) -> Tensor:
        """New tokens (B, T), of the rows that document_ids (1, T) names or one each -> logits (B, T, V)"""
        rows = torch.arange(tokens.size(0)) if document_ids is None else document_ids[0].unique_consecutive()
        found = []
        for row in rows.tolist():
            new = tokens[row] if document_ids is None else tokens[0, document_ids[0] == row]
            cache.rows[row] += new.tolist()
            logits = self.model(torch.tensor([cache.rows[row]], device=tokens.device))  # (1, S, V)
            found.append(logits[0, -len(new) :])
        return torch.cat(found).view(*tokens.shape, -1)

    def head(self, hidden: Tensor) -> Tensor:
        """logits (…, V) -> the same"""
        return hidden
