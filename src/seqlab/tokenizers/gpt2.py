"""GPT-2's byte-pair encoding, by tiktoken."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tiktoken_ext.openai_public import ENDOFTEXT, r50k_pat_str

from seqlab import files

HOME = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
# The published files: the name in a Hugging Face folder and in ours; its place in tiktoken's cache (the sha1 of its
# address); its name at home; its sha256.
MERGES = (
    "merges.txt",
    "tiktoken_cache/6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
    "vocab.bpe",
    "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
)
VOCABULARY = (
    "vocab.json",
    "tiktoken_cache/6c7ea1a7e38e3a7f062df639a5b80947f075ffe6",
    "encoder.json",
    "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
)


class GPT2Tokenizer:
    """50,257 tokens with `<|endoftext|>`; every text round-trips."""

    def __init__(self, folders: Iterable[str] = ()) -> None:
        """Look the published files up as data are: `folders` are the places of `paths.data`."""
        folders = list(folders)
        self.merges, self.vocabulary = (
            files.find_file(path, folders, HOME + home, checksum, remedy="tokenizer=byte or tokenizer=char")
            for _, path, home, checksum in (MERGES, VOCABULARY)
        )
        self.encoding = load_encoding(self.merges, self.vocabulary)
        self.vocab_size, self.eos_id = self.encoding.n_vocab, self.encoding.eot_token

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The ids of the text; with `special`, `<|endoftext|>` in it is the end token and not thirteen characters."""
        return (
            self.encoding.encode(text, allowed_special={ENDOFTEXT}) if special else self.encoding.encode_ordinary(text)
        )

    def decode(self, ids: list[int]) -> str:
        """The text of the ids; a character cut in two becomes U+FFFD."""
        return self.encoding.decode(ids)

    def byte_lengths(self) -> list[int]:
        """The bytes of text that each token stands for; of the end token none."""
        return [len(self.encoding.decode_single_token_bytes(i)) for i in range(self.eos_id)] + [0]

    def save(self, folder: Path) -> None:
        """Copy the files, under the names of a Hugging Face folder."""
        shutil.copyfile(self.merges, folder / MERGES[0])
        shutil.copyfile(self.vocabulary, folder / VOCABULARY[0])

    @classmethod
    def load(cls, folder: Path) -> "GPT2Tokenizer":
        """Read `vocab.json` and `merges.txt`."""
        self = cls.__new__(cls)
        self.merges, self.vocabulary = folder / MERGES[0], folder / VOCABULARY[0]
        self.encoding = load_encoding(self.merges, self.vocabulary)
        self.vocab_size, self.eos_id = self.encoding.n_vocab, self.encoding.eot_token
        return self


def load_encoding(merges: Path, vocabulary: Path) -> tiktoken.Encoding:
    """tiktoken's encoding from GPT-2's two files."""
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = ""  # these are local files; cached under their path, a change would go unseen
    try:
        ranks = data_gym_to_mergeable_bpe_ranks(str(merges), str(vocabulary))
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={ENDOFTEXT: len(ranks)}
    )
