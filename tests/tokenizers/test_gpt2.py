"""GPT-2's byte-pair encoding: the ids of REFERENCE, round trips, and files of a folder of its own."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqlab.errors import UserError
from seqlab.tokenizers.gpt2 import GPT2Tokenizer

TEA = "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace."
TEA_IDS = [
    15496,
    11,
    466,
    345,
    588,
    8887,
    30,
    220,
    50256,
    554,
    262,
    4252,
    18250,
    8812,
    2114,
    1659,
    617,
    34680,
    27271,
    13,
]


@cache
def tokenizer(shared: Path) -> GPT2Tokenizer:
    return GPT2Tokenizer(folders=[str(shared)])


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world!", [15496, 995, 0]),
        ("Moodeng deng oohlala", [44, 702, 1516, 288, 1516, 267, 48988, 6081]),
        ("After a year of working hard", [3260, 257, 614, 286, 1762, 1327]),
        ("", []),
    ],
)
def test_published_ids(shared: Path, text: str, ids: list[int]) -> None:
    assert tokenizer(shared).encode(text) == ids
    assert tokenizer(shared).decode(ids) == text


def test_the_end_token_is_special_only_where_it_is_allowed(shared: Path) -> None:
    gpt2 = tokenizer(shared)
    assert (gpt2.vocab_size, gpt2.eos_id) == (50_257, 50_256)
    assert gpt2.encode(TEA, special=True) == TEA_IDS
    ordinary = gpt2.encode(TEA)
    assert gpt2.eos_id not in ordinary
    assert gpt2.decode(ordinary) == gpt2.decode(TEA_IDS) == TEA


def test_the_verdict(shared: Path) -> None:
    text = (shared / "the-verdict.txt").read_text()
    ids = tokenizer(shared).encode(text)
    assert (len(text), len(ids), len(set(ids))) == (20_479, 5_145, 1_416)
    assert tokenizer(shared).decode(ids) == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(text=st.text())
def test_every_text_round_trips(shared: Path, text: str) -> None:
    gpt2 = tokenizer(shared)
    ids = gpt2.encode(text)
    assert gpt2.decode(ids) == text
    assert all(0 <= i < gpt2.vocab_size - 1 for i in ids)


def test_the_bytes_of_tokens_add_up_to_those_of_a_text(shared: Path) -> None:
    lengths = tokenizer(shared).byte_lengths()
    assert len(lengths) == 50_257
    for text in ((shared / "the-verdict.txt").read_text(), "déjà vu 🙂🙂, 一二三 \x00"):
        assert sum(lengths[i] for i in tokenizer(shared).encode(text)) == len(text.encode())
    assert lengths[tokenizer(shared).eos_id] == 0


def test_save_and_load(shared: Path, tmp_path: Path) -> None:
    tokenizer(shared).save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"vocab.json", "merges.txt"}
    loaded = GPT2Tokenizer.load(tmp_path)
    assert (loaded.vocab_size, loaded.eos_id) == (50_257, 50_256)
    assert loaded.encode(TEA, special=True) == TEA_IDS
    (tmp_path / "again").mkdir()
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "merges.txt").read_bytes() == (tmp_path / "merges.txt").read_bytes()


def test_a_folder_gives_both_libraries_the_same_ids(shared: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer(shared).save(tmp_path)
    theirs = transformers.GPT2Tokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    text = (shared / "the-verdict.txt").read_text()[:2000] + " déjà vu 🙂\n\n  two"
    assert GPT2Tokenizer.load(tmp_path).encode(text) == theirs.encode(text)


def test_a_tokenizer_leaves_the_files_and_tiktokens_cache_alone(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))
    before = {file.name: file.stat().st_mtime_ns for file in (shared / "tiktoken_cache").iterdir()}
    GPT2Tokenizer(folders=[str(shared)])
    assert not (tmp_path / "tiktoken").exists()
    assert {file.name: file.stat().st_mtime_ns for file in (shared / "tiktoken_cache").iterdir()} == before


def test_without_files_and_network_the_remedy_is_another_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer=byte or tokenizer=char"):
        GPT2Tokenizer(folders=[str(tmp_path)])
