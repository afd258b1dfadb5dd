"""Tokens on disk: a corpus is encoded once, into shards in the cache, which are then mapped into memory."""

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqlab.data.corpus import PIECE_CHARACTERS, Corpus, CorpusSize, Piece, split_bounds
from seqlab.data.readers import COMPRESSIONS, RECORD_SUFFIXES, text_suffix
from seqlab.device import available_cores
from seqlab.errors import UserError, first_line
from seqlab.files import cache_folder, compute_sha256, lock_file, read_json, write_atomically, write_json
from seqlab.runs.ranks import get_rank
from seqlab.tokenizers.base import Tokenizer, compute_fingerprint, encode_to_array

FORMAT = 2  # of the folder
SHARD_CHARACTERS = 1 << 24  # of the text in a shard, about
INDEX = "index.json"
SHOWN_BYTES = 1 << 22  # a larger corpus has a progress bar


class TokenStream:
    """The tokens of a split, one shard after the other; a slice of them is read from disk when it is asked for."""

    def __init__(self, files: Sequence[Path], sizes: Sequence[int], start: int = 0, stop: int | None = None) -> None:
        self.files, self.sizes = files, sizes
        self.ends = np.cumsum([*sizes, 0])  # (number of shards + 1,)
        self.start, self.stop = start, sum(sizes) if stop is None else stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, where: slice) -> np.ndarray:
        """The tokens of a slice (without a step), as the shards hold them."""
        first, last, _ = where.indices(len(self))
        first, last = self.start + first, self.start + max(first, last)
        number = int(np.searchsorted(self.ends, first, side="right"))
        parts = []
        while first < last:
            begin = int(self.ends[number]) - self.sizes[number]
            parts.append(open_shard(self.files[number])[first - begin : last - begin])
            first, number = int(self.ends[number]), number + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.zeros(0, np.uint16)])


@lru_cache(maxsize=256)  # each of them is an open file
def open_shard(file: Path) -> np.ndarray:
    """The tokens of a shard, mapped into memory."""
    return np.load(file, mmap_mode="r")


class TokenFolder(NamedTuple):
    """A corpus that was encoded: where it lies, its tokens by split, and what it was before."""

    folder: Path
    streams: dict[str, TokenStream]
    size: CorpusSize


def open_tokens(corpus: Corpus, tokenizer: Tokenizer, special_tokens: bool = False) -> TokenFolder:
    """The tokens of a corpus, encoded now if they are not in the cache yet.

    The folder's name depends on the bytes of the files, the tokenizer and the splits. Several documents are followed by an
    end token each. Raises UserError for a text that cannot be read or encoded, and for a damaged cache.
    """
    identity = describe_tokens(corpus, tokenizer, special_tokens)
    folder = cache_folder() / "tokens" / hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    if not (folder / INDEX).is_file():
        folder = folder if can_write(folder) else make_temporary_folder()
        try:
            with lock_file(folder, "" if get_rank() else "waiting     for another process that encodes this text"):
                if not (folder / INDEX).is_file():  # another process was not faster
                    write_tokens(corpus, tokenizer, special_tokens, folder, identity)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written ({error.strerror or error}): free some space there, or name another place with "
                "SEQLAB_CACHE=<folder>; what is finished of it is kept."
            ) from error
    return read_tokens(folder, identity, corpus)


