"""Byte-pair encoding that is learned: the ids of the library that learned it, round trips, and sizes."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands import NOTES
from seqlab.tokenizers.bpe import BPETokenizer, bytes_of_letters

tokenizers = pytest.importorskip("tokenizers")


@cache
def learned() -> BPETokenizer:
    return BPETokenizer(iter([NOTES, "naïve — “notes”"]), size=300)


@pytest.mark.parametrize("size", [256, 300, 2000])
def test_ids_are_those_of_the_library_that_learned_them(size: int, shared: Path) -> None:
    text = (shared / "the-verdict.txt").read_text()
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    theirs.train_from_iterator(
        [text], tokenizers.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    ours = BPETokenizer(iter([text]), size=size)
    assert ours.vocab_size == size + 1
    for sample in (text, (shared / "tinyshakespeare.txt").read_text()[:200_000], "naïve 🙂 café\n\n  \ttabs"):
        ids = ours.encode(sample)
        assert ids == theirs.encode(sample).ids
        assert ours.decode(ids) == sample
    assert len(ours.encode(text)) <= len(text.encode())


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_text_round_trips_and_its_bytes_are_counted(text: str) -> None:
    ids, lengths = learned().encode(text), learned().byte_lengths()
    assert learned().decode(ids) == text
    assert sum(lengths[i] for i in ids) == len(text.encode())


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    learned().save(tmp_path)
    again = BPETokenizer.load(tmp_path)
    text = f"{NOTES[:300]}<|endoftext|>"
    assert again.encode(text, special=True) == learned().encode(text, special=True)
    assert again.encode(text, special=True)[-1] == again.eos_id == learned().eos_id == 300
    assert again.encode(text) == learned().encode(text)


def test_letters_are_those_of_the_library() -> None:
    assert set(bytes_of_letters()) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert sorted(bytes_of_letters().values()) == list(range(256))


def test_fewer_tokens_than_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="size=255 is too small"):
        BPETokenizer(iter([NOTES]), size=255)
