"""One token per byte of UTF-8, and an end token: 257 in all."""

from pathlib import Path

import numpy as np

from seqlab.tokenizers.base import ANYWHERE
from seqlab.tokenizers.hf_format import END, build_byte_bpe, write_tokenizer


class ByteTokenizer:
    """Each byte is its own id, 256 is the end of text. Every text round-trips."""

    cut_pattern = ANYWHERE
    vocab_size = 257
    eos_id = 256

    def encode(self, text: str) -> list[int]:
        """The bytes of the text."""
        return list(text.encode())

    def encode_to_array(self, text: str) -> np.ndarray:
        """The bytes of the text, (N,)."""
        return np.frombuffer(text.encode(), dtype=np.uint8)

    def decode(self, ids: list[int]) -> str:
        """The text of the bytes; invalid UTF-8 becomes U+FFFD, the end token nothing."""
        return bytes(i for i in ids if i != self.eos_id).decode(errors="replace")

    def byte_lengths(self) -> list[int]:
        """The bytes of text that each token stands for, 0 for the end token."""
        return [1] * 256 + [0]

    def save(self, folder: Path) -> None:
        """Write an empty file, since nothing is learned."""
        (folder / "byte").touch()

    def save_to_hf(self, folder: Path) -> None:
        """Write what transformers opens, with the same ids: a byte-pair encoding without merges."""
        write_tokenizer(build_byte_bpe({bytes([i]): i for i in range(256)}, r"[\s\S]", {END: self.eos_id}), folder)

    @classmethod
    def load(cls, folder: Path) -> "ByteTokenizer":
        """Make a new one, since nothing is learned."""
        return cls()
