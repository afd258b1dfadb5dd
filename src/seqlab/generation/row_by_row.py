"""Language models that read one row at a time, so that they can be generated from like the others.

A model of one's own may have only `forward`, or a cache whose rows cannot join and leave.
"""

from typing import Any

import torch
from torch import Tensor

from seqlab.models.language import offers_cache


class RowCaches:
    """What is remembered of each row, by itself; a new row begins with what `begin_row` gives."""

    def __init__(self, begin_row: Any, batch_size: int) -> None:
        self.begin_row = begin_row
        self.rows = [begin_row() for _ in range(batch_size)]

    @property
    def lengths(self) -> Tensor:
        """(B,)"""
        return torch.tensor([len(row) if isinstance(row, list) else int(row.lengths[0]) for row in self.rows])

    def add_row(self) -> None:
        """Another row, the last, that has read nothing."""
        self.rows.append(self.begin_row())

    def remove_row(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        self.rows[row] = self.rows[-1]
        self.rows.pop()


class RowByRowModel:
    """Takes the place of a model's `hidden`, `head` and `init_cache`.

    A row with a cache of the model's own is read on; without, its tokens are remembered and all read again, and what is hidden
    are the logits themselves.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.has_cache = offers_cache(model)

    def init_cache(self, batch_size: int = 0) -> RowCaches:
        """A cache of rows that have read nothing."""
        return RowCaches(lambda: self.model.init_cache(1) if self.has_cache else [], batch_size)

    def hidden(self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: RowCaches) -> Tensor:
        """New tokens (B, T), of the rows that document_ids (1, T) names or one each -> (B, T, C), or logits (B, T, V)"""
        rows = torch.arange(tokens.size(0)) if document_ids is None else document_ids[0].unique_consecutive()
        found = []
        for row in rows.tolist():
            new = tokens[row] if document_ids is None else tokens[0, document_ids[0] == row]
            found.append(self.read_row(cache.rows[row], new))
        return torch.cat(found).view(*tokens.shape, -1)

    def read_row(self, remembered: Any, new: Tensor) -> Tensor:
        """What a row reads next (T,) -> (T, C), or logits (T, V)"""
        if self.has_cache:
            return self.model.hidden(new.unsqueeze(0), cache=remembered)[0]
        remembered += new.tolist()
        return self.model(torch.tensor([remembered], device=new.device))[0, -len(new) :]

    def head(self, hidden: Tensor) -> Tensor:
        """(…, C) -> logits (…, V)"""
        return self.model.head(hidden) if self.has_cache else hidden


def prepare_rows(model: Any) -> Any:
    """The model itself if rows can join and leave its cache, else one that reads row by row."""
    is_joint = offers_cache(model) and hasattr(model.init_cache(0), "add_row")
    return model if is_joint else RowByRowModel(model)
