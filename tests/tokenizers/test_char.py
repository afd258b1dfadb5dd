"""The character tokenizer: round trips in its alphabet, and refuses what lies outside it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.tokenizers.char import CharTokenizer


def test_ids_are_the_places_in_the_sorted_alphabet() -> None:
    char = CharTokenizer(["hello"])
    assert char.encode("hole") == [1, 3, 2, 0]
    assert (char.vocab_size, char.eos_id) == (5, 4)
    assert char.decode([1, 3, 2, 0, char.eos_id]) == "hole"


def test_the_verdict_has_62_characters(shared: Path) -> None:
    text = (shared / "the-verdict.txt").read_text()
    char = CharTokenizer([text])
    assert (char.vocab_size, char.eos_id) == (63, 62)
    assert char.decode(char.encode(text)) == text


@given(st.text(min_size=1))
def test_a_text_in_the_alphabet_round_trips(text: str) -> None:
    char = CharTokenizer([text])
    ids = char.encode(text)
    assert char.decode(ids) == text
    assert all(0 <= i < char.eos_id for i in ids)
    assert sum(char.byte_lengths()[i] for i in ids) == len(text.encode())
    assert len(char.byte_lengths()) == char.vocab_size
    assert char.byte_lengths()[char.eos_id] == 0


def test_an_unknown_character_is_named_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"'é' is not in .* 4 characters .* tokenizer=byte"):
        CharTokenizer(["hello"]).encode("hellé")


@given(st.text(min_size=1))
def test_save_and_load_any_alphabet(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder, char = tmp_path_factory.mktemp("char"), CharTokenizer([text])
    char.save(folder)
    loaded = CharTokenizer.load(folder)
    assert (loaded.alphabet, loaded.vocab_size, loaded.eos_id) == (char.alphabet, char.vocab_size, char.eos_id)
