"""Tokenizers written for transformers give the ids of the tokenizer itself, for every text."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from commands import write_r50k_base
from seqlab.tokenizers.bpe import BPETokenizer
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.char import CharTokenizer
from seqlab.tokenizers.encoding import TiktokenTokenizer
from seqlab.tokenizers.hf_format import build_byte_bpe

ALPHABET = "ab 'stld.,\n\t1234é🙂\u2028\x00<|>"


@cache
def written(name: str, shared: Path, folder: Path) -> tuple[Any, Any]:
    """A tokenizer, and what transformers opens of it."""
    text = (shared / "the-verdict.txt").read_text()
    write_r50k_base(folder, shared)
    ours: Any = {
        "bpe": lambda: BPETokenizer([text], size=600),
        "tiktoken": lambda: TiktokenTokenizer("r50k_base", [str(folder)]),
        "byte": ByteTokenizer,
        "char": lambda: CharTokenizer([ALPHABET]),
    }[name]()
    (folder / name).mkdir()
    ours.save_to_hf(folder / name)
    return ours, transformers.AutoTokenizer.from_pretrained(folder / name)


@pytest.mark.parametrize("name", ["bpe", "byte", "char", pytest.param("tiktoken", marks=pytest.mark.long)])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=ALPHABET, max_size=60))
def test_ids_and_text_are_the_same(
    name: str, text: str, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"hf-{name}"
    folder.mkdir(exist_ok=True)
    ours, theirs = written(name, shared, folder)
    ids = ours.encode(text)
    assert theirs.encode(text.replace("<|", "<"), add_special_tokens=False) == ours.encode(text.replace("<|", "<"))
    assert theirs.decode(ids) == ours.decode(ids) == text
    assert theirs.eos_token_id == ours.eos_id
    assert theirs.encode("<|endoftext|>", add_special_tokens=False) == [ours.eos_id]


@pytest.mark.long  # of 50,000 tokens all merges are looked for
def test_a_story_keeps_its_ids(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("hf")
    ours, theirs = written("tiktoken", shared, folder)
    text = (shared / "tinyshakespeare.txt").read_text()[:100_000]
    assert theirs.encode(text, add_special_tokens=False) == ours.encode(text)


@pytest.mark.parametrize("name", ["r50k_base", "p50k_base", "cl100k_base", "o200k_base"])
@settings(max_examples=40)
@given(text=st.text(alphabet=ALPHABET + "ABSTL'/\r", max_size=60))
def test_every_pattern_of_tiktoken_splits_a_text_as_there(name: str, text: str) -> None:
    """With the 256 bytes as the only tokens, of which a piece is made: what is asked is where a piece begins."""
    import regex

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
        pattern = openai_public.ENCODING_CONSTRUCTORS[name]()["pat_str"]
    split = build_byte_bpe({bytes([i]): i for i in range(256)}, pattern, {}).pre_tokenizer[0]
    pieces = [piece for piece, _ in split.pre_tokenize_str(text)]
    assert pieces == [match.group() for match in regex.finditer(pattern, text)]
