"""One token per character of the texts, and an end token."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from seqlab.tokenizers.base import ANYWHERE
from seqlab.tokenizers.hf_format import END, build_characters, write_tokenizer


class CharTokenizer:
    """The sorted alphabet of the texts, then the end token. A text in that alphabet round-trips.

    It learns from all splits, so that none has a character that it lacks.
    """

    cut_pattern = ANYWHERE
    learns_from: Literal["train", "all"] = "all"

    def __init__(self, texts: Iterable[str]) -> None:
        alphabet: set[str] = set()
        for text in texts:
            alphabet.update(text)
        self.alphabet = sorted(alphabet)
        self.ids = {character: i for i, character in enumerate(self.alphabet)}
        self.eos_id = len(self.alphabet)
        self.vocab_size = len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        """One id per character. Raises ValueError for a character outside the alphabet."""
        try:
            return [self.ids[character] for character in text]
        except KeyError as error:
            raise ValueError(
                f"The character {error.args[0]!r} is not in this tokenizer's alphabet, the {len(self.alphabet)} characters "
                "of the texts that it learned from: leave it out, or train a model with tokenizer=byte, which knows all."
            ) from None

    def encode_to_array(self, text: str) -> np.ndarray:
        """As `encode`, (N,), faster."""
        characters = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
        alphabet = np.array([ord(character) for character in self.alphabet], dtype=np.uint32)
        ids = np.searchsorted(alphabet, characters)
        if (alphabet[np.minimum(ids, len(alphabet) - 1)] != characters).any():
            self.encode(text)  # which says what is not there
        return ids

    def decode(self, ids: list[int]) -> str:
        """The characters of the ids; the end token becomes nothing."""
        return "".join(self.alphabet[i] for i in ids if i != self.eos_id)

    def byte_lengths(self) -> list[int]:
        """The bytes of UTF-8 that each token stands for, 0 for the end token."""
        return [*(len(character.encode(errors="surrogatepass")) for character in self.alphabet), 0]

    def save(self, folder: Path) -> None:
        """Write the alphabet as JSON."""
        (folder / "alphabet.json").write_text(json.dumps(self.alphabet), encoding="utf-8")

    def save_to_hf(self, folder: Path) -> None:
        """Write what transformers opens, with the same ids; it knows no other characters either."""
        write_tokenizer(build_characters(self.ids | {END: self.eos_id}), folder)

    @classmethod
    def load(cls, folder: Path) -> "CharTokenizer":
        """Read the alphabet."""
        alphabet = json.loads((folder / "alphabet.json").read_text(encoding="utf-8"))
        if not isinstance(alphabet, list) or not alphabet or not all(isinstance(text, str) for text in alphabet):
            raise ValueError("alphabet.json is not a list of characters")
        return cls(alphabet)
