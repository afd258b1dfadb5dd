"""What others ask of a tokenizer, and how a saved one is loaded."""

from pathlib import Path
from typing import Any, Protocol

from seqlab.errors import UserError
from seqlab.files import compute_sha256, read_checksums, write_atomically, write_checksums

CHECKSUMS = "tokenizer.sha256"


class Tokenizer(Protocol):
    """Text to token ids and back."""

    vocab_size: int
    eos_id: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Make a folder with the tokenizer's files and their checksums, atomically."""
    with write_atomically(folder) as partial:
        partial.mkdir()
        tokenizer.save(partial)
        files = sorted(file for file in partial.rglob("*") if file.is_file())
        write_checksums(partial / CHECKSUMS, [(compute_sha256(file), str(file.relative_to(partial))) for file in files])


def load_tokenizer(tokenizer_class: Any, folder: Path) -> Any:
    """The tokenizer that was saved in a folder. Raises UserError if its files are missing, damaged or not those saved."""
    for digest, name in read_checksums(folder / CHECKSUMS):
        if (folder / name).is_file() and compute_sha256(folder / name) != digest:
            raise UserError(
                f"{folder / name} was changed since it was saved, and says what the tokens mean: restore it."
            )
    try:
        return tokenizer_class.load(folder)
    except (OSError, ValueError, LookupError, TypeError, AssertionError) as error:  # of a truncated file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"The tokenizer in {folder} cannot be read ({reason}): restore its files.") from error
