"""Encodings of tiktoken: the published ones by their names, and one that was saved with a run."""

from pathlib import Path

import pytest
import tiktoken

from commands import write_r50k_base
from seqlab.errors import UserError
from seqlab.tokenizers.encoding import ENCODING_CONSTRUCTORS, SHARED_FILES, TiktokenTokenizer
from seqlab.tokenizers.gpt2 import GPT2Tokenizer

TEXT = "Hello, do you like tea? <|endoftext|> In the sunlit terraces — naïve 🙂\r\n\t  ok"


def test_a_published_encoding_is_found_in_the_folders_of_data(shared: Path, tmp_path: Path) -> None:
    write_r50k_base(tmp_path, shared)
    ours, gpt2 = TiktokenTokenizer("r50k_base", folders=[str(tmp_path)]), GPT2Tokenizer(folders=[str(shared)])
    assert (ours.vocab_size, ours.eos_id) == (50_257, 50_256)
    for special in (False, True):
        assert ours.encode(TEXT, special) == gpt2.encode(TEXT, special)
    assert ours.byte_lengths() == gpt2.byte_lengths()
    assert ours.decode(ours.encode(TEXT)) == TEXT


def test_what_is_saved_needs_no_published_file(shared: Path, tmp_path: Path) -> None:
    write_r50k_base(tmp_path, shared)
    ours = TiktokenTokenizer("r50k_base", folders=[str(tmp_path)])
    (tmp_path / "saved").mkdir()
    ours.save(tmp_path / "saved")
    again = TiktokenTokenizer.load(tmp_path / "saved")
    for special in (False, True):
        assert again.encode(TEXT, special) == ours.encode(TEXT, special)
    assert (again.vocab_size, again.eos_id) == (ours.vocab_size, ours.eos_id)


def test_every_encoding_of_the_library_has_a_name_here_but_gpt2s_own() -> None:
    names = TiktokenTokenizer.__init__.__annotations__["name"].__args__
    assert {*names, "gpt2"} == set(ENCODING_CONSTRUCTORS)
    assert set(SHARED_FILES) <= set(names)


def test_a_file_that_is_nowhere_is_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    with pytest.raises(UserError, match=r"cl100k_base.tiktoken cannot be reached .*tokenizer=gpt2, byte or char"):
        TiktokenTokenizer("cl100k_base", folders=[str(tmp_path)])


def test_ids_that_stand_for_nothing_have_no_bytes() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    special = {"<|endoftext|>": 300}
    tokenizer = TiktokenTokenizer.__new__(TiktokenTokenizer).set_encoding(
        tiktoken.Encoding("gaps", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens=special)
    )
    assert tokenizer.byte_lengths() == [1] * 256 + [0] * 45
