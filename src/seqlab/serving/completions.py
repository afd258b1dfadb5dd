"""Texts that a loaded model continues together, as text: prompts wait for a row, each text is shown as it comes."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal

from seqlab.generation.batch import GenerationBatch
from seqlab.generation.batch import Sequence as TokenSequence
from seqlab.generation.sampling import SamplingOptions
from seqlab.generation.text import TextStream

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
    ) -> None:
        self.sequence = TokenSequence(prompt_ids, options, end_ids)
        self.stream = TextStream(decode, stop, prompt_ids[-CONTEXT:])
        self.text = ""
        self.finish_reason: Literal["stop", "length"] | None = None

    def take(self, token: int | None) -> str:
        """The text that a token completes; None ends it."""
        piece = "" if token is None else self.stream.push(token)
        if self.sequence.finish_reason and not self.stream.stopped:
            piece += self.stream.finish()
        self.finish_reason = "stop" if self.stream.stopped else self.sequence.finish_reason
        self.text += piece
        return piece


class CompletionBatch:
    """The completions of one model: those that are being continued, and those that wait until a row is free."""

    def __init__(self, model: Any, vocab_size: int, max_rows: int = MAX_ROWS) -> None:
        self.batch = GenerationBatch(model, vocab_size)
        self.max_rows = max_rows
        self.waiting: deque[Completion] = deque()
        self.running: dict[TokenSequence, Completion] = {}

    def __len__(self) -> int:
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

    def step(self) -> list[tuple[Completion, str]]:
        """Continue each text by a token; -> those that came further, with what they have more."""
        while self.waiting and len(self.running) < self.max_rows:
            completion = self.waiting.popleft()
            self.batch.add(completion.sequence)
            self.running[completion.sequence] = completion
        found = [(self.running[sequence], token) for sequence, token in self.batch.step()]
        pieces = [(completion, completion.take(token)) for completion, token in found]
        for completion, _ in pieces:
            if completion.finish_reason:
                del self.running[completion.sequence]
                if not completion.sequence.finish_reason:  # by a stop string, and so it still has a row
                    self.batch.remove(completion.sequence)
        return pieces

    def run(self) -> Iterator[tuple[Completion, str]]:
        """Continue until all have ended; yields as `step` returns."""
        while len(self):
            yield from self.step()
