"""What others ask of a tokenizer."""

from typing import Protocol


class Tokenizer(Protocol):
    """Text to token ids and back."""

    vocab_size: int
    eos_id: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""
