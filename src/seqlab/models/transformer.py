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
MAX_FP32_TOKENS = 128  # tokens up to which attention on a CPU is in fp32 also in bfloat16


def apply_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0, mask: Tensor | None = None) -> Tensor:
    """q (B, H, T, D), k and v (B, K, S, D), mask (B, 1, T, S) or None for causal -> (B, H, T, D)

    K heads of keys and values are shared by H of queries (grouped-query attention, Ainslie et al., arXiv 2305.13245).
    """
    if (
        q.dtype == torch.bfloat16
        and q.device.type == "cpu"
        and k.size(2) <= MAX_FP32_TOKENS
        and mask is None
        and not dropout
    ):
        with torch.autocast("cpu", enabled=False):  # backwards it takes half the time, and is more exact
            return apply_attention(q.float(), k.float(), v.float(), dropout).to(q.dtype)
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
        places = counts.cumsum(0) - counts  # where each row begins among the tokens
        positions = torch.arange(tokens.numel()) + (pasts - places).repeat_interleave(counts)
        single = counts == 1
        if int(single.sum()) < 2 and tokens.numel() > 1:
            single = torch.zeros_like(single)
        last = torch.zeros_like(self.lengths)
        last[rows[single]] = pasts[single]
        visible = torch.arange(seen) <= last[:, None, None, None]  # (B, 1, 1, S)
        spans: list[Span] = []
        for row, past, place, count in torch.stack([rows, pasts, places, counts], 1)[~single].tolist():
            earlier = torch.ones(count, past + count, dtype=torch.bool).tril(past)
            spans.append((row, place, count, past + count, mask_scores(earlier, self.layers[0]) if past else None))
        return CacheStep(
            cache=self,
            rows=rows.repeat_interleave(counts).to(tokens.device),
            positions=positions.to(tokens.device),
            seen=seen,
            single_rows=rows[single].to(tokens.device),
            single_places=places[single].to(tokens.device),
            is_whole=document_ids is None and bool(single.any()),
            mask=None if bool(visible.all()) else mask_scores(visible, self.layers[0]),
            spans=spans,
        )


def mask_scores(visible: Tensor, like: Tensor) -> Tensor:
    """What to add to scores so that only what is visible counts: True -> 0, False -> -inf"""
    return torch.zeros(visible.shape, dtype=like.dtype).masked_fill(~visible, -torch.inf).to(like.device)


Span = tuple[int, int, int, int, Tensor | None]  # row, its place among the new tokens, how many, how many it has, mask


class CacheStep(NamedTuple):
    """Where new tokens stand in a cache, and what they see. Rows that read one token each attend together, others alone."""

    cache: KeyValueCache
    rows: Tensor  # of each token (N,)
    positions: Tensor  # (N,)
    seen: int  # tokens, by the row that has read most
    single_rows: Tensor  # (R,) that read one token
    single_places: Tensor  # (R,) where it stands among the N
    is_whole: bool  # every row reads one
    mask: Tensor | None  # for them (B, 1, 1, S); None where all see all
    spans: list[Span]  # the other rows

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        """Remember k and v of the new tokens, and let each attend to its row up to itself: shapes as in `apply_attention`"""
        memory = self.cache.layers[layer]
        new = torch.stack([k, v]).detach().to(memory.dtype)  # (2, B, K, T, D)
        if self.is_whole and self.mask is None:  # all at one position
            memory[:, : len(self.rows), :, self.seen - 1 : self.seen] = new
        else:
            memory[:, self.rows, :, self.positions] = new.transpose(2, 3).flatten(1, 2).transpose(0, 1)  # (N, 2, K, D)
        if self.is_whole:
            return self.attend_single(memory, q, dropout)
        queries = q.transpose(1, 2).flatten(0, 1)  # (N, H, D)
        found = torch.empty_like(queries)
        if len(self.single_rows):
            mine = queries.new_zeros(len(self.cache.lengths), *queries.shape[1:])  # (B, H, D)
            mine[self.single_rows] = queries[self.single_places]
            found[self.single_places] = self.attend_single(memory, mine, dropout)[self.single_rows]
        for row, place, count, seen, mask in self.spans:
            mine = queries[place : place + count].transpose(0, 1).unsqueeze(0)  # (1, H, t, D)
            keys, values = memory[:, row : row + 1, :, :seen]  # (1, K, s, D)
            found[place : place + count] = apply_attention(mine, keys, values, dropout, mask)[0].transpose(0, 1)
        return found.view(q.size(0), q.size(2), *q.shape[1::2]).transpose(1, 2)

    def attend_single(self, memory: Tensor, q: Tensor, dropout: float) -> Tensor:
        """One token of each row: heads that share keys stand where tokens do."""
        keys, values = memory[:, : q.size(0), :, : self.seen]  # (B, K, S, D)
        grouped = q.reshape(q.size(0), keys.size(1), -1, q.size(-1))
        return F.scaled_dot_product_attention(grouped, keys, values, self.mask, dropout).view(q.shape)


