"""One token per character of a text, and an end token."""

import json
from pathlib import Path


class CharTokenizer:
    """The sorted alphabet of a text, then the end token; a text in that alphabet round-trips."""

    def __init__(self, text: str) -> None:
        self.alphabet = sorted(set(text))
        self.ids = {character: i for i, character in enumerate(self.alphabet)}
        self.eos_id = len(self.alphabet)
        self.vocab_size = len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        """One id per character. Raises ValueError for a character that the training text does not have."""
        try:
            return [self.ids[character] for character in text]
        except KeyError as error:
            raise ValueError(
                f"The character {error.args[0]!r} is not in this tokenizer's alphabet, "
                f"the {len(self.alphabet)} characters of the text it learned from; leave it out or take tokenizer=byte."
            ) from None

    def decode(self, ids: list[int]) -> str:
        """The characters of the ids; the end token becomes nothing."""
        return "".join(self.alphabet[i] for i in ids if i != self.eos_id)

    def byte_lengths(self) -> list[int]:
        """The bytes of text, in UTF-8, that each token stands for; of the end token none."""
        return [*(len(character.encode(errors="surrogatepass")) for character in self.alphabet), 0]

    def save(self, folder: Path) -> None:
        """Write the alphabet as JSON."""
        (folder / "alphabet.json").write_text(json.dumps(self.alphabet))

    @classmethod
    def load(cls, folder: Path) -> "CharTokenizer":
        """Read the alphabet."""
        return cls("".join(json.loads((folder / "alphabet.json").read_text())))
