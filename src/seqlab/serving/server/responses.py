"""Texts as OpenAI's API returns them: whole, or chunk by chunk."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from seqlab.generation.batch import TokenLogprob
from seqlab.serving.completions import Completion, Piece
from seqlab.serving.engine import LoadedRun


@dataclass
class Response:
    """One answer to a request: its texts by their number, and how they are written down."""

    run: LoadedRun
    model: str
    completions: Sequence[Completion]
    is_chat: bool
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = f"{'chatcmpl' if self.is_chat else 'cmpl'}-{uuid.uuid4().hex}"
        self.numbers = {completion: number for number, completion in enumerate(self.completions)}
        self.offsets = [0] * len(self.completions)  # of the tokens of a chunk in the text, in characters

    def common_fields(self, kind: str) -> dict[str, Any]:
        """The fields that each chunk has too."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def build(self) -> dict[str, Any]:
        """All texts, when they have ended."""
        choices = []
        for number, completion in enumerate(self.completions):
            noted = self.describe_logprobs(number, completion.sequence.logprobs)
            text: dict[str, Any] = {"text": completion.text}
            if self.is_chat:
                text = {"message": {"role": "assistant", "content": completion.text, "refusal": None}}
            choices.append({"index": number, **text, "logprobs": noted, "finish_reason": completion.finish_reason})
        kind = "chat.completion" if self.is_chat else "text_completion"
        return self.common_fields(kind) | {"choices": choices, "usage": self.usage()}

    def build_chunk(self, piece: Piece) -> dict[str, Any]:
        """What a step has added to a text."""
        number = self.numbers[piece.completion]
        text: dict[str, Any] = {"delta": {"content": piece.text}} if self.is_chat else {"text": piece.text}
        noted = self.describe_logprobs(number, [piece.logprob] if piece.logprob else [])
        choice = {"index": number, **text, "logprobs": noted, "finish_reason": piece.finish_reason}
        return self.common_fields("chat.completion.chunk" if self.is_chat else "text_completion") | {
            "choices": [choice]
        }

    def build_openings(self) -> list[dict[str, Any]]:
        """The chunks before the first text of a conversation: whose answers they are."""
        if not self.is_chat:
            return []
        deltas = [
            {"index": number, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
            for number in range(len(self.completions))
        ]
        return [self.common_fields("chat.completion.chunk") | {"choices": [delta]} for delta in deltas]

    def build_usage(self) -> dict[str, Any]:
        """The last chunk, if it is asked for."""
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        return self.common_fields(kind) | {"choices": [], "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        """The tokens of the prompts, each once, and those that followed."""
        prompts = {id(completion.prompt_ids): len(completion.prompt_ids) for completion in self.completions}
        prompt, new = sum(prompts.values()), sum(len(c.sequence.new_tokens) for c in self.completions)
        return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}

    def describe_logprobs(self, number: int, noted: list[TokenLogprob]) -> dict[str, Any] | None:
        """How likely tokens were; None if that was not asked for."""
        if self.completions[number].sequence.options.logprobs is None:
            return None
        decode = self.run.tokenizer.decode
        texts = [decode([one.token]) for one in noted]
        if self.is_chat:
            return {
                "content": [
                    describe_token(text, one.logprob)
                    | {"top_logprobs": [describe_token(decode([token]), logprob) for token, logprob in one.top]}
                    for text, one in zip(texts, noted, strict=True)
                ],
                "refusal": None,
            }
        offsets = []
        for text in texts:
            offsets.append(self.offsets[number])
            self.offsets[number] += len(text)
        return {
            "tokens": [name_token(decode, one.token) for one in noted],
            "token_logprobs": [one.logprob for one in noted],
            "top_logprobs": [{name_token(decode, token): value for token, value in reversed(one.top)} for one in noted],
            "text_offset": offsets,
        }


def name_token(decode: Callable[[list[int]], str], token: int) -> str:
    """The text of a token; for a part of a character its id, as in "token_id:195", since all parts decode to one text."""
    text = decode([token])
    return f"token_id:{token}" if "\N{REPLACEMENT CHARACTER}" in text else text


def describe_token(text: str, logprob: float) -> dict[str, Any]:
    """A token of a conversation; a part of a character has no bytes that could be told."""
    is_whole = "\N{REPLACEMENT CHARACTER}" not in text
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()) if is_whole else None}
