"""Tokenizers on tiktoken: byte-pair encodings on bytes, by the fastest encoder there is. Every text round-trips."""

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import numpy as np
import tiktoken
from tiktoken.load import load_tiktoken_bpe
from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS

from seqlab.files import find_file, read_json, write_json
from seqlab.tokenizers.base import WORD_END
from seqlab.tokenizers.hf_format import build_byte_bpe, write_tokenizer

Name = Literal["r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base", "o200k_harmony"]
URL = "https://openaipublic.blob.core.windows.net/encodings/"
CHECKSUMS = {  # sha256 of the published files
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
SHARED_FILES = {"p50k_edit": "p50k_base", "o200k_harmony": "o200k_base"}
RANKS, SETTINGS = "ranks.tiktoken", "encoding.json"


class EncodingTokenizer:
    """What encodings of tiktoken have in common; `encoding` is the library's."""

    cut_pattern = WORD_END
    encoding: tiktoken.Encoding
    vocab_size: int
    eos_id: int
    unused: set[int]  # ids that stand for nothing

    def set_encoding(self, encoding: tiktoken.Encoding) -> Self:
        """Take an encoding; its end token is `<|endoftext|>`."""
        self.encoding = encoding
        self.vocab_size, self.eos_id = encoding.n_vocab, encoding.eot_token
        used = {*encoding._mergeable_ranks.values(), *encoding._special_tokens.values()}
        self.unused = set(range(self.vocab_size)) - used
        return self

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The ids of the text; with `special`, special tokens written out in it are tokens and not their characters."""
        return self.encoding.encode(text, allowed_special="all") if special else self.encoding.encode_ordinary(text)

    def encode_to_array(self, text: str, special: bool = False) -> np.ndarray:
        """As `encode`, (N,), faster."""
        return self.encoding.encode_to_numpy(text, allowed_special="all" if special else set(), disallowed_special=())

    def decode(self, ids: list[int]) -> str:
        """The text of the ids; a character that was cut in two becomes U+FFFD, an id that stands for nothing nothing."""
        return self.encoding.decode([i for i in ids if i not in self.unused])

    def byte_lengths(self) -> list[int]:
        """The bytes of text that each token stands for, 0 for special tokens and ids that stand for nothing."""
        lengths = [0] * self.vocab_size
        for token, rank in self.encoding._mergeable_ranks.items():
            lengths[rank] = len(token)
        return lengths

    def save(self, folder: Path) -> None:
        """Write the tokens in tiktoken's own format, and how a text is split before they are merged."""
        ranks = sorted(self.encoding._mergeable_ranks.items(), key=lambda item: item[1])
        lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks)
        (folder / RANKS).write_text("".join(lines), encoding="ascii")
        settings = {"name": self.encoding.name, "pat_str": self.encoding._pat_str}
        write_json(folder / SETTINGS, settings | {"special_tokens": self.encoding._special_tokens})

    def save_to_hf(self, folder: Path) -> None:
        """Write what transformers opens, with the same ids."""
        special = self.encoding._special_tokens
        bpe = build_byte_bpe(self.encoding._mergeable_ranks, self.encoding._pat_str, special)
        write_tokenizer(bpe, folder, end=next(text for text, i in special.items() if i == self.eos_id))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what was saved."""
        with cache_in(""):
            ranks = load_tiktoken_bpe(str(folder / RANKS))
        return cls.__new__(cls).set_encoding(tiktoken.Encoding(mergeable_ranks=ranks, **read_json(folder / SETTINGS)))


class TiktokenTokenizer(EncodingTokenizer):
    """A published encoding of tiktoken, such as GPT-4's `cl100k_base` (100,277 tokens)."""

    def __init__(self, name: Name = "cl100k_base", folders: Sequence[str] = ()) -> None:
        """Find the published file as data files are found; `folders` are those of `paths.data`."""
        published = SHARED_FILES.get(name, name)
        url = f"{URL}{published}.tiktoken"
        cached = hashlib.sha1(url.encode()).hexdigest()  # as tiktoken names it in its cache
        remedy = "tokenizer=gpt2, byte or char"
        file = find_file(f"tiktoken_cache/{cached}", folders, url, CHECKSUMS[published], remedy)
        with cache_in(str(file.parent)):
            self.set_encoding(tiktoken.Encoding(**ENCODING_CONSTRUCTORS[name]()))


@contextmanager
def cache_in(folder: str) -> Iterator[None]:
    """Let tiktoken look for files in a folder; with "" it takes local files as they are, and caches nothing."""
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
