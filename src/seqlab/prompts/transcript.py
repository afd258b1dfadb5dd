"""A conversation as a plain text, for models that were not trained on any."""

from typing import Any

from seqlab.prompts.styles import Message

SPEAKERS = {"user": "User", "assistant": "Assistant"}
STOP = ("\nUser:",)  # a model that continues the text speaks for the user as well


class Transcript:
    """`User: …`, `Assistant: …`, a paragraph each, after what a system message says."""

    def render(self, messages: list[Message], tokenizer: Any) -> tuple[list[int], list[bool]]:
        """messages -> ids (T,), loss mask (T,): a plain text has no answer to be trained on"""
        text = "".join(map(self.format_message, messages)) + f"{SPEAKERS['assistant']}:"
        ids = tokenizer.encode(text)
        return ids, [False] * len(ids)

    def format_message(self, message: Message) -> str:
        """A paragraph."""
        speaker = SPEAKERS.get(message.role)
        return f"{speaker}: {message.content}\n" if speaker else f"{message.content}\n\n"
