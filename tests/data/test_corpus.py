"""Which files a path names, which document goes where, and where a long text may be cut."""

import json
import os
import re
from itertools import chain, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data import corpus
from seqlab.data.corpus import Corpus, build_corpus, find_texts
from seqlab.errors import UserError
from seqlab.tokenizers.base import ANYWHERE, WORD_END


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder with files of some kinds."""
    folder = tmp_path / "texts"
    for name in ("b.txt", "a.md", "sub/c.jsonl.gz", "sub/d.py", ".hidden/e.txt", "sub/.f.txt", "g.TXT", "h.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def names(files: list[Path], folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in files]


def test_a_folder_is_its_texts_in_order(texts: Path) -> None:
    assert names(find_texts(str(texts)), texts) == ["a.md", "b.txt", "g.TXT", "sub/c.jsonl.gz"]
    assert names(find_texts(str(texts), suffixes=[".py"]), texts) == ["sub/d.py"]
    with pytest.raises(UserError, match=r"no files that end in .c; there are .bin, .jsonl, .md, .py, .txt: name them"):
        find_texts(str(texts), suffixes=[".c"])
    with pytest.raises(UserError, match=r"no files that end in py; .*: name them with data.suffixes=\[.py\]"):
        find_texts(str(texts), suffixes=["py"])
    with pytest.raises(UserError, match=r"data.suffixes=\[\] names none"):
        find_texts(str(texts), suffixes=[])
    assert names(find_texts(str(texts), suffixes=[".TXT"]), texts) == ["b.txt", "g.TXT"]


def test_what_is_no_file_is_not_read(texts: Path) -> None:
    os.mkfifo(texts / "pipe.txt")  # reading it would never end
    assert "pipe.txt" not in names(find_texts(str(texts)), texts)
    with pytest.raises(UserError, match=r"pipe.txt is not a regular file"):
        find_texts(str(texts / "pipe.txt"))
    (texts / "gone.txt").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"gone.txt is a link to a file that is not there: remove it"):
        find_texts(str(texts))
    (texts / "gone.txt").unlink()
    (texts / "loop.txt").symlink_to("loop.txt")
    with pytest.raises(UserError, match=r"loop.txt is a link to a file that is not there"):
        find_texts(str(texts))


def test_addresses_and_names_that_look_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^http://127.0.0.1:9/a.txt cannot be reached .*: download it yourself"):
        find_texts("http://127.0.0.1:9/a.txt")
    with pytest.raises(UserError, match=r"data.path=s3://bucket/a.txt begins with s3://"):
        find_texts("s3://bucket/a.txt")
    monkeypatch.chdir(tmp_path)
    Path("~nobody-of-this-name.txt").write_text("A file all the same.")
    assert names(find_texts("~nobody-of-this-name.txt"), tmp_path) == ["~nobody-of-this-name.txt"]
    with pytest.raises(UserError, match=r"There is no file ~nobody/a.txt"):
        find_texts("~nobody/a.txt")


def test_a_key_without_records_is_refused(story: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.key=body has no effect: story.txt is plain text"):
        build_corpus(str(story), key="body")
    (tmp_path / "a.jsonl").write_text('{"body": "text"}')
    assert build_corpus([str(story), str(tmp_path / "a.jsonl")], key="body").reader.key == "body"


def test_patterns_and_lists(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(find_texts(f"{texts}/*.txt"), texts) == ["b.txt"]
    assert names(find_texts(f"{texts}/**/*.py"), texts) == ["sub/d.py"]
    assert names(find_texts([f"{texts}/g.TXT", str(texts)]), texts) == ["g.TXT", "a.md", "b.txt", "sub/c.jsonl.gz"]
    (texts / "[1].txt").write_text("a name that looks like a pattern")
    assert names(find_texts(f"{texts}/[1].txt"), texts) == ["[1].txt"]
    monkeypatch.setenv("SEQLAB_DATA", str(texts.parent))
    assert find_texts("texts/*.md") == find_texts(str(texts / "a.md"))
    assert len(find_texts("texts")) == 5
    with pytest.raises(UserError, match=r"There is no file texts/\*.rst \(looked in"):
        find_texts("texts/*.rst")


def split(corpus: Corpus, cut: re.Pattern | None = None) -> dict[str, list[str]]:
    """Split -> its documents."""
    splits: dict[str, list[str]] = {}
    goes_on: dict[str, bool] = {}
    for owner, (text, ends) in corpus.read_pieces(cut):
        documents = splits.setdefault(owner, [])
        if goes_on.get(owner):
            documents[-1] += text
        else:
            documents.append(text)
        goes_on[owner] = not ends
    return splits


def write_documents(folder: Path, documents: list[str]) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    return path


def test_one_document_is_split_by_characters(story: Path) -> None:
    text = story.read_text()
    parts = split(build_corpus(**{"path": str(story), "val_fraction": 0.2, "test_fraction": 0.1}))
    assert "".join(part for split in ("train", "val", "test") for part in parts[split]) == text
    assert [len(parts[name][0]) / len(text) for name in ("train", "val", "test")] == pytest.approx(
        [0.7, 0.2, 0.1], abs=1e-3
    )


@given(st.lists(st.text(max_size=12), max_size=8), st.sampled_from([0.0, 0.1, 0.34]), st.sampled_from([0.0, 0.25]))
def test_split_by_characters_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, documents: list[str], val_fraction: float, test_fraction: float
) -> None:
    path = write_documents(tmp_path_factory.mktemp("a"), documents)
    of = {"val_fraction": val_fraction, "test_fraction": test_fraction, "normalize": False, "split_by": "characters"}
    if not "".join(documents).strip():
        return
    parts = split(build_corpus(**{"path": str(path), **of}))
    total = "".join(documents)
    assert "".join(text for name in ("train", "val", "test") for text in parts.get(name, [])) == total
    first = int(len(total) * (1 - val_fraction - test_fraction) + 1e-9)
    assert "".join(parts.get("train", [])) == total[:first]


def test_documents_are_drawn_for_validation_and_test(tmp_path: Path) -> None:
    documents = [f"Document {number}." for number in range(40)]
    path = write_documents(tmp_path, ["", *documents])
    parts = split(build_corpus(**{"path": str(path), "val_fraction": 0.1, "test_fraction": 0.2}))
    assert {name: len(texts) for name, texts in parts.items()} == {"train": 28, "val": 4, "test": 8}
    assert sorted(chain(*parts.values())) == sorted(documents)
    assert parts["val"] != documents[-4:], "the last ones, which may be of another kind"
    assert parts == split(build_corpus(**{"path": str(path), "val_fraction": 0.1, "test_fraction": 0.2}))


def test_empty_files_are_skipped_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("One.")
    for name in ("2.txt", "3.jsonl", "4.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "5.json").write_text("[]")
    (tmp_path / "6.jsonl").write_text('{"text": "Six."}')
    corpus = build_corpus(str(tmp_path))
    assert list(map("".join, corpus.read_documents())) == ["One.", "Six."]


def test_splits_that_cannot_be_are_refused(tmp_path: Path, story: Path) -> None:
    path = write_documents(tmp_path, ["One.", "Two."])
    with pytest.raises(UserError, match="There are 2 documents, too few for splits of them"):
        split(build_corpus(**{"path": str(path), "val_fraction": 0.1, "test_fraction": 0.1}))
    with pytest.raises(UserError, match=r"data.split_by=documents needs several documents"):
        split(build_corpus(**{"path": str(story), "split_by": "documents"}))
    with pytest.raises(UserError, match="leave nothing to train on"):
        build_corpus(**{"path": str(story), "val_fraction": 0.6, "test_fraction": 0.6})
    (tmp_path / "1.txt").write_text(" \n")
    (tmp_path / "2.txt").write_text("")
    with pytest.raises(UserError, match="All 2 files are empty"):
        split(build_corpus(**{"path": f"{tmp_path}/?.txt"}))


@pytest.mark.parametrize("cut", [None, WORD_END, ANYWHERE])
def test_a_long_document_is_cut_where_it_may_be(
    cut: re.Pattern | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "PIECE_CHARACTERS", 20)
    text = "A line with a few words in it\nand the next one.\n\nNo cut here\n and not here:\nhere\nis one 12\n34 " * 5
    (tmp_path / "a.txt").write_text(text)
    whole = build_corpus(**{"path": str(tmp_path / "a.txt"), "val_fraction": 0})
    pieces = [piece.text for _, piece in whole.read_pieces(cut)]
    assert "".join(pieces) == text
    ends = {(piece[-2:], following[0]) for piece, following in pairwise(pieces)}
    if cut is None:
        assert not ends
    elif cut is WORD_END:
        assert all(before[1].isalnum() and after.isspace() for before, after in ends)
        assert len(ends) > 1
    assert [piece.ends for _, piece in whole.read_pieces(cut)] == [False] * (len(pieces) - 1) + [True]


def test_a_file_here_comes_before_a_folder_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "notes").mkdir(parents=True)
    (tmp_path / "data" / "notes" / "a.txt").write_text("elsewhere")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes").write_text("here")
    monkeypatch.chdir(tmp_path / "here")
    assert find_texts("notes", [str(tmp_path / "data")]) == [tmp_path / "here" / "notes"]
