"""The byte tokenizer: every text round-trips."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from seqlab.tokenizers.byte import ByteTokenizer


def test_ids_are_the_bytes_of_utf8() -> None:
    byte = ByteTokenizer()
    assert (byte.vocab_size, byte.eos_id) == (257, 256)
    assert byte.encode("aé") == [97, 195, 169]
    assert byte.decode([97, byte.eos_id]) == "a"
    assert byte.decode([97, 195]) == "a\N{REPLACEMENT CHARACTER}"


@given(st.text())
def test_every_text_round_trips(text: str) -> None:
    byte = ByteTokenizer()
    assert byte.decode(byte.encode(text)) == text
    assert byte.eos_id not in byte.encode(text)
    assert sum(byte.byte_lengths()[i] for i in byte.encode(text)) == len(text.encode())
    assert len(byte.byte_lengths()) == byte.vocab_size
    assert byte.byte_lengths()[byte.eos_id] == 0


def test_save_and_load(tmp_path: Path) -> None:
    ByteTokenizer().save(tmp_path)
    assert ByteTokenizer.load(tmp_path).encode("é") == ByteTokenizer().encode("é")