def describe_files(corpus: Corpus) -> str:
    """A checksum of the bytes and formats of the files, in their order."""
    parts = [
        f"{compute_sha256(file)} {suffix if (suffix := text_suffix(file)) in RECORD_SUFFIXES else ''} "
        f"{file.suffix.lower() if file.suffix.lower() in COMPRESSIONS else ''}"
        for file in corpus.files
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def describe_tokens(corpus: Corpus, tokenizer: Tokenizer, special_tokens: bool) -> dict[str, Any]:
    """All that the tokens depend on."""
    reader = corpus.reader
    return {
        "format": [FORMAT, SHARD_CHARACTERS, PIECE_CHARACTERS],
        "files": [describe_files(corpus), reader.key, reader.normalize, reader.encoding_errors],
        "splits": [corpus.split_by, corpus.val_fraction, corpus.test_fraction],
        "tokenizer": [compute_fingerprint(tokenizer), special_tokens],
    }


def read_tokens(folder: Path, identity: dict[str, Any], corpus: Corpus) -> TokenFolder:
    """A folder that is complete. Raises UserError for one that is damaged, or of something else."""
    index = read_json(folder / INDEX)
    remedy = f"remove {folder}, and the text is encoded again"
    if index.get("identity") != identity:
        raise UserError(f"{folder} has the tokens of another text or tokenizer: {remedy}.")
    streams = {}
    try:
        size = CorpusSize(*index["size"])
        for split, sizes in index["shards"].items():
            files = [shard_file(folder, split, number) for number in range(len(sizes))]
            if [len(np.load(file, mmap_mode="r")) for file in files] != sizes:
                raise ValueError("a shard has another length than was written")
            if not get_rank() and [compute_sha256(file) for file in files] != index["sha256"][split]:
                raise ValueError("a shard holds other tokens than were written")
            streams[split] = TokenStream(files, sizes)
    except (ValueError, TypeError, AttributeError, LookupError, EOFError, FileNotFoundError) as error:
        raise UserError(f"{folder} is damaged ({first_line(error)}): {remedy}.") from error
    if whole := streams.pop("all", None):
        bounds = split_bounds(len(whole), corpus.val_fraction, corpus.test_fraction)
        streams = {split: TokenStream(whole.files, whole.sizes, *where) for split, where in bounds.items()}
    shares = {"train": 1.0, "val": corpus.val_fraction, "test": corpus.test_fraction}
    splits = {split: streams.get(split, TokenStream([], [])) for split, share in shares.items() if share}
    return TokenFolder(folder, splits, size)


# ---------------------------------------------------------------------- writing


def write_tokens(
    corpus: Corpus, tokenizer: Tokenizer, special_tokens: bool, folder: Path, identity: dict[str, Any]
) -> None:
    """Encode a corpus in parallel. A shard that a killed process has finished is kept; the index is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    encode = build_encoder(tokenizer, special_tokens, join=corpus.size.documents > 1)
    writers: dict[str, ShardWriter] = {}
    pool = ThreadPoolExecutor(available_cores())
    try:
        with show_progress(corpus.size.bytes) as advance:
            for split, pieces in batch_pieces(corpus.read_pieces(getattr(tokenizer, "cut_pattern", None))):
                if split not in writers:
                    writers[split] = ShardWriter(folder, split, encode, pool)
                writers[split].add(pieces)
                advance(pieces)
            shards = {split: writer.finish() for split, writer in writers.items()}
    finally:
        pool.shutdown(cancel_futures=True)
    if describe_files(corpus) != identity["files"][0]:
        shutil.rmtree(folder)
        what = str(corpus.files[0]) if len(corpus.files) == 1 else f"A file in {corpus.files[0].parent}"
        raise UserError(f"{what} has changed while it was read: type the command again.")
    checksums = {
        split: [compute_sha256(shard_file(folder, split, number)) for number in range(len(sizes))]
        for split, sizes in shards.items()
    }
    index = {"identity": identity, "size": corpus.size, "shards": shards, "sha256": checksums}
    write_json(folder / INDEX, index)


class ShardWriter:
    """Has the pieces of a split encoded by a pool, and writes their tokens in order, a shard at a time."""

    def __init__(self, folder: Path, split: str, encode: Callable[[list[Piece]], np.ndarray], pool: Executor) -> None:
        self.folder, self.split, self.encode, self.pool = folder, split, encode, pool
        self.sizes: list[int] = []  # tokens of the shards that are written
        self.waiting: list[Future] | None = None  # of the shard before, which is encoded meanwhile
        self.current: list[Future] = []
        self.number = self.characters = 0

    def add(self, pieces: list[Piece]) -> None:
        """Give the next pieces to the pool, unless their shard is there already."""
        if self.characters >= SHARD_CHARACTERS:
            self.close_shard()
        self.characters += sum(len(piece.text) for piece in pieces)
        if not shard_file(self.folder, self.split, self.number).is_file():
            self.current.append(self.pool.submit(self.encode, pieces))

    def close_shard(self) -> None:
        """Begin the next shard, and write the one before."""
        self.write_waiting()
        self.waiting, self.current, self.characters = self.current, [], 0
        self.number += 1

    def write_waiting(self) -> None:
        """Write the tokens of the shard that was closed, or count those that are there."""
        if self.waiting is None:
            return
        file = shard_file(self.folder, self.split, len(self.sizes))
        if self.waiting:
            with write_atomically(file) as partial, open(partial, "wb") as out:
                np.save(out, np.concatenate([encoded.result() for encoded in self.waiting]))
        self.sizes.append(len(np.load(file, mmap_mode="r")))
        self.waiting = None

    def finish(self) -> list[int]:
        """Write what is left; return the number of tokens in each shard."""
        self.close_shard()
        self.write_waiting()
        return self.sizes


def shard_file(folder: Path, split: str, number: int) -> Path:
    """The file of a shard."""
    return folder / f"{split}-{number:05d}.npy"


def build_encoder(tokenizer: Tokenizer, special_tokens: bool, join: bool) -> Callable[[list[Piece]], np.ndarray]:
    """A function pieces -> token ids (N,), with `join` an end token after each document.

    It raises UserError for an id outside of the tokenizer's vocabulary.
    """
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    end = [np.array([tokenizer.eos_id])]

    def encode(pieces: list[Piece]) -> np.ndarray:
        parts: list[np.ndarray] = []
        for text, ends in pieces:
            parts += [encode_to_array(tokenizer, text, special_tokens), *(end if join and ends else [])]
        ids = np.concatenate(parts)
        if len(ids) and not 0 <= ids.min() <= ids.max() < tokenizer.vocab_size:
            raise UserError(
                f"The tokenizer gives the id {ids.max()}, and its vocab_size is {tokenizer.vocab_size}: fix its encode."
            )
        return ids.astype(dtype)

    return encode


def batch_pieces(pieces: Iterable[tuple[str, Piece]]) -> Iterator[tuple[str, list[Piece]]]:
    """(split, pieces that are encoded at once)"""
    batches: dict[str, list[Piece]] = {}
    sizes: dict[str, int] = {}
    for split, piece in pieces:
        batches.setdefault(split, []).append(piece)
        sizes[split] = sizes.get(split, 0) + len(piece.text)
        if sizes[split] >= PIECE_CHARACTERS:
            yield split, batches.pop(split)
            sizes[split] = 0
    yield from batches.items()


@contextmanager
def show_progress(size: int) -> Iterator[Callable[[list[Piece]], None]]:
    """A bar for so many bytes, if they are many: how many are read to be encoded, the speed and the time left."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("tokenizing "), BarColumn(20), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    is_shown = size >= SHOWN_BYTES and not get_rank()
    with Progress(*columns, disable=not is_shown) as progress:
        task = progress.add_task("", total=size)

        def advance(pieces: list[Piece]) -> None:
            if is_shown:
                progress.advance(task, sum(len(piece.text.encode()) for piece in pieces))

        yield advance


def can_write(folder: Path) -> bool:
    """True if a folder of the cache can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder.parent, os.W_OK)


def make_temporary_folder() -> Path:
    """A folder that ends with this process, where the cache cannot be written."""
    parent, owner = Path(tempfile.mkdtemp(prefix="seqlab-tokens-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # and not a fork of it
            shutil.rmtree(parent, ignore_errors=True)

    atexit.register(remove)
    return parent / "tokens"  # its lock lies beside it
