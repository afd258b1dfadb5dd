"""Texts that one model continues together: they join and leave between steps, and each is continued as if it were alone.

Rows have lengths of their own, and nothing is padded: a prompt is read in the same pass as the next tokens of the others.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from seqlab.generation.draft import Draft
from seqlab.generation.next_token import SamplingOptions, adjust_logits, choose_tokens
from seqlab.generation.row_by_row import prepare_rows
from seqlab.seeding import derive_seed

FinishReason = Literal["stop", "length"]
MAX_READ = 2048  # tokens that one pass reads at most; a longer prompt is read in pieces


@dataclass
class TokenLogprob:
    """How likely a token was, by the model alone, and which tokens were the most likely ones."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


@dataclass(eq=False)
class TokenSequence:
    """A prompt and what follows it. `end_ids` are the tokens that end a text; they are not part of it."""

    tokens: list[int]  # at first the prompt
    options: SamplingOptions
    end_ids: Collection[int] = ()
    finish_reason: FinishReason | None = None
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = list(self.tokens)
        self.prompt_length = len(self.tokens)
        self.start = self.read = 0  # where the part begins that the model sees, and how far it has read
        self.draft = Draft()
        self.generator = np.random.Generator(np.random.SFC64(derive_seed(self.options.seed, "sampling")))  # the fastest

    @property
    def new_tokens(self) -> list[int]:
        """The tokens after the prompt."""
        return self.tokens[self.prompt_length :]

    def add_token(self, token: int) -> bool:
        """Take the next token, unless it ends the text; true if it was taken."""
        if token in self.end_ids:
            self.finish_reason = "stop"
            self.logprobs = self.logprobs[: len(self.new_tokens)]
            return False
        self.tokens.append(token)
        if len(self.tokens) - self.prompt_length >= self.options.max_new_tokens:
            self.finish_reason = "length"
        return True


