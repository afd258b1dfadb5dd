"""Texts that a loaded model continues together, as text: prompts wait for a row, each text is shown as it comes."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from seqlab.generation.batch import FinishReason, GenerationBatch, TokenLogprob, TokenSequence
from seqlab.generation.next_token import SamplingOptions
from seqlab.generation.text_stream import TextStream

MAX_ROWS = 16  # texts that are continued at once
CONTEXT = 4  # tokens of a prompt with which the first one after it is decoded


class Completion:
    """What follows a prompt: its text so far, and why it has ended, if it has."""

    def __init__(
        self,
        prompt_ids: list[int],
        options: SamplingOptions,
        end_ids: Collection[int],
        decode: Callable[[list[int]], str],
        stop: Sequence[str] = (),
        is_answer: bool = False,
    ) -> None:
        """`is_answer` leaves out white space before the first word."""
        self.prompt_ids = prompt_ids
        self.sequence = TokenSequence(prompt_ids, options, end_ids)
        self.stream = TextStream(decode, stop, prompt_ids[-CONTEXT:])
        self.text, self.is_answer = "", is_answer
        self.finish_reason: FinishReason | None = None

    def __repr__(self) -> str:
        return f"<text {self.text!r}, {self.finish_reason or 'not ended'}>"

    @property
    def logprobs(self) -> list[TokenLogprob]:
        """How likely each token was, if that was asked for."""
        return self.sequence.logprobs

    def add_token(self, token: int | None) -> "Piece":
        """What a token adds; None ends the text."""
        text = "" if token is None else self.stream.push(token)
        if self.sequence.finish_reason and not self.stream.stopped:
            text += self.stream.finish()
        self.finish_reason = "stop" if self.stream.stopped else self.sequence.finish_reason
        if self.is_answer and not self.text:
            text = text.lstrip()
        self.text += text
        noted = self.sequence.logprobs[-1] if token is not None and self.sequence.logprobs else None
        return Piece(self, text, noted, self.finish_reason)


class Piece(NamedTuple):
    """What a step adds to a text: perhaps nothing, since characters and stop strings are held back until they are whole."""

    completion: Completion
    text: str
    logprob: TokenLogprob | None
    finish_reason: FinishReason | None


class CompletionBatch:
    """The completions of one model: those that are being continued, and those that wait until a row is free."""

    def __init__(self, model: Any, vocab_size: int, max_rows: int = MAX_ROWS) -> None:
        self.batch = GenerationBatch(model, vocab_size)
        self.max_rows = max_rows
        self.waiting: deque[Completion] = deque()
        self.running: dict[TokenSequence, Completion] = {}

    def __len__(self) -> int:
        """The texts that have not ended, so that an empty batch is false."""
        return len(self.waiting) + len(self.running)

    def add(self, completion: Completion) -> None:
        """Let a completion wait for its turn."""
        self.waiting.append(completion)

    def remove(self, completion: Completion) -> None:
        """Give up a completion that nobody waits for any more."""
        if self.running.pop(completion.sequence, None):
            self.batch.remove(completion.sequence)
        elif completion in self.waiting:
            self.waiting.remove(completion)

    def step(self) -> list[Piece]:
        """Continue each text by a token; -> what each that came further has more."""
        while self.waiting and len(self.running) < self.max_rows:
            completion = self.waiting.popleft()
            self.batch.add(completion.sequence)
            self.running[completion.sequence] = completion
        pieces = [self.running[sequence].add_token(token) for sequence, token in self.batch.step()]
        for completion, *_, finish_reason in pieces:
            if finish_reason:
                del self.running[completion.sequence]
                if not completion.sequence.finish_reason:  # by a stop string, and so it still has a row
                    self.batch.remove(completion.sequence)
        return pieces

    def run(self) -> Iterator[Piece]:
        """Continue until all have ended."""
        while len(self):
            yield from self.step()
