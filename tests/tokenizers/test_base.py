"""What is asked of a tokenizer of one's own before anything is trained with it."""

from pathlib import Path
from typing import Any

import pytest

from seqlab.errors import UserError
from seqlab.tokenizers.base import save_tokenizer


class Letters:
    """A token for each letter."""

    vocab_size, eos_id = 27, 26

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - 97 for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(97 + i) for i in ids)

    def save(self, folder: Path) -> None:
        (folder / "letters").write_text("27")

    @classmethod
    def load(cls, folder: Path) -> "Letters":
        letters = cls()
        letters.vocab_size = int((folder / "letters").read_text())
        return letters


class Backwards(Letters):
    """As many tokens, in another order."""

    def encode(self, text: str) -> list[int]:
        return super().encode(text)[::-1]


def test_a_tokenizer_that_reads_what_it_saves_is_kept(tmp_path: Path) -> None:
    save_tokenizer(Letters(), tmp_path / "kept")
    assert {file.name for file in (tmp_path / "kept").iterdir()} == {"letters", "tokenizer.sha256"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"save": None}, "Broken has no save, which a tokenizer needs"),
        (
            {"load": classmethod(lambda cls, folder: Backwards())},
            "Broken encodes 'abcdef.*' otherwise once it is saved",
        ),
        ({"load": None}, "Broken has no load, which a tokenizer needs"),
        ({"eos_id": None}, "Broken has no eos_id"),
        ({"vocab_size": None}, "Broken has no vocab_size"),
        ({"decode": None}, "Broken has no decode"),
        ({"save": lambda self, folder: None}, r"Broken cannot read what it saves \(FileNotFoundError"),
        ({"load": classmethod(lambda cls, folder: None)}, "Broken reads another vocabulary than it saves"),
        (
            {"save": lambda self, folder: (folder / "letters").write_text("3")},
            "Broken reads another vocabulary than it saves",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_read_back_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    parts = {name: part for name, part in vars(Letters).items() if not name.startswith("__")} | changes
    broken: Any = type("Broken", (), {name: part for name, part in parts.items() if part is not None})
    with pytest.raises(UserError, match=message):
        save_tokenizer(broken(), tmp_path / "kept")
    assert not list(tmp_path.iterdir())
