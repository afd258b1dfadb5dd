"""Recurrent language models: what was read is a state, however long it was (Mikolov et al., 2010).

Shapes: B sequences of T tokens, width C, vocabulary V.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from seqlab.types import Fraction, PositiveInt


class StateCache:
    """The state of each row after the tokens that it has read: zeros before the first one."""

    def __init__(self, states: list[Tensor]) -> None:
        self.states = states  # each (layers, B, C)
        self.lengths = torch.zeros(states[0].size(1), dtype=torch.int64)  # (B,)

    def add_row(self) -> None:
        """Another row, the last, that has read nothing."""
        self.states = [F.pad(state, (0, 0, 0, 1)) for state in self.states]
        self.lengths = F.pad(self.lengths, (0, 1))

    def remove_row(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        rows = list(range(len(self.lengths)))
        rows[row] = rows[-1]
        self.states, self.lengths = [state[:, rows[:-1]] for state in self.states], self.lengths[rows[:-1]]


class RecurrentLM(nn.Module):
    """A recurrent network over the embeddings of tokens. It has no positions, and so no longest context."""

    rnn_class: Callable[..., nn.Module]

    def __init__(
        self,
        vocab_size: PositiveInt,
        hidden_size: PositiveInt = 256,
        num_layers: PositiveInt = 2,
        dropout: Fraction = 0.0,
        tie_embeddings: bool = False,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        between = dropout if num_layers > 1 else 0.0
        self.rnn = self.rnn_class(hidden_size, hidden_size, num_layers, batch_first=True, dropout=between)
        self.head = nn.Linear(hidden_size, vocab_size)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        if tie_embeddings:
            self.head.weight = self.token_embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.head(self.hidden(tokens))

    def init_cache(self, batch_size: int = 0) -> StateCache:
        """A cache of rows that have read nothing; a state is as large after many tokens as after one."""
        rnn: Any = self.rnn
        count = 2 if rnn.mode == "LSTM" else 1  # an LSTM has a cell besides
        shape = (rnn.num_layers, batch_size, rnn.hidden_size)
        return StateCache([self.token_embedding.weight.new_zeros(shape) for _ in range(count)])

    def hidden(self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: StateCache | None = None) -> Tensor:
        """tokens (B, T), document_ids (B, T) -> (B, T, C)

        `document_ids` numbers the record of each token: each is read from an empty state. `cache` holds the state after what
        each row has read before these tokens, and is replaced by that after them; the row of each token is that of `tokens`,
        or, in a packed batch (1, T), that which `document_ids` names.
        """
        x = self.dropout(self.token_embedding(tokens))  # (B, T, C)
        if document_ids is not None:
            return self.dropout(self.read_documents(x, document_ids, cache))
        states, after = self.rnn(x, join_states(cache.states) if cache else None)
        if cache:
            cache.states, cache.lengths = split_states(after), cache.lengths + tokens.size(1)
        return self.dropout(states)

    def read_documents(self, x: Tensor, document_ids: Tensor, cache: StateCache | None) -> Tensor:
        """Read each document by itself, from the state of its row if there is a cache: x (B, T, C) -> (B, T, C)"""
        found = [ids.unique_consecutive(return_counts=True) for ids in document_ids]
        counts = [sizes.tolist() for _, sizes in found]
        documents = [document for row, sizes in zip(x, counts, strict=True) for document in row.split(sizes)]
        rows = found[0][0].cpu()
        before = join_states([state[:, rows] for state in cache.states]) if cache else None
        states, after = self.rnn(pack_sequence(documents, enforce_sorted=False), before)
        if cache:
            for state, new in zip(cache.states, split_states(after), strict=True):
                state[:, rows] = new.to(state.dtype)
            cache.lengths[rows] += torch.tensor(counts[0])
        return torch.cat(unpack_sequence(states)).view_as(x)


def join_states(states: list[Tensor]) -> Any:
    """As the layers of torch take them: one tensor, or two of an LSTM."""
    return states[0] if len(states) == 1 else tuple(states)


def split_states(states: Any) -> list[Tensor]:
    """As the cache keeps them."""
    return [states] if isinstance(states, Tensor) else list(states)


class RNNLM(RecurrentLM):
    """The plain recurrent network with tanh (Elman, 1990)."""

    rnn_class = nn.RNN


class LSTMLM(RecurrentLM):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    rnn_class = nn.LSTM


class GRULM(RecurrentLM):
    """Gated recurrent units (Cho et al., arXiv 1406.1078)."""

    rnn_class = nn.GRU