class GenerationBatch:
    """The sequences that a language model continues. `vocab_size` is that of the tokenizer, if the model's is padded.

    Where a sequence has filled `model.context_length`, its last half is kept, and read again: its positions have changed.
    """

    def __init__(self, model: Any, vocab_size: int | None = None) -> None:
        self.model = prepare_rows(model)
        self.context_length: int | None = getattr(model, "context_length", None)
        self.device = next(model.parameters()).device
        self.vocab_size = vocab_size
        self.cache = self.model.init_cache()
        self.can_draft = hasattr(self.cache, "forget")
        self.sequences: list[TokenSequence] = []  # in the order of the cache's rows

    @torch.inference_mode()
    def add(self, sequence: TokenSequence) -> None:
        """Let a sequence join. Raises ValueError for a prompt that is empty, or longer than the context."""
        if not sequence.tokens:
            raise ValueError("A prompt has no token.")
        if self.context_length and len(sequence.tokens) - sequence.start > self.context_length:
            raise ValueError(f"{len(sequence.tokens)} tokens are more than the context of {self.context_length}.")
        sequence.read = sequence.start
        self.sequences.append(sequence)
        self.cache.add_row()

    @torch.inference_mode()  # as the memory was filled
    def remove(self, sequence: TokenSequence) -> None:
        """Let a sequence leave; the last one takes its row."""
        row = self.sequences.index(sequence)
        self.cache.remove_row(row)
        self.sequences[row] = self.sequences[-1]
        self.sequences.pop()
        sequence.draft = Draft()  # its logits are large

    @torch.inference_mode()
    def step(self) -> list[tuple[TokenSequence, int | None]]:
        """Give each sequence that is read to its end its next token; None if that ends it. What has ended leaves."""
        self.make_room()
        sequences, logits = self.take_drafted() or self.read_next()
        if not sequences:
            return []
        tokens = choose_next(logits, sequences)
        found = [(s, token if s.add_token(token) else None) for s, token in zip(sequences, tokens, strict=True)]
        for sequence in sequences:
            if sequence.finish_reason:
                self.remove(sequence)
        return found

    def make_room(self) -> None:
        """Of each sequence that has filled the context, keep the last half."""
        for sequence in list(self.sequences):
            if self.context_length and len(sequence.tokens) - sequence.start > self.context_length:
                self.remove(sequence)
                sequence.start = len(sequence.tokens) - max(1, self.context_length // 2)
                self.add(sequence)

    def take_drafted(self) -> tuple[list[TokenSequence], Tensor] | None:
        """The lone sequence and its logits (1, V), if its last token was drafted; what does not come is forgotten."""
        for row, sequence in enumerate(self.sequences):
            if len(self.sequences) == 1 and (logits := sequence.draft.take_logits(sequence.tokens[-1])) is not None:
                sequence.read += 1
                return [sequence], logits
            if count := sequence.draft.drop():
                self.cache.forget(row, count)
        return None

    def read_next(self) -> tuple[list[TokenSequence], Tensor]:
        """Read the next tokens of each sequence; -> those that are read to their end, and their logits (R, V)"""
        counts = self.plan_reading()
        draft = self.find_draft() if counts == [1] else []
        hidden = self.read(counts, draft)  # (N, C)
        ends = (torch.tensor(counts).cumsum(0) - 1).tolist()
        ready = [row for row, sequence in enumerate(self.sequences) if sequence.read == len(sequence.tokens)]
        places = [ends[row] for row in ready] + list(range(1, len(draft) + 1))
        if not places:
            return [], hidden[:0]
        logits = self.model.head(hidden[torch.tensor(places).to(self.device)])[:, : self.vocab_size].float()
        if draft:
            self.sequences[0].draft.keep(draft, logits[1:])
        return [self.sequences[row] for row in ready], logits[: len(ready)]

    def find_draft(self) -> list[int]:
        """What may follow the lone sequence, as far as it and the context go."""
        sequence = self.sequences[0]
        room = sequence.prompt_length + sequence.options.max_new_tokens - len(sequence.tokens) - 1
        if self.context_length:
            room = min(room, self.context_length + sequence.start - len(sequence.tokens))
        return sequence.draft.find_tokens(sequence.tokens, room) if self.can_draft and room > 0 else []

    def plan_reading(self) -> list[int]:
        """How many tokens of each sequence the next pass reads: first the next ones, then prompts as far as there is room."""
        unread = [len(sequence.tokens) - sequence.read for sequence in self.sequences]
        room = MAX_READ - unread.count(1)
        counts = []
        for length in unread:
            counts.append(1 if length == 1 else min(length, max(room, 0)))
            room -= 0 if length == 1 else counts[-1]
        return counts

    def read(self, counts: list[int], draft: list[int]) -> Tensor:
        """Read the next tokens of each sequence, of a lone one with a draft behind them; -> (N, C)"""
        pieces = [s.tokens[s.read : s.read + count] + draft for s, count in zip(self.sequences, counts, strict=True)]
        if set(counts) == {1}:
            tokens, rows = torch.tensor(pieces), None  # (B, 1), or (1, 1 + D)
        else:
            tokens = torch.tensor([list(chain(*pieces))])  # (1, N)
            rows = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).unsqueeze(0)
        for sequence, count in zip(self.sequences, counts, strict=True):
            sequence.read += count
        return self.model.hidden(tokens.to(self.device), document_ids=rows, cache=self.cache).flatten(0, 1)


def choose_next(logits: Tensor, sequences: list[TokenSequence]) -> list[int]:
    """logits (B, V) -> the next token of each sequence, noted with its probability where that is asked for"""
    noted = [(row, s) for row, s in enumerate(sequences) if s.options.logprobs is not None]
    logprobs = {row: logits[row].log_softmax(-1) for row, _ in noted}
    for row, sequence in enumerate(sequences):
        options, new = sequence.options, len(sequence.tokens) - sequence.prompt_length
        forbidden = list(sequence.end_ids) if new < options.min_new_tokens else []
        adjust_logits(logits[row], sequence.tokens, options, forbidden)
    tokens = choose_tokens(logits, [s.options for s in sequences], [s.generator for s in sequences]).tolist()
    for row, sequence in noted:
        best = logprobs[row].topk(min(sequence.options.logprobs or 0, logits.size(-1)))
        top = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        sequence.logprobs.append(TokenLogprob(tokens[row], float(logprobs[row][tokens[row]]), top))
    return tokens
