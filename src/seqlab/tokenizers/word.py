"""One token per word or mark of punctuation, as in "Building LLMs from the ground up"."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from seqlab.tokenizers.base import WORD_END
from seqlab.types import PositiveInt

PIECES = re.compile(r"""([,.:;?_!"()']|--|\s)""")
NO_SPACE_BEFORE = re.compile(r"""\s+([,.:;?!"()'])""")
END, UNKNOWN = "<|endoftext|>", "<|unk|>"


class WordTokenizer:
    """The sorted words of the texts that occur at least `min_count` times, then `<|endoftext|>` and `<|unk|>`.

    It loses something: white space becomes single spaces, and a word that it has not learned `<|unk|>`.
    """

    cut_pattern = WORD_END

    def __init__(self, texts: Iterable[str], min_count: PositiveInt = 1) -> None:
        counts: dict[str, int] = {}
        for text in texts:
            for word in split_words(text):
                counts[word] = counts.get(word, 0) + 1
        self.set_words(sorted(word for word, count in counts.items() if count >= min_count))

    def set_words(self, words: list[str]) -> None:
        """Take a vocabulary."""
        self.words = words
        self.ids = {word: i for i, word in enumerate(words)}
        self.eos_id, self.unknown_id, self.vocab_size = len(words), len(words) + 1, len(words) + 2

    def encode(self, text: str) -> list[int]:
        """The ids of the words and marks of a text."""
        return [self.ids.get(word, self.unknown_id) for word in split_words(text)]

    def decode(self, ids: list[int]) -> str:
        """The words of the ids with spaces between them, but none before a mark; the end token becomes nothing."""
        words = [*self.words, "", UNKNOWN]
        return NO_SPACE_BEFORE.sub(r"\1", " ".join(words[i] for i in ids if i != self.eos_id))

    def save(self, folder: Path) -> None:
        """Write the words as JSON."""
        (folder / "words.json").write_text(json.dumps(self.words, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "WordTokenizer":
        """Read the words."""
        words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("words.json is not a list of words")
        self = cls.__new__(cls)
        self.set_words(words)
        return self


def split_words(text: str) -> list[str]:
    """The words and marks of a text, without white space."""
    return [piece for piece in PIECES.split(text) if piece.strip()]
