"""What others ask of a tokenizer, and how a saved one is loaded."""

from pathlib import Path
from typing import Any, Protocol

from seqlab.errors import UserError


class Tokenizer(Protocol):
    """Text to token ids and back."""

    vocab_size: int
    eos_id: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""


def load_tokenizer(tokenizer_class: Any, folder: Path) -> Any:
    """The tokenizer that was saved in a folder. Raises UserError if its files are missing or damaged."""
    try:
        return tokenizer_class.load(folder)
    except (OSError, ValueError, LookupError, TypeError, AssertionError) as error:  # of a truncated file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"The tokenizer in {folder} cannot be read ({reason}): restore its files.") from error
