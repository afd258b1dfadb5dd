"""One token per byte of UTF-8, and an end token: 257 in all."""

from pathlib import Path


class ByteTokenizer:
    """Bytes are their own ids, 256 is the end of text; every text round-trips."""

    vocab_size = 257
    eos_id = 256

    def encode(self, text: str) -> list[int]:
        """The bytes of the text."""
        return list(text.encode())

    def decode(self, ids: list[int]) -> str:
        """The text of the bytes; what is not UTF-8 becomes U+FFFD, the end token nothing."""
        return bytes(i for i in ids if i != self.eos_id).decode(errors="replace")

    def byte_lengths(self) -> list[int]:
        """The bytes of text that each token stands for; of the end token none."""
        return [1] * 256 + [0]

    def save(self, folder: Path) -> None:
        """Nothing is learned; an empty file says that this tokenizer was here."""
        (folder / "byte").touch()

    @classmethod
    def load(cls, folder: Path) -> "ByteTokenizer":
        """The one there is."""
        return cls()
