"""Tokenizers of Hugging Face folders: the ids of transformers, special tokens, round trips, and files that are not there."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqlab.errors import UserError
from seqlab.tokenizers.hf import HFTokenizer

tokenizers = pytest.importorskip("tokenizers")
END = "<|im_end|>"


def train(folder: Path, story: Path, **config: Any) -> Path:
    """A folder with a byte-level BPE that was trained on the story."""
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train([str(story)], vocab_size=300, special_tokens=["<|im_start|>", END])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END} | config))
    return folder


@pytest.fixture
def folder(tmp_path: Path, story: Path) -> Path:
    return train(tmp_path / "hf", story)


def test_ids_are_those_of_transformers(folder: Path, story: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    ours, text = HFTokenizer(str(folder)), story.read_text()
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
    assert ours.decode(ours.encode(text)) == text
    assert ours.eos_id == theirs.eos_token_id == 1
    assert ours.vocab_size == len(theirs)


def test_special_tokens_are_tokens_only_where_they_are_allowed(folder: Path) -> None:
    tokenizer = HFTokenizer(str(folder))
    assert tokenizer.encode(f"a{END}", special=True)[-1] == tokenizer.eos_id
    plain = tokenizer.encode(f"a{END}")
    assert tokenizer.eos_id not in plain
    assert tokenizer.decode(plain) == f"a{END}"
    assert tokenizer.decode([tokenizer.eos_id]) == ""


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_text_round_trips_and_its_bytes_are_counted(text: str, folder: Path) -> None:
    tokenizer = HFTokenizer(str(folder))
    ids, lengths = tokenizer.encode(text), tokenizer.byte_lengths()
    assert tokenizer.decode(ids) == text
    assert sum(lengths[i] for i in ids) == len(text.encode())


PIECES = tokenizers.pre_tokenizers
LLAMA_3 = (  # how its tokenizer.json splits a text; Qwen's has \\p{N} in place of \\p{N}{1,3}
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
AS_LETTERS = PIECES.ByteLevel(add_prefix_space=False, use_regex=False)
SPLITS = {
    "gpt2": (PIECES.ByteLevel(add_prefix_space=False), None, True),
    "llama3": (PIECES.Sequence([PIECES.Split(tokenizers.Regex(LLAMA_3), "isolated"), AS_LETTERS]), None, True),
    "smollm2": (PIECES.Sequence([PIECES.Digits(True), PIECES.ByteLevel(add_prefix_space=False)]), None, True),
    "normalized": (PIECES.ByteLevel(add_prefix_space=False), tokenizers.normalizers.NFC(), True),
    "unsplit": (AS_LETTERS, None, False),
    "prefixed": (PIECES.ByteLevel(add_prefix_space=True), None, False),
    "llama2": (PIECES.Metaspace(prepend_scheme="always", split=False), None, False),
    "lines": (PIECES.Sequence([PIECES.Split("\n", "isolated"), AS_LETTERS]), None, False),
}


@pytest.mark.parametrize("kind", SPLITS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_text_is_cut_only_where_its_tokens_stay(kind: str, data: Any, folder: Path, story: Path) -> None:
    split, normalizer, may_cut = SPLITS[kind]
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    library.pre_tokenizer, library.decoder = split, tokenizers.decoders.ByteLevel()
    if normalizer:
        library.normalizer = normalizer
    letters = PIECES.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=letters, special_tokens=[END], show_progress=False
    )
    library.train_from_iterator([story.read_text()], trainer)
    library.save(str(folder / "tokenizer.json"))
    tokenizer = HFTokenizer(str(folder))
    assert (tokenizer.cut_pattern is not None) == may_cut
    if may_cut:
        words = st.sampled_from(["river", "it's", "12345", "Été", "e\u0301", "中文", "!?", "_", END, "\u0301", "don"])
        spaces = st.sampled_from([" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u2028", " \n ", ""])
        text = "".join(data.draw(st.lists(st.one_of(words, spaces, st.characters(exclude_categories=["Cs"])))))
        ends = [0, *(found.end() for found in tokenizer.cut_pattern.finditer(text)), len(text)]
        pieces = [text[start:end] for start, end in pairwise(ends)]
        for special in (False, True):
            assert [i for piece in pieces for i in tokenizer.encode(piece, special)] == tokenizer.encode(text, special)


def test_an_added_token_across_words_forbids_cuts(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    assert HFTokenizer(str(folder)).cut_pattern
    for change in ({"content": "two words"}, {"rstrip": True}, {"single_word": True}):
        changed = content | {"added_tokens": [*content["added_tokens"][:1], content["added_tokens"][1] | change]}
        (folder / "tokenizer.json").write_text(json.dumps(changed))
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_start|>"}))
        assert HFTokenizer(str(folder)).cut_pattern is None, change


def test_what_is_saved_is_what_is_loaded(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    tokenizer = HFTokenizer(str(folder / "tokenizer.json"))
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    again = HFTokenizer.load(tmp_path / "saved")
    assert (again.eos_id, again.vocab_size) == (tokenizer.eos_id, tokenizer.vocab_size)
    assert again.encode("The river") == tokenizer.encode("The river")
    names = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert {file.name for file in (tmp_path / "saved").iterdir()} == names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tokenizer_config.json", {"eos_token": {"content": END}}),
        ("special_tokens_map.json", {"eos_token": END}),
        ("generation_config.json", {"eos_token_id": [1, 0]}),
        ("config.json", {"eos_token_id": 1}),
    ],
)
def test_the_end_token_is_where_a_folder_says_it(name: str, said: dict, folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="does not say which token ends a text"):
        HFTokenizer(str(folder))
    (folder / name).write_text(json.dumps(said))
    tokenizer = HFTokenizer(str(folder))
    assert tokenizer.eos_id == 1
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    assert HFTokenizer.load(tmp_path / "saved").eos_id == 1


def test_a_tokenizer_that_does_not_work_on_bytes_measures_none(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"</s>": 0, "a": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    tokenizer = HFTokenizer(str(tmp_path))
    assert tokenizer.encode("a b") == [1, 2]
    assert not hasattr(tokenizer, "byte_lengths")


def test_a_folder_without_a_tokenizer_or_with_a_damaged_one_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no .*nowhere/tokenizer.json: name a folder"):
        HFTokenizer(str(tmp_path / "nowhere"))
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer.json is damaged"):
        HFTokenizer(str(folder))


def test_truncation_and_padding_of_a_file_are_switched_off(folder: Path, story: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=12)
    tokenizer.save(str(folder / "tokenizer.json"))
    ours, text = HFTokenizer(str(folder)), story.read_text()
    assert ours.decode(ours.encode(text)) == text
    assert len(ours.encode("a")) == 1


def test_an_end_token_that_the_tokenizer_does_not_know_is_not_kept(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": 1}))
    (tmp_path / "saved").mkdir()
    HFTokenizer(str(folder)).save(tmp_path / "saved")
    assert HFTokenizer.load(tmp_path / "saved").eos_id == 1
