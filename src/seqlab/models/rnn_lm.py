"""Recurrent language models: what was read is a state, however long it was (Mikolov et al., 2010).

Shapes: B sequences of T tokens, width C, vocabulary V.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from seqlab.types import Fraction, PositiveInt


class StateCache:
    """The state after the tokens seen so far; None before the first one."""

    def __init__(self, batch_size: int) -> None:
        self.state: Any = None
        self.lengths = torch.zeros(batch_size, dtype=torch.int64)  # (B,)


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

    def init_cache(self, batch_size: int, max_length: int) -> StateCache:
        """An empty cache; a state is as large after many tokens as after one."""
        return StateCache(batch_size)

    def hidden(self, tokens: Tensor, *, document_ids: Tensor | None = None, cache: StateCache | None = None) -> Tensor:
        """tokens (B, T), document_ids (B, T) -> (B, T, C)

        `document_ids` numbers the record of each token: each is read from an empty state. `cache` holds the state after what
        each row has read before these tokens, and is replaced by that after them.
        """
        x = self.dropout(self.token_embedding(tokens))  # (B, T, C)
        if document_ids is not None:
            assert cache is None, "a cached row is one document"
            return self.dropout(self.read_documents(x, document_ids))
        states, state = self.rnn(x, cache.state if cache else None)
        if cache:
            cache.state, cache.lengths = state, cache.lengths + tokens.size(1)
        return self.dropout(states)

    def read_documents(self, x: Tensor, document_ids: Tensor) -> Tensor:
        """Read each document by itself: x (B, T, C), document_ids (B, T) -> (B, T, C)"""
        counts = [ids.unique_consecutive(return_counts=True)[1].tolist() for ids in document_ids]
        documents = [document for row, sizes in zip(x, counts, strict=True) for document in row.split(sizes)]
        states, _ = self.rnn(pad_sequence(documents, batch_first=True))  # (documents, longest, C)
        read = [state[: len(document)] for state, document in zip(states, documents, strict=True)]
        return torch.cat(read).view_as(x)


class RNNLM(RecurrentLM):
    """The plain recurrent network with tanh (Elman, 1990)."""

    rnn_class = nn.RNN


class LSTMLM(RecurrentLM):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    rnn_class = nn.LSTM


class GRULM(RecurrentLM):
    """Gated recurrent units (Cho et al., arXiv 1406.1078)."""

    rnn_class = nn.GRU
