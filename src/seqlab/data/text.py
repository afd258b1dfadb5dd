"""One text file, cut into windows of tokens."""

import inspect
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqlab.batch import Batch
from seqlab.data.base import DataModule
from seqlab.errors import UserError
from seqlab.files import find_file
from seqlab.tokenizers.base import Tokenizer
from seqlab.types import Fraction, NonNegativeInt, PositiveInt


class TokenWindowDataset(Dataset):
    """Windows of `length` tokens every `stride` tokens, with the same window one token later as targets.

    This is the one place where the targets of a text are shifted.
    """

    def __init__(self, tokens: Tensor, length: int, stride: int) -> None:
        self.tokens, self.length, self.stride = tokens, length, stride

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1 - self.length) // self.stride + 1)

    def __getitems__(self, indices: list[int]) -> Batch:
        """-> inputs (B, T), targets (B, T)"""
        starts = torch.tensor(indices).unsqueeze(1) * self.stride  # (B, 1)
        windows = self.tokens[starts + torch.arange(self.length + 1)].long()  # (B, T + 1)
        return Batch(windows[:, :-1], windows[:, 1:])


class TextDataModule(DataModule):
    """A UTF-8 file, split by characters into train, validation and test, in this order.

    With `special_tokens` an end token written out in the text, as `<|endoftext|>`, is one token and not its characters.
    Windows have `context_length` tokens and begin every `stride` tokens (null: no overlap); tokens left over at the end of
    a split are not used.
    """

    data_properties = ("vocab_size", "context_length")

    def __init__(
        self,
        path: str,
        tokenizer: Tokenizer,
        context_length: PositiveInt = 256,
        batch_size: PositiveInt = 8,
        stride: PositiveInt | None = None,
        special_tokens: bool = False,
        val_fraction: Fraction = 0.1,
        test_fraction: Fraction = 0.0,
        num_workers: NonNegativeInt = 0,
        folders: Sequence[str] = (),
        url: str | None = None,
        sha256: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.source: dict[str, Any] = {"path": path, "folders": folders, "url": url, "sha256": sha256}
        self.tokenizer, self.vocab_size = tokenizer, tokenizer.vocab_size
        self.context_length, self.stride = context_length, stride or context_length
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        encode: Any = tokenizer.encode
        self.encode = partial(encode, special=True) if special_tokens else encode
        if special_tokens and "special" not in inspect.signature(encode).parameters:
            raise UserError(f"special_tokens=true has no effect: {type(tokenizer).__name__} has no special tokens.")

    @classmethod
    def tokenizer_training_texts(
        cls, split: str, val_fraction: float = 0.1, test_fraction: float = 0.0, **config: Any
    ) -> Iterator[str]:
        """The texts of the training split, or with `all` those of the whole file."""
        text = read_text(find_source(config))
        yield text if split == "all" else split_text(text, val_fraction, test_fraction)["train"]

    def read_splits(self) -> dict[str, Dataset]:
        """The windows of each split."""
        if self.val_fraction + self.test_fraction >= 1:
            raise UserError(
                f"data.val_fraction={self.val_fraction} and data.test_fraction={self.test_fraction} leave nothing to train on: "
                "they must add up to less than 1."
            )
        self.files = [find_source(self.source)]
        parts = split_text(read_text(self.files[0]), self.val_fraction, self.test_fraction)
        return {split: self.build_windows(split, part) for split, part in parts.items() if part}

    def sample_prompt(self, prompt: str | None) -> tuple[str, list[int]]:
        """The prompt, else the first words of the file."""
        text = prompt or " ".join(read_text(self.files[0])[:200].split(" ")[:4])
        return text, self.encode(text)

    def build_windows(self, split: str, text: str) -> TokenWindowDataset:
        """The windows of a split. Raises UserError if the text is too short for one."""
        tokens = torch.tensor(self.encode(text), dtype=torch.int32)
        windows = TokenWindowDataset(tokens, self.context_length, self.stride)
        if not len(windows):
            shorter = f", data.context_length={len(tokens) // 2}" if len(tokens) > 1 else ""
            other = " or data.val_fraction=0" if split == "val" else ""
            raise UserError(
                f"The {split} split of {self.files[0].name} has {len(tokens)} tokens ({len(text)} characters), too few for "
                f"one window of data.context_length={self.context_length} and its next token (data.batch_size="
                f"{self.batch_size}): use a longer text{shorter}{other}."
            )
        return windows


def split_text(text: str, val_fraction: float, test_fraction: float) -> dict[str, str]:
    """Cut a text by characters: train, then validation, then test."""
    first = int(len(text) * (1 - val_fraction - test_fraction) + 1e-9)
    second = int(len(text) * (1 - test_fraction) + 1e-9)
    return {"train": text[:first], "val": text[first:second], "test": text[second:]}


def find_source(config: dict[str, Any]) -> Path:
    """The file that a config's `path`, `folders`, `url` and `sha256` name."""
    return find_file(**{key: config[key] for key in ("path", "folders", "url", "sha256") if key in config})


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte-order mark. Raises UserError if it cannot be read, is not UTF-8, or empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): name another file with data.path=<file>."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}): convert it, for instance "
            f"with iconv -f latin1 -t utf-8."
        ) from error
    if not text.strip():
        raise UserError(f"{path} is empty: name a text with data.path=<file>.")
    return text
