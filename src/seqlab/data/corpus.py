"""The texts of one or many files: where they are, how they are split, and in which pieces they are encoded."""

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from seqlab.data.readers import RECORD_SUFFIXES, TextReader, text_suffix
from seqlab.errors import UserError
from seqlab.files import DOWNLOAD_ERRORS, cache_folder, download_file, expand_path, find_file, lookup_places

SUFFIXES = (".txt", ".md", ".jsonl", ".json", ".parquet")  # of the files that are read in a folder, compressed or not
PIECE_CHARACTERS = 1 << 19  # that are encoded at once
SPLITS = ("train", "val", "test")
SplitBy = Literal["characters", "tokens", "documents"]


class Piece(NamedTuple):
    """A text that can be encoded by itself, and whether its document ends with it."""

    text: str
    ends: bool


class CorpusSize(NamedTuple):
    """What a corpus holds."""

    documents: int
    characters: int
    bytes: int


@dataclass(frozen=True)
class Corpus:
    """The documents of files, in file order, and the split to which each part of them belongs.

    Split by `characters`, the first ones train, then come those of validation and test; by `documents`, those of
    validation and test are drawn at random, always the same ones of so many; by `tokens`, see `open_tokens`. None is by
    documents if there are several.
    """

    files: Sequence[Path]
    reader: TextReader = field(default_factory=TextReader)
    split_by: SplitBy | None = None
    val_fraction: float = 0.1
    test_fraction: float = 0.0

    def read_documents(self) -> Iterator[Iterator[str]]:
        """Each document that is not empty, in pieces."""
        for file in self.files:
            for document in self.reader.read_documents(file):
                if first := next(document, ""):
                    yield chain([first], document)

    @cached_property
    def size(self) -> CorpusSize:
        """Counted by reading all of it once. Raises UserError if there is nothing but white space."""
        documents = characters = size = 0
        has_text = False
        for document in self.read_documents():
            documents += 1
            for text in document:
                characters, size = characters + len(text), size + len(text.encode())
                has_text = has_text or not text.isspace()
        if not has_text:
            what = f"{self.files[0]} is" if len(self.files) == 1 else f"All {len(self.files)} files are"
            raise UserError(f"{what} empty: name a text with data.path=<file>.")
        return CorpusSize(documents, characters, size)

    @cached_property
    def resolved_split_by(self) -> SplitBy:
        """How it is split. Raises UserError if one document shall be split by documents."""
        if self.split_by == "documents" and self.size.documents < 2:
            raise UserError(
                "data.split_by=documents needs several documents, and there is one: use characters or tokens."
            )
        return self.split_by or ("documents" if self.size.documents > 1 else "characters")

    def read_pieces(self, cut: re.Pattern | None) -> Iterator[tuple[str, Piece]]:
        """(split, piece) of all documents. A long document is cut where the pattern `cut` matches, None: nowhere.

        Split by tokens, all belong to the split `all`, since nobody has counted their tokens yet.
        """
        before, parts, searched = "", [""], 0  # the split and the parts of what was read and not yet yielded
        for split, text, ends in self.split_documents():
            if split != before and any(parts):  # the rest of the document is in another split
                yield before, Piece("".join(parts), False)
                parts, searched = [], 0
            before = split
            parts.append(text)
            if cut:
                tail = "".join(parts)
                while (found := cut.search(tail, max(PIECE_CHARACTERS, searched))) and found.end() < len(tail):
                    yield split, Piece(tail[: found.end()], False)
                    tail, searched = tail[found.end() :], 0
                parts, searched = [tail], max(0, len(tail) - 2)  # which a pattern looks back at
            if ends:
                yield split, Piece("".join(parts), True)
                parts, searched = [], 0
        if any(parts):
            yield before, Piece("".join(parts), False)

    def split_documents(self) -> Iterator[tuple[str, str, bool]]:
        """(split, text, whether its document ends with it) in file order."""
        if self.resolved_split_by == "characters":
            yield from self.split_at_characters()
            return
        chosen = self.choose_documents() if self.resolved_split_by == "documents" else None
        for number, document in enumerate(self.read_documents()):
            split = "all" if chosen is None else SPLITS[chosen[number]]
            for text, is_last in mark_last(document):
                yield split, text, is_last

    def split_at_characters(self) -> Iterator[tuple[str, str, bool]]:
        """As `split_documents`, cut at the characters where validation and test begin."""
        bounds = split_bounds(self.size.characters, self.val_fraction, self.test_fraction)
        position = 0
        for document in self.read_documents():
            for text, is_last in mark_last(document):
                for split, (start, stop) in bounds.items():
                    if part := text[max(0, start - position) : max(0, stop - position)]:
                        yield split, part, is_last and stop >= position + len(text)
                position += len(text)

    def choose_documents(self) -> bytes:
        """The number of each document's split in `SPLITS`. Raises UserError if none is left to train on."""
        count = self.size.documents
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        counts = [max(1, int(count * share)) if share else 0 for share in (self.val_fraction, self.test_fraction)]
        if sum(counts) >= count:
            raise UserError(
                f"There are {count} documents, too few for splits of them: use data.split_by=characters or tokens."
            )
        chosen = torch.zeros(count, dtype=torch.uint8)
        chosen[order[: counts[0]]] = SPLITS.index("val")
        chosen[order[counts[0] : sum(counts)]] = SPLITS.index("test")
        return bytes(chosen.tolist())


