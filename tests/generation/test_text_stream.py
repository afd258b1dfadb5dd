"""Tokens as text: whole characters only, stop strings wherever tokens begin and end, and a cost that does not grow."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.generation.text_stream import TextStream
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.gpt2 import GPT2Tokenizer

TEXT = "naïve 🙂 日本語 👩‍👩‍👧 end"


def show(ids: Sequence[int], decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> list[str]:
    stream = TextStream(decode, stop)
    pieces = [stream.push(token) for token in ids]
    return [*pieces, stream.finish()]


def test_no_character_is_shown_before_it_is_whole(shared: Path) -> None:
    for tokenizer in (ByteTokenizer(), GPT2Tokenizer(folders=[str(shared)])):
        pieces = show(tokenizer.encode(TEXT), tokenizer.decode)
        assert "".join(pieces) == TEXT
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
        assert sum(map(bool, pieces)) > 10  # it streams


@given(st.text())
def test_pieces_add_up_to_the_whole(text: str) -> None:
    assert "".join(show(ByteTokenizer().encode(text), ByteTokenizer().decode)) == text


@given(st.lists(st.one_of(st.integers(0, 256), st.sampled_from([0xE4, 0xB8, 0xAD, 0xF0, 0x9F, 0x99, 0xC3, 0x41]))))
def test_pieces_of_any_bytes_add_up_to_the_decoded_whole(ids: list[int]) -> None:
    assert "".join(show(ids, ByteTokenizer().decode)) == ByteTokenizer().decode(ids)


def test_a_token_costs_as_much_after_many_as_after_few() -> None:
    lengths = []

    def decode(ids: list[int]) -> str:
        lengths.append(len(ids))
        return ByteTokenizer().decode(ids)

    show([*b"plain text " * 300, *[0x80] * 300, *"日本語".encode() * 100], decode)
    assert max(lengths) < 12


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["three", "two"], "one "),  # the first of them, not the first named
        ("one two three", ["four"], "one two three"),
        ("aab", ["ab"], "a"),
        ("ababac", ["abac"], "ab"),
        ("baa", ["a", "baa"], "b"),  # the one that is complete first
        ("aaab", ["aab", "aaac"], "a"),  # the end of one may begin another
        ("ends with tw", ["two"], "ends with tw"),
        ("日本語です", ["語"], "日本"),
        ("🙂🙃", ["🙃"], "🙂"),
        ("two", ["two"], ""),
    ],
)
def test_a_text_ends_before_its_first_stop_string(text: str, stop: list[str], expected: str) -> None:
    ids, decode = ByteTokenizer().encode(text), ByteTokenizer().decode  # a byte each, so that every place is a border
    assert "".join(show(ids, decode, stop)) == expected


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.integers(1, 5))
def test_stop_strings_of_any_kind(text: str, stop: list[str], size: int) -> None:
    found = [(place + len(string), place) for string in stop if (place := text.find(string)) >= 0]
    expected = text[: min(found)[1]] if found else text  # the one that is complete first
    pieces = [text[i : i + size] for i in range(0, len(text), size)]  # tokens of any length
    assert "".join(show(range(len(pieces)), lambda ids: "".join(pieces[i] for i in ids), stop)) == expected


def test_what_may_become_a_stop_string_is_held_back() -> None:
    stream = TextStream(ByteTokenizer().decode, ["<end>"])
    assert [stream.push(token) for token in b"a<en"] == ["a", "", "", ""]
    assert stream.push(ord("x")) == "<enx"


def test_a_decoder_that_treats_the_first_token_differently_is_given_the_one_before() -> None:
    words = ["▁One", "▁note", "▁more"]

    def decode(ids: list[int]) -> str:
        return "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" ")

    stream = TextStream(decode, context=[0])
    assert [stream.push(1), stream.push(2), stream.finish()] == [" note", " more", ""]
