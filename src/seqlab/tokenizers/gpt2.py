"""GPT-2's byte-pair encoding, by tiktoken."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tiktoken_ext.openai_public import ENDOFTEXT, r50k_pat_str

from seqlab.files import find_file, write_json

URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"


class PublishedFile(NamedTuple):
    """A file of the published tokenizer."""

    name: str  # in a Hugging Face folder and in a run
    path: str  # in tiktoken's cache, which names it by the sha1 of its address
    url: str
    sha256: str


MERGES = PublishedFile(
    "merges.txt",
    "tiktoken_cache/6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
    URL + "vocab.bpe",
    "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
)
VOCABULARY = PublishedFile(
    "vocab.json",
    "tiktoken_cache/6c7ea1a7e38e3a7f062df639a5b80947f075ffe6",
    URL + "encoder.json",
    "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
)


class GPT2Tokenizer:
    """50,257 tokens with `<|endoftext|>`. Every text round-trips."""

    def __init__(self, folders: Sequence[str] = ()) -> None:
        """Find the published files as data files are found; `folders` are those of `paths.data`."""
        self.open(
            *(
                find_file(file.path, folders, file.url, file.sha256, remedy="tokenizer=byte or tokenizer=char")
                for file in (MERGES, VOCABULARY)
            )
        )

    def open(self, merges: Path, vocabulary: Path) -> None:
        """Read the two files."""
        self.merges, self.vocabulary = merges, vocabulary
        self.encoding = load_encoding(merges, vocabulary)
        self.vocab_size, self.eos_id = self.encoding.n_vocab, self.encoding.eot_token

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The ids of the text; with `special`, `<|endoftext|>` in it is the end token and not thirteen characters."""
        if special:
            return self.encoding.encode(text, allowed_special={ENDOFTEXT})
        return self.encoding.encode_ordinary(text)

    def decode(self, ids: list[int]) -> str:
        """The text of the ids; a character that was cut in two becomes U+FFFD."""
        return self.encoding.decode(ids)

    def byte_lengths(self) -> list[int]:
        """The bytes of text that each token stands for, 0 for the end token."""
        return [len(self.encoding.decode_single_token_bytes(i)) for i in range(self.eos_id)] + [0]

    def save(self, folder: Path) -> None:
        """Copy the files, under the names of a Hugging Face folder."""
        shutil.copyfile(self.merges, folder / MERGES.name)
        shutil.copyfile(self.vocabulary, folder / VOCABULARY.name)

    def save_to_hf(self, folder: Path) -> None:
        """Write what transformers opens: the files, and the class that reads them."""
        self.save(folder)
        settings = {"tokenizer_class": "GPT2Tokenizer"} | dict.fromkeys(
            ("bos_token", "eos_token", "unk_token"), ENDOFTEXT
        )
        write_json(folder / "tokenizer_config.json", settings)

    @classmethod
    def load(cls, folder: Path) -> "GPT2Tokenizer":
        """Read `merges.txt` and `vocab.json`."""
        self = cls.__new__(cls)
        self.open(folder / MERGES.name, folder / VOCABULARY.name)
        return self


def load_encoding(merges: Path, vocabulary: Path) -> tiktoken.Encoding:
    """tiktoken's encoding from GPT-2's two files."""
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = ""  # local files; cached under their path, a change would go unnoticed
    try:
        ranks = data_gym_to_mergeable_bpe_ranks(str(merges), str(vocabulary))
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
    special = {ENDOFTEXT: len(ranks)}
    return tiktoken.Encoding("gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=special)