def mark_last(pieces: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """(piece, whether it is the last one)."""
    piece = next(pieces)
    for following in pieces:
        yield piece, False
        piece = following
    yield piece, True


def split_bounds(count: int, val_fraction: float, test_fraction: float) -> dict[str, tuple[int, int]]:
    """Where each split of so many characters or tokens begins and ends: train, then validation, then test."""
    first = int(count * (1 - val_fraction - test_fraction) + 1e-9)
    second = int(count * (1 - test_fraction) + 1e-9)
    return {"train": (0, first), "val": (first, second), "test": (second, count)}


# ---------------------------------------------------------------------- files


def find_texts(
    path: str | Sequence[str],
    folders: Sequence[str] = (),
    suffixes: Sequence[str] = SUFFIXES,
    url: str | None = None,
    sha256: str | None = None,
    key: str = "data.path",
) -> list[Path]:
    """The files that `path` names, each once: a file, a folder (the files with these suffixes in it and below, sorted), a
    pattern with `*`, an address, or a list of such. They are looked for as data files are. Raises UserError for none, which
    names the `key`.
    """
    paths = [path] if isinstance(path, str) else path
    if not paths or not all(paths):
        raise UserError(f"{key}={path or '[]'} names no text: give a file, a folder, or a list of such.")
    found = chain.from_iterable(find_path(one, folders, suffixes, url, sha256, key) for one in paths)
    return list(dict.fromkeys(found))


def find_path(
    path: str, folders: Sequence[str], suffixes: Sequence[str], url: str | None, sha256: str | None, key: str
) -> Iterable[Path]:
    """The files of one path."""
    if re.match("https?://", path):
        return [download_address(path, sha256)]
    if scheme := re.match(r"(\w+)://", path):
        raise UserError(f"{key}={path} begins with {scheme[1]}://: addresses are http or https, a file is its path.")
    for place in [Path(), *lookup_places(folders)]:
        candidate = place / expand_path(path)
        if candidate.is_file():
            return [candidate.resolve()]
        if candidate.is_dir():
            return list_folder(candidate, suffixes)
        if glob.has_magic(path):
            matches = [Path(name) for name in glob.glob(str(candidate), recursive=True)]  # noqa: PTH207  # of any root
            if files := sorted(match.resolve() for match in matches if match.is_file()):
                return files
    return [find_file(path, folders, url, sha256, f"{key}=<file>")]


def list_folder(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files in a folder and below whose format has one of these suffixes, sorted; hidden ones are left out."""
    if not suffixes:
        raise UserError("data.suffixes=[] names none: write some, such as data.suffixes=[.txt], or leave it out.")
    suffixes = [suffix.lower() for suffix in suffixes]
    files = []
    for parent, names, file_names in os.walk(folder.resolve()):
        names[:] = sorted(name for name in names if not name.startswith("."))
        files += [Path(parent, name) for name in file_names if not name.startswith(".")]
    found = sorted(file for file in files if text_suffix(file) in suffixes)
    for file in found:
        if not file.exists():
            raise UserError(f"{file} is a link to a file that is not there: remove it.")
    found = [file for file in found if file.is_file()]  # a pipe would never end
    if not found:
        asked = {f".{suffix}" for suffix in suffixes}  # as one types them without their dot
        known = {text_suffix(file) for file in files} - {""}
        others = sorted(known, key=lambda suffix: (suffix not in asked, suffix))[:8]
        there = f"; there are {', '.join(others)}: name them with data.suffixes=[{others[0]}]" if others else ""
        raise UserError(f"{folder} has no files that end in {', '.join(suffixes)}{there}.")
    return found


def download_address(url: str, sha256: str | None) -> Path:
    """A text of the web, downloaded once into the cache. Raises UserError if it cannot be reached."""
    name = re.sub(r"[^\w.-]", "_", url.split("?")[0].rstrip("/").rsplit("/", 1)[-1])
    kept = cache_folder() / "downloads" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"
    try:
        return kept if kept.is_file() else download_file(url, kept, sha256)
    except DOWNLOAD_ERRORS as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"{url} cannot be reached ({reason}): download it yourself, and type data.path=<file>."
        ) from error


def build_corpus(
    path: str | Sequence[str],
    folders: Sequence[str] = (),
    suffixes: Sequence[str] = SUFFIXES,
    url: str | None = None,
    sha256: str | None = None,
    key: str = "text",
    normalize: bool = True,
    encoding_errors: Literal["strict", "replace"] = "strict",
    split_by: SplitBy | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.0,
    **_: Any,
) -> Corpus:
    """The corpus that a data node describes; its other keys are of no meaning here. Raises UserError."""
    if val_fraction + test_fraction >= 1:
        raise UserError(
            f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction} leave nothing to train on: "
            "they must add up to less than 1."
        )
    remedy = ", or replace what is not with data.encoding_errors=replace"
    reader = TextReader(key, normalize, encoding_errors, remedy)
    files = find_texts(path, folders, suffixes, url, sha256)
    if key != "text" and not any(text_suffix(file) in RECORD_SUFFIXES for file in files):
        raise UserError(
            f"data.key={key} has no effect: {files[0].name} is plain text without records. Leave it out, or type data.key=text."
        )
    return Corpus(files, reader, split_by, val_fraction, test_fraction)
