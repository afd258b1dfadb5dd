"""What the transformers share: where each token stands, what it may see, what is remembered, how weights begin.

Shapes: B sequences of T tokens, S tokens seen so far (T without a cache), width C, H heads.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Attend = Callable[
    [Tensor, Tensor, Tensor, float], Tensor
]  # queries, keys, values, dropout -> what each token attends to
AttendInLayer = Callable[[int, Tensor, Tensor, Tensor, float], Tensor]

BLOCK = 256  # tokens by which the memory of a cache grows


def apply_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0, mask: Tensor | None = None) -> Tensor:
    """q (B, H, T, D), k and v (B, K, S, D), mask (B, 1, T, S) or None for causal -> (B, H, T, D)

    K heads of keys and values are shared by H of queries (grouped-query attention, Ainslie et al., arXiv 2305.13245).
    """
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, dropout_p=dropout, enable_gqa=q.size(1) != k.size(1)
    )


class KeyValueCache:
    """Keys and values of what each row has read. Rows have lengths of their own, join and leave; memory grows by blocks."""

    def __init__(
        self, like: Tensor, n_layer: int, n_head: int, head_size: int, context_length: int, batch_size: int
    ) -> None:
        self.layers = [like.new_zeros(2, batch_size, n_head, 0, head_size) for _ in range(n_layer)]
        self.lengths = torch.zeros(batch_size, dtype=torch.int64)  # (B,)
        self.context_length = context_length

    def add_row(self) -> None:
        """Another row, the last, that has read nothing."""
        self.lengths = torch.cat([self.lengths, self.lengths.new_zeros(1)])
        rows = self.layers[0].size(1)
        if len(self.lengths) > rows:
            for number, layer in enumerate(self.layers):
                self.layers[number] = F.pad(layer, (0, 0, 0, 0, 0, 0, 0, max(1, rows)))

    def remove_row(self, row: int) -> None:
        """Forget a row; the last one takes its place. Without rows there is no memory."""
        length, last = int(self.lengths[-1]), len(self.lengths) - 1
        for number, layer in enumerate(self.layers):
            if last:
                layer[:, row, :, :length] = layer[:, last, :, :length]
            else:
                self.layers[number] = layer[:, :0, :, :0].clone()
        self.lengths[row] = length
        self.lengths = self.lengths[:-1]

    def forget(self, row: int, count: int) -> None:
        """Forget the last tokens of a row."""
        self.lengths[row] -= count

    def locate(self, tokens: Tensor, document_ids: Tensor | None) -> "CacheStep":
        """Make room for new tokens (B, T), of the rows that document_ids (1, T) names or one each, and say where they stand.

        Raises ValueError for more tokens than the context.
        """
        if document_ids is None:
            rows, counts = torch.arange(tokens.size(0)), torch.full((tokens.size(0),), tokens.size(1))
        else:
            rows, counts = (part.cpu() for part in document_ids[0].unique_consecutive(return_counts=True))
        pasts = self.lengths[rows]
        seen = int((pasts + counts).max())  # by the row that has read most
        check_length(seen, self.context_length)
        self.lengths = self.lengths.index_add(0, rows, counts)
        if (lacking := seen - self.layers[0].size(3)) > 0:
            blocks = -(-lacking // BLOCK)
            for number, layer in enumerate(self.layers):  # one by one: never all of them twice
                self.layers[number] = F.pad(layer, (0, 0, 0, blocks * BLOCK))
        positions = torch.arange(tokens.numel()) + (pasts - counts.cumsum(0) + counts).repeat_interleave(counts)
        positions, mask = positions.to(tokens.device), None
        is_single = document_ids is None and tokens.size(1) == 1
        if is_single and int(pasts.min()) + 1 < seen:
            mask = torch.arange(seen, device=tokens.device) <= positions[:, None, None, None]  # (B, 1, 1, S)
        of_tokens = rows.repeat_interleave(counts).to(tokens.device)
        spans = list(zip(rows.tolist(), pasts.tolist(), counts.tolist(), strict=True))
        return CacheStep(self, of_tokens, positions, spans, seen, mask, is_single)


class CacheStep(NamedTuple):
    """Where new tokens stand in a cache: the row and position of each (N,), and (row, tokens before, tokens) of each row."""

    cache: KeyValueCache
    rows: Tensor
    positions: Tensor
    spans: list[tuple[int, int, int]]
    seen: int  # by the row that has read most
    mask: Tensor | None  # which keys each row sees (B, 1, 1, S); None for all
    is_single: bool  # one token of every row

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        """Remember k and v of the new tokens, and let each attend to its row up to itself: shapes as in `apply_attention`"""
        memory = self.cache.layers[layer]
        new = torch.stack([k, v]).detach().to(memory.dtype)  # (2, B, K, T, D)
        if self.is_single and self.mask is None:  # all at one position
            memory[:, : len(self.rows), :, self.seen - 1 : self.seen] = new
        else:
            memory[:, self.rows, :, self.positions] = new.transpose(2, 3).flatten(1, 2).transpose(0, 1)  # (N, 2, K, D)
        if self.is_single:
            keys, values = memory[:, : len(self.rows), :, : self.seen]  # (B, K, S, D)
            grouped = q.view(q.size(0), keys.size(1), -1, q.size(3))  # one token: heads stand where tokens do
            return F.scaled_dot_product_attention(grouped, keys, values, self.mask, dropout).view(q.shape)
        found, start = [], 0
        queries = q.transpose(1, 2).flatten(0, 1)  # (N, H, D)
        for row, past, count in self.spans:
            mine = queries[start : start + count].transpose(0, 1).unsqueeze(0)  # (1, H, t, D)
            keys, values = memory[:, row : row + 1, :, : past + count]  # (1, K, s, D)
            visible = torch.ones(count, past + count, dtype=torch.bool, device=q.device).tril(past) if past else None
            found.append(apply_attention(mine, keys, values, dropout, visible)[0].transpose(0, 1))  # (t, H, D)
            start += count
        return torch.cat(found).view(q.size(0), q.size(2), *q.shape[1::2]).transpose(1, 2)


def locate_tokens(
    tokens: Tensor, context_length: int, document_ids: Tensor | None, cache: KeyValueCache | None
) -> tuple[Tensor, AttendInLayer]:
    """tokens (B, T) -> their positions (1, T) or (B, T), and how they attend in each layer

    Raises ValueError for more tokens than the context.
    """
    if cache is not None:
        step = cache.locate(tokens, document_ids)
        return step.positions.view(tokens.shape), step.attend
    check_length(tokens.size(1), context_length)
    if document_ids is None:
        positions, mask = torch.arange(tokens.size(1), device=tokens.device).unsqueeze(0), None  # (1, T)
    else:
        positions, mask = restart_positions(document_ids), same_document_mask(document_ids)
    return positions, lambda layer, q, k, v, dropout: apply_attention(q, k, v, dropout, mask)


def check_length(length: int, context_length: int) -> None:
    """Raises ValueError for more tokens than the context."""
    if length > context_length:
        raise ValueError(f"{length} tokens are more than the context of {context_length}.")


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
