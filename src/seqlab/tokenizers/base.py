"""What others ask of a tokenizer, and how a saved one is loaded."""

import hashlib
import inspect
import re
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seqlab.errors import UserError
from seqlab.files import compute_sha256, read_checksums, write_atomically, write_checksums

CHECKSUMS = "tokenizer.sha256"
ANYWHERE = re.compile("")
WORD_END = re.compile(r"(?<=[^\W_])(?=\s)")  # between a letter or digit and white space


class Tokenizer(Protocol):
    """Text to token ids and back.

    A tokenizer may offer more, and is asked for it by name: `byte_lengths()`, the bytes of text of each token, for bits
    per byte; `cut_pattern`, where a long text may be cut without changing its tokens, so that it is encoded in parallel;
    `encode_to_array(text)`, ids (N,), faster than `encode`; `end_ids`, all tokens that end a text, if there are several;
    `learns_from`, `train` or `all`, the texts that it learns from; `special=True` of its encoders, for special tokens written
    out in a text; `save_to_hf(folder)`, for an export.
    """

    vocab_size: int
    eos_id: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Make a folder with the tokenizer's files and their checksums, atomically."""
    with write_atomically(folder) as partial:
        partial.mkdir()
        check_parts(tokenizer)
        tokenizer.save(partial)
        check_saved(tokenizer, partial)
        files = sorted(file for file in partial.rglob("*") if file.is_file())
        write_checksums(partial / CHECKSUMS, [(compute_sha256(file), str(file.relative_to(partial))) for file in files])


def check_parts(tokenizer: Any) -> None:
    """Refuse a tokenizer that lacks what will be needed later. Raises UserError."""
    if missing := [
        name for name in ("encode", "decode", "vocab_size", "eos_id", "save", "load") if not hasattr(tokenizer, name)
    ]:
        raise UserError(f"{type(tokenizer).__name__} has no {missing[0]}, which a tokenizer needs: add it.")


def check_saved(tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer that cannot be read back as it was, before anything is trained with it. Raises UserError."""
    kind = type(tokenizer)
    if kind.__module__.startswith("seqlab."):
        return
    try:
        loaded = kind.load(folder)
    except Exception as error:  # of somebody's own code
        raise UserError(
            f"{kind.__name__} cannot read what it saves ({type(error).__name__}: {error}): fix its save, or its load."
        ) from error
    read, saved = ([getattr(one, name, None) for name in ("vocab_size", "eos_id")] for one in (loaded, tokenizer))
    if read != saved:
        raise UserError(f"{kind.__name__} reads another vocabulary than it saves: fix its save, or its load.")
    for text in list_samples(tokenizer):
        if try_encoding(loaded, text) != try_encoding(tokenizer, text):
            raise UserError(f"{kind.__name__} encodes {text!r} otherwise once it is saved: fix its save, or its load.")


def list_samples(tokenizer: Any) -> list[str]:
    """Texts that show how a tokenizer encodes: of its own tokens, and in capitals."""
    try:
        own = tokenizer.decode([token for token in range(min(tokenizer.vocab_size, 64)) if token != tokenizer.eos_id])
    except Exception:  # of somebody's own code, which need not decode any tokens
        own = ""
    return [own, own.upper(), "A Sample, of 12 words."]


def try_encoding(tokenizer: Any, text: str) -> Any:
    """The ids of a text, or the kind of error that it ends in."""
    try:
        return list(tokenizer.encode(text))
    except Exception as error:  # of somebody's own code, such as of a character that it does not know
        return type(error)


def load_tokenizer(tokenizer_class: Any, folder: Path) -> Any:
    """The tokenizer that was saved in a folder. Raises UserError if its files are missing, damaged or not those saved."""
    for digest, name in read_checksums(folder / CHECKSUMS):
        if (folder / name).is_file() and compute_sha256(folder / name) != digest:
            raise UserError(
                f"{folder / name} was changed since it was saved, and says what the tokens mean: restore it."
            )
    try:
        return tokenizer_class.load(folder)
    except (OSError, ValueError, LookupError, TypeError, AssertionError) as error:  # of a truncated file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"The tokenizer in {folder} cannot be read ({reason}): restore its files.") from error


def accepts_special(encode: Any) -> bool:
    """True if a tokenizer's encoder can take special tokens that are written out in a text as such."""
    return "special" in inspect.signature(encode).parameters


def encode_to_array(tokenizer: Any, text: str, special_tokens: bool = False) -> np.ndarray:
    """The ids of a text (N,), by the tokenizer's own `encode_to_array` if it has one; with `special_tokens` those that are
    written out in it are tokens and not their characters.
    """
    options = {"special": True} if special_tokens else {}
    if hasattr(tokenizer, "encode_to_array"):
        return tokenizer.encode_to_array(text, **options)
    return np.array(tokenizer.encode(text, **options), dtype=np.int64)


def compute_fingerprint(tokenizer: Any) -> str:
    """A checksum of a tokenizer: of its class and those it inherits from, their modules, and what it saves."""
    classes = [part for part in type(tokenizer).__mro__ if part.__module__ != "builtins"]
    parts = [f"{part.__module__}.{part.__qualname__} {hash_source(part)}" for part in classes]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
        parts += [f"{file.relative_to(folder)} {compute_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def hash_source(part: type) -> str:
    """A checksum of the module in which a class was written; of one typed in a notebook, nothing."""
    try:
        source = inspect.getsourcefile(part)
    except (OSError, TypeError):
        return ""
    return compute_sha256(Path(source)) if source and Path(source).is_file() else ""