def locate_tokens(
    tokens: Tensor, context_length: int, document_ids: Tensor | None, cache: KeyValueCache | None
) -> tuple[Tensor, AttendInLayer]:
    """tokens (B, T) -> their positions (1, T) or (B, T), and how they attend in each layer

    Raises ValueError for more tokens than the context.
    """
    if cache is not None:
        step = cache.locate(tokens, document_ids)
        return step.positions.view(tokens.shape), step.attend
    if document_ids is None:
        check_length(tokens.size(1), context_length)
        positions = torch.arange(tokens.size(1), device=tokens.device).unsqueeze(0)  # (1, T)
        return positions, lambda layer, q, k, v, dropout: apply_attention(q, k, v, dropout)
    documents = PackedDocuments.of(document_ids, tokens.device)
    check_length(documents.longest, context_length)
    return documents.positions.view(tokens.shape), lambda layer, q, k, v, dropout: documents.attend(q, k, v, dropout)


def check_length(length: int, context_length: int) -> None:
    """Raises ValueError for more tokens than the context."""
    if length > context_length:
        raise ValueError(f"{length} tokens are more than the context of {context_length}.")


class PackedDocuments(NamedTuple):
    """PackedDocuments that lie behind one another in rows: attention is within them, and their positions begin with 0."""

    number: int
    longest: int
    positions: Tensor  # of each of the B T tokens in its document
    places: Tensor  # of each among the tokens of a (number, longest) rectangle

    @classmethod
    def of(cls, document_ids: Tensor, device: torch.device) -> "PackedDocuments":
        """A document ends where the number changes, or a row: document_ids (B, T)"""
        ids = document_ids.flatten()
        begins = torch.ones_like(ids, dtype=torch.bool)
        begins[1:] = ids[1:] != ids[:-1]
        begins[:: document_ids.size(1)] = True
        order = torch.arange(len(ids), device=ids.device)
        positions = order - (order * begins).cummax(0).values
        numbers = begins.cumsum(0) - 1
        longest, number = (torch.stack([positions.max(), numbers[-1]]) + 1).tolist()  # one look at the device
        return cls(number, longest, positions.to(device), (numbers * longest + positions).to(device))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        """Shapes as in `apply_attention`. Each document gets a row of its own: what is filled up follows it, and is not seen."""
        rows = apply_attention(self.fill_rectangle(q), self.fill_rectangle(k), self.fill_rectangle(v), dropout)
        found = rows.transpose(1, 2).flatten(0, 1).index_select(0, self.places)  # (B T, H, D)
        return found.view(q.size(0), q.size(2), *found.shape[1:]).transpose(1, 2)

    def fill_rectangle(self, tokens: Tensor) -> Tensor:
        """(B, H, T, D) -> (number, H, longest, D)"""
        tokens = tokens.transpose(1, 2).flatten(0, 1)  # (B T, H, D)
        rectangle = tokens.new_zeros(self.number * self.longest, *tokens.shape[1:]).index_copy(0, self.places, tokens)
        return rectangle.view(self.number, self.longest, *tokens.shape[1:]).transpose(1, 2)


def init_gpt2_weights(model: nn.Module, n_layer: int) -> None:
    """N(0, 0.02), biases zero; layers that write to the residual stream divided by sqrt(2 n_layer) (Radford et al., 2019)."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            residual = name.endswith(("output.weight", "down.weight"))
            nn.init.normal_(parameter, std=0.02 / (2 * n_layer) ** 0.5 if residual else 0.02)
