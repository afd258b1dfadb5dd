"""Tokens on disk are those of the text, whatever the pieces, the shards, the processes and the kills."""

import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands import write_r50k_base, write_tokenizer
from seqlab.data import corpus, shards
from seqlab.data.corpus import build_corpus
from seqlab.data.shards import TokenFolder, TokenStream, open_tokens
from seqlab.data.text import TextDataModule
from seqlab.errors import UserError
from seqlab.tokenizers.base import WORD_END
from seqlab.tokenizers.bpe import BPETokenizer
from seqlab.tokenizers.byte import ByteTokenizer
from seqlab.tokenizers.char import CharTokenizer
from seqlab.tokenizers.encoding import TiktokenTokenizer
from seqlab.tokenizers.gpt2 import GPT2Tokenizer
from seqlab.tokenizers.hf import HFTokenizer
from seqlab.tokenizers.word import WordTokenizer

WORDS = [
    "a",
    "It's",
    "\n",
    "\n\n",
    " ",
    "  \n",
    "don't",
    "12",
    "345,6",
    "é",
    "🙂",
    "\r\n",
    "//",
    "/\n/",
    "x\ny",
    "\u2028",
    "一\n二",
]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and shards of a few characters."""
    monkeypatch.setattr(corpus, "PIECE_CHARACTERS", 40)
    monkeypatch.setattr(shards, "PIECE_CHARACTERS", 40)
    monkeypatch.setattr(shards, "SHARD_CHARACTERS", 200)


def read(path: Any, tokenizer: Any, special_tokens: bool = False, **config: Any) -> TokenFolder:
    return open_tokens(build_corpus(**{"path": str(path), **config}), tokenizer, special_tokens)


def ids(tokens: TokenFolder) -> list[int]:
    return [i for stream in tokens.streams.values() for i in stream[:].tolist()]


@given(st.lists(st.integers(0, 5), max_size=6), st.data())
def test_a_slice_of_a_stream_is_that_of_all_its_shards(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    whole = np.arange(sum(sizes), dtype=np.uint16)
    folder, files = tmp_path_factory.mktemp("shards"), []
    for number, part in enumerate(np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []):
        files.append(folder / f"{number}.npy")
        np.save(files[-1], part)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    stream = pickle.loads(
        pickle.dumps(TokenStream(files, sizes, start, stop))
    )  # as a worker that is not forked gets it
    where = slice(data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9)))
    assert len(stream) == stop - start
    assert stream[where].tolist() == whole[start:stop][where].tolist()
    assert stream[:].tolist() == whole[start:stop].tolist()


@cache
def tokenizers(shared: Path, folder: Path) -> dict[str, Any]:
    write_r50k_base(folder, shared)
    write_tokenizer(folder / "hf")
    text = (shared / "the-verdict.txt").read_text() + "".join(WORDS)
    return {
        "gpt2": GPT2Tokenizer([str(shared)]),
        "tiktoken": TiktokenTokenizer("r50k_base", [str(folder)]),
        "bpe": BPETokenizer([text], size=400),
        "byte": ByteTokenizer(),
        "char": CharTokenizer([text]),
        "word": WordTokenizer([text]),
        "hf": HFTokenizer(str(folder / "hf")),
    }


@pytest.mark.parametrize("name", ["gpt2", "tiktoken", "bpe", "byte", "char", "word", "hf"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=150))
def test_pieces_have_the_tokens_of_the_whole(
    shared: Path, tmp_path_factory: pytest.TempPathFactory, name: str, words: list[str]
) -> None:
    tokenizer = tokenizers(shared, tmp_path_factory.getbasetemp() / "tokenizers")[name]
    text, folder = "".join(words), tmp_path_factory.mktemp("a")
    (folder / "a.txt").write_bytes(text.encode())
    if not text.strip():
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQLAB_CACHE", str(folder / "cache"))
        patch.setattr(corpus, "PIECE_CHARACTERS", 10)
        patch.setattr(shards, "PIECE_CHARACTERS", 10)
        patch.setattr(shards, "SHARD_CHARACTERS", 50)
        tokens = read(folder / "a.txt", tokenizer, val_fraction=0, normalize=False)
    assert ids(tokens) == tokenizer.encode(text)


def test_encodings_of_tiktoken_have_no_token_across_a_line_break(shared: Path, tmp_path: Path) -> None:
    """All patterns that tiktoken splits a text by, also those whose published files are not here."""
    import regex
    from tiktoken_ext import openai_public

    text = ("".join(WORDS) * 9 + (shared / "tinyshakespeare.txt").read_text()[:30_000]).replace(" ", " ", 1)
    places = [match.start() for match in WORD_END.finditer(text)]
    assert len(places) > 100
    patterns = [openai_public.r50k_pat_str]
    source = Path(openai_public.__file__).read_text()
    assert source.count("pat_str") > 4
    for name in ("cl100k_base", "o200k_base"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
            patterns.append(openai_public.ENCODING_CONSTRUCTORS[name]()["pat_str"])
    for pattern in patterns:
        compiled = regex.compile(pattern)
        whole = [match.group() for match in compiled.finditer(text)]
        cut = [0, *places, len(text)]
        pieces = [m.group() for a, b in pairwise(cut) for m in compiled.finditer(text[a:b])]
        assert pieces == whole


def test_documents_end_with_an_end_token_where_there_are_several(tmp_path: Path) -> None:
    folder, tokenizer = tmp_path / "texts", ByteTokenizer()
    folder.mkdir()
    for name, text in (("a.txt", "one"), ("b.txt", ""), ("c.txt", "two")):
        (folder / name).write_text(text)
    assert ids(read(folder, tokenizer, split_by="characters", val_fraction=0)) == [*b"one", 256, *b"two", 256]
    assert ids(read(folder / "a.txt", tokenizer, val_fraction=0)) == [*b"one"]
    cut = read(folder, tokenizer, split_by="characters", val_fraction=0.4)
    assert cut.streams["train"][:].tolist() == [*b"one", 256]
    assert cut.streams["val"][:].tolist() == [*b"two", 256]


def test_split_by_tokens_as_published(shared: Path) -> None:
    tokens = read(shared / "the-verdict.txt", GPT2Tokenizer([str(shared)]), split_by="tokens")
    assert {split: len(stream) for split, stream in tokens.streams.items()} == {"train": 4_630, "val": 515}
    assert ids(tokens) == ids(read(shared / "the-verdict.txt", GPT2Tokenizer([str(shared)]), val_fraction=0))


def test_tokens_are_encoded_once_and_anew_for_whatever_they_depend_on(
    story: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write = shards.write_tokens
    monkeypatch.setattr(shards, "write_tokens", lambda *args: (written.append(args[3]), write(*args)))
    tokenizer = ByteTokenizer()
    first = read(story, tokenizer)
    assert len(first.streams["train"].files) > 3
    assert first.streams["train"][:].dtype == np.uint16
    assert ids(read(story, tokenizer)) == ids(first)
    assert len(written) == 1
    moved = story.rename(story.with_name("moved.txt"))
    assert ids(read(moved, tokenizer)) == ids(first), "the same bytes elsewhere"
    assert len(written) == 1
    changes: list[dict[str, Any]] = [{"val_fraction": 0.2}, {"split_by": "tokens"}, {"normalize": False}]
    for change in changes:
        read(moved, tokenizer, **change)
    read(moved, CharTokenizer([moved.read_text()]))
    moved.write_text(moved.read_text().replace("river", "rover"))
    changed = read(moved, tokenizer)
    assert len(written) == 6
    assert len(set(written)) == 6
    assert bytes(ids(changed)).decode() == moved.read_text()


def test_what_is_wrong_in_the_cache_is_said(story: Path, small: None) -> None:
    tokens = read(story, ByteTokenizer())
    file = tokens.folder / "train-00001.npy"
    whole, index = file.read_bytes(), (tokens.folder / "index.json").read_text()
    for damaged in (whole[:-7], b"", whole[:100], whole.replace(b"'descr': '<u2'", b"'descr': '|O' ")):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"is damaged \(.*\): remove .*, and the text is encoded again"):
            read(story, ByteTokenizer())
    file.write_bytes(whole[:-7] + b"altered")
    with pytest.raises(UserError, match=r"is damaged \(a shard holds other tokens than were written\): remove"):
        read(story, ByteTokenizer())
    for change in ({"size": "a"}, {"shards": {"train": 5}}, {"shards": None}, {"sha256": {}}):
        (tokens.folder / "index.json").write_text(json.dumps(json.loads(index) | change))
        with pytest.raises(UserError, match=r"is damaged \(.*\): remove"):
            read(story, ByteTokenizer())
    (tokens.folder / "index.json").write_text(index)
    file.write_bytes(whole)
    shards.open_shard.cache_clear()
    other = read(story, CharTokenizer([story.read_text()]))
    shutil.copy(other.folder / "index.json", tokens.folder / "index.json")
    with pytest.raises(UserError, match="has the tokens of another text or tokenizer"):
        read(story, ByteTokenizer())
    (tokens.folder / "index.json").write_text(index[:50])
    with pytest.raises(UserError, match=r"index.json is damaged"):
        read(story, ByteTokenizer())


def test_shards_that_are_finished_are_kept(story: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(ByteTokenizer):
        calls = 0

        def encode_to_array(self, text: str) -> np.ndarray:
            Counting.calls += len(text)
            return super().encode_to_array(text)

    whole = ids(first := read(story, Counting()))
    assert len(whole) == Counting.calls == len(story.read_text())
    (first.folder / "index.json").unlink()  # as a kill leaves it
    (first.folder / "train-00003.npy").unlink()
    (first.folder / ".train-00003.npy.seqlab").write_bytes(b"half")
    Counting.calls = 0
    again = read(story, Counting())
    assert ids(again) == whole
    assert 0 < Counting.calls < 300
    assert not list(again.folder.glob("*.seqlab"))


def test_an_id_outside_the_vocabulary_is_refused(story: Path) -> None:
    class Wrong(ByteTokenizer):
        def encode_to_array(self, text: str) -> np.ndarray:
            return super().encode_to_array(text).astype(np.int64) + 200

    with pytest.raises(UserError, match=r"The tokenizer gives the id \d+, and its vocab_size is 257: fix its encode"):
        read(story, Wrong())


def test_processes_that_start_together_encode_once(story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    results, written = context.Queue(), context.Value("i", 0)
    write = shards.write_tokens

    def count_and_write(*args: Any) -> None:
        with written:
            written.value += 1
        write(*args)

    monkeypatch.setattr(shards, "write_tokens", count_and_write)
    processes = [
        context.Process(target=lambda: results.put(bytes(ids(read(story, ByteTokenizer()))).decode())) for _ in range(4)
    ]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [story.read_text()] * 4
    for process in processes:
        process.join()
    assert written.value == 1


def test_where_the_cache_cannot_be_written_tokens_are_temporary(
    story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEQLAB_CACHE", str(tmp_path / "file" / "cache"))
    tokens = read(story, ByteTokenizer())
    assert bytes(ids(tokens)).decode() == story.read_text()
    assert "seqlab-tokens" in str(tokens.folder)
    shutil.rmtree(tokens.folder)


def test_a_text_that_changes_while_it_is_read_is_refused(story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Changing(ByteTokenizer):
        def encode_to_array(self, text: str) -> np.ndarray:
            story.write_text("another text")
            return super().encode_to_array(text)

    with pytest.raises(UserError, match="has changed while it was read"):
        read(story, Changing())
    assert not list(Path(shards.cache_folder()).rglob("index.json"))


def test_special_tokens_are_other_tokens(tmp_path: Path, shared: Path) -> None:
    (tmp_path / "a.txt").write_text("One.<|endoftext|>Two.")
    tokenizer = GPT2Tokenizer([str(shared)])
    with_end = ids(read(tmp_path / "a.txt", tokenizer, special_tokens=True, val_fraction=0))
    assert with_end.count(tokenizer.eos_id) == 1
    assert tokenizer.eos_id not in ids(read(tmp_path / "a.txt", tokenizer, val_fraction=0))
    index = json.loads(next(shards.cache_folder().rglob("index.json")).read_text())
    assert index["size"] == [1, 21, 21]


def test_prose_is_cut_into_pieces(shared: Path, small: None) -> None:
    pieces = [
        piece.text for _, piece in build_corpus(**{"path": str(shared / "the-verdict.txt")}).read_pieces(WORD_END)
    ]
    assert max(map(len, pieces)) < 3 * corpus.PIECE_CHARACTERS


MANY = """
import resource, sys
from pathlib import Path
from seqlab.data.shards import TokenStream, open_shard
resource.setrlimit(resource.RLIMIT_NOFILE, (open_shard.cache_parameters()["maxsize"] + 40,) * 2)
stream = TokenStream([Path(sys.argv[1], f"{number}.npy") for number in range(400)], [3] * 400)
print(sum(int(stream[3 * number + 1 : 3 * number + 2][0]) for number in range(400)))
"""


def test_more_shards_than_a_process_may_open(tmp_path: Path) -> None:
    for number in range(400):
        np.save(tmp_path / f"{number}.npy", np.arange(3, dtype=np.uint16))
    done = subprocess.run([sys.executable, "-c", MANY, tmp_path], capture_output=True, text=True)
    assert done.stdout == "400\n", done.stderr


def test_the_same_bytes_in_another_format_are_another_text(tmp_path: Path) -> None:
    line = json.dumps({"text": "one"})
    for name in ("a/1.txt", "a/2.jsonl", "b/1.jsonl", "b/2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(line)
    first, second = (ids(read(tmp_path / folder, ByteTokenizer(), val_fraction=0)) for folder in ("a", "b"))
    assert first == [*line.encode(), 256, *b"one", 256]
    assert second == [*b"one", 256, *line.encode(), 256]


def test_a_split_without_tokens_is_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0123456789")
    tokens = read(tmp_path / "a.txt", ByteTokenizer(), val_fraction=0.95)
    assert {split: len(stream) for split, stream in tokens.streams.items()} == {"train": 0, "val": 10}
    with pytest.raises(UserError, match=r"The train split of a.txt has 0 tokens"):
        TextDataModule(str(tmp_path / "a.txt"), ByteTokenizer(), val_fraction=0.95).setup()
