"""GPT-2's byte-pair encoding, by tiktoken."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tiktoken_ext.openai_public import ENDOFTEXT, r50k_pat_str

from seqlab.files import find_file, write_json
from seqlab.tokenizers.encoding import EncodingTokenizer, cache_in

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


class GPT2Tokenizer(EncodingTokenizer):
    """50,257 tokens with `<|endoftext|>`."""

    def __init__(self, folders: Sequence[str] = ()) -> None:
        """Find the published files as data files are found; `folders` are those of `paths.data`."""
        self.read_files(
            *(
                find_file(file.path, folders, file.url, file.sha256, remedy="tokenizer=byte or tokenizer=char")
                for file in (MERGES, VOCABULARY)
            )
        )

    def read_files(self, merges: Path, vocabulary: Path) -> Self:
        """Read the two files."""
        self.merges, self.vocabulary = merges, vocabulary
        return self.set_encoding(load_encoding(merges, vocabulary))

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
    def load(cls, folder: Path) -> Self:
        """Read `merges.txt` and `vocab.json`."""
        return cls.__new__(cls).read_files(folder / MERGES.name, folder / VOCABULARY.name)


def load_encoding(merges: Path, vocabulary: Path) -> tiktoken.Encoding:
    """tiktoken's encoding from GPT-2's two files."""
    with cache_in(""):  # cached under their path, a change would go unnoticed
        ranks = data_gym_to_mergeable_bpe_ranks(str(merges), str(vocabulary))
    special = {ENDOFTEXT: len(ranks)}
    return tiktoken.Encoding("gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=special)
