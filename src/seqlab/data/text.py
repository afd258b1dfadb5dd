"""Texts, cut into windows of tokens."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from seqlab.batch import Batch
from seqlab.data.base import DataModule
from seqlab.data.corpus import SUFFIXES, SplitBy, build_corpus
from seqlab.data.shards import TokenStream, open_tokens
from seqlab.errors import UserError
from seqlab.tokenizers.base import WORD_END, Tokenizer, accepts_special
from seqlab.types import Fraction, NonNegativeInt, PositiveInt


class TokenWindowDataset(Dataset):
    """Windows of `length` tokens every `stride` tokens, with the same window one token later as targets.

    This is the one place where the targets of a text are shifted.
    """

    def __init__(self, tokens: TokenStream | np.ndarray, length: int, stride: int) -> None:
        self.tokens, self.length, self.stride = tokens, length, stride

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1 - self.length) // self.stride + 1)

    def __getitems__(self, indices: list[int]) -> Batch:
        """-> inputs (B, T), targets (B, T)"""
        starts = [index * self.stride for index in indices]
        rows = np.stack([self.tokens[start : start + self.length + 1] for start in starts])
        windows = torch.from_numpy(rows.astype(np.int64))  # (B, T + 1)
        return Batch(windows[:, :-1], windows[:, 1:])


class TextDataModule(DataModule):
    """Texts, encoded once, in windows of `context_length` tokens that begin every `stride` tokens (null: no overlap).

    `path` is a file, a folder, a pattern with `*`, an address, or a list of such. A plain text is a document, and so is
    the text under `key` of each record in JSON, JSON Lines and Parquet; files may be compressed (.gz, .zst). Several
    documents are joined by end tokens. With `special_tokens` an end token written out in a text, as `<|endoftext|>`, is
    one token and not its characters. Tokens left over at the end of a split are not used.
    """

    data_properties = ("vocab_size", "context_length")

    def __init__(
        self,
        path: str | list[str],
        tokenizer: Tokenizer,
        key: str = "text",
        suffixes: Sequence[str] = SUFFIXES,
        context_length: PositiveInt = 256,
        batch_size: PositiveInt = 8,
        stride: PositiveInt | None = None,
        special_tokens: bool = False,
        normalize: bool = True,
        encoding_errors: Literal["strict", "replace"] = "strict",
        split_by: SplitBy | None = None,
        val_fraction: Fraction = 0.1,
        test_fraction: Fraction = 0.0,
        num_workers: NonNegativeInt = 0,
        folders: Sequence[str] = (),
        url: str | None = None,
        sha256: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.source: dict[str, Any] = {
            "path": path,
            "key": key,
            "suffixes": suffixes,
            "normalize": normalize,
            "encoding_errors": encoding_errors,
            "split_by": split_by,
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "folders": folders,
            "url": url,
            "sha256": sha256,
        }
        self.tokenizer, self.vocab_size, self.special_tokens = tokenizer, tokenizer.vocab_size, special_tokens
        self.context_length, self.stride = context_length, stride or context_length
        encode: Any = tokenizer.encode
        self.encode = partial(encode, special=True) if special_tokens else encode
        if special_tokens and not accepts_special(encode):
            raise UserError(f"special_tokens=true has no effect: {type(tokenizer).__name__} has no special tokens.")

    @classmethod
    def tokenizer_training_texts(cls, split: str, **config: Any) -> Iterator[str]:
        """The texts of the training split, or with `all` those of all splits."""
        corpus = build_corpus(**config)
        if split == "train" and corpus.resolved_split_by == "tokens":
            raise UserError(
                "data.split_by=tokens needs a tokenizer first, and this one learns from the training split: use "
                "data.split_by=characters or documents."
            )
        for owner, piece in corpus.read_pieces(WORD_END):
            if split in (owner, "all"):
                yield piece.text

    def read_splits(self) -> dict[str, Dataset]:
        """The windows of each split."""
        self.corpus = build_corpus(**self.source)
        self.files = list(self.corpus.files)
        self.encoded = open_tokens(self.corpus, self.tokenizer, self.special_tokens)
        return {split: self.build_windows(split, stream) for split, stream in self.encoded.streams.items()}

    def sample_prompt(self, prompt: str | None) -> tuple[str, list[int]]:
        """The prompt, else the first words of the first document."""
        if not prompt:
            beginning = next(next(self.corpus.read_documents()))[:200]
            prompt = " ".join(beginning.split(" ")[:4])
        return prompt, self.encode(prompt)

    def build_windows(self, split: str, tokens: TokenStream) -> TokenWindowDataset:
        """The windows of a split. Raises UserError if the text is too short for one."""
        windows = TokenWindowDataset(tokens, self.context_length, self.stride)
        if not len(windows):
            shorter = [f"data.context_length={len(tokens) // 2}"] if len(tokens) > 1 else []
            other = ["data.val_fraction=0"] if split == "val" else []
            name = self.files[0].name if len(self.files) == 1 else f"these {len(self.files)} files"
            raise UserError(
                f"The {split} split of {name} has {len(tokens)} tokens, too few for one window of data.context_length="
                f"{self.context_length} and its next token (data.batch_size={self.batch_size}): use "
                f"{' or '.join(['a longer text', *shorter, *other])}."
            )
        return windows
