"""One text file, cut into windows of tokens."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqlab import files
from seqlab.data.base import DataModule
from seqlab.errors import UserError


class Tokenizer(Protocol):
    """What data ask of a tokenizer."""

    vocab_size: int
    eos_id: int

    def encode(self, text: str) -> list[int]: ...


class TokenWindowDataset(Dataset):
    """Windows of `length` tokens every `stride` tokens, with the same window one token later as targets.

    The one place in seqlab where targets are shifted for a text.
    """

    def __init__(self, tokens: Tensor, length: int, stride: int) -> None:
        self.tokens, self.length, self.stride = tokens, length, stride

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1 - self.length) // self.stride + 1)

    def __getitems__(self, numbers: list[int]) -> tuple[Tensor, Tensor]:
        """-> inputs (B, T), targets (B, T)"""
        starts = torch.tensor(numbers).unsqueeze(1) * self.stride  # (B, 1)
        windows = self.tokens[starts + torch.arange(self.length + 1)].long()  # (B, T + 1)
        return windows[:, :-1], windows[:, 1:]

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """-> inputs (T,), targets (T,)"""
        inputs, targets = self.__getitems__([number])
        return inputs[0], targets[0]


class TextDataModule(DataModule):
    """A UTF-8 file, split by characters into train, validation and test, in this order.

    Windows have `context_length` tokens and begin every `stride` tokens (null: no overlap); what is left over at the
    end of a split is not used.
    """

    data_properties = ("vocab_size", "context_length")

    def __init__(
        self,
        path: str,
        tokenizer: Tokenizer,
        context_length: int = 256,
        batch_size: int = 8,
        stride: int | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.0,
        num_workers: int = 0,
        folders: Iterable[str] = (),
        url: str | None = None,
        sha256: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.source: dict[str, Any] = {"path": path, "folders": folders, "url": url, "sha256": sha256}
        self.tokenizer, self.vocab_size = tokenizer, tokenizer.vocab_size
        self.context_length, self.stride = context_length, stride or context_length
        self.val_fraction, self.test_fraction = val_fraction, test_fraction

    @classmethod
    def tokenizer_training_texts(cls, **source: Any) -> str:
        """What a tokenizer learns from: the whole file, so that no split has a character that it lacks."""
        return read_text(
            files.find_file(**{key: source[key] for key in ("path", "folders", "url", "sha256") if key in source})
        )

    def read_splits(self) -> dict[str, Dataset]:
        """Windows of each split."""
        if self.val_fraction + self.test_fraction >= 1:
            raise UserError(
                f"data.val_fraction={self.val_fraction} and data.test_fraction={self.test_fraction} leave nothing to train on: "
                "they must add up to less than 1."
            )
        self.files = [files.find_file(**self.source)]
        text = read_text(self.files[0])
        first = int(len(text) * (1 - self.val_fraction - self.test_fraction) + 1e-9)
        second = int(len(text) * (1 - self.test_fraction) + 1e-9)
        parts = {"train": text[:first], "val": text[first:second], "test": text[second:]}
        return {split: self.build_windows(split, part) for split, part in parts.items() if part}

    def sample_prompt(self, prompt: str | None) -> str:
        """The prompt, else the first words of the file."""
        return prompt or " ".join(read_text(self.files[0])[:200].split(" ")[:4])

    def build_windows(self, split: str, text: str) -> TokenWindowDataset:
        """The windows of a split. Raises Mistake where the text is too short for one."""
        tokens = torch.tensor(self.tokenizer.encode(text), dtype=torch.int32)
        windows = TokenWindowDataset(tokens, self.context_length, self.stride)
        if not len(windows):
            other = " or data.val_fraction=0" if split == "val" else ""
            raise UserError(
                f"The {split} split of {self.files[0].name} has {len(tokens)} tokens ({len(text)} characters), too few for "
                f"one window of data.context_length={self.context_length} and its next token (data.batch_size="
                f"{self.batch_size}): take a longer text, data.context_length={max(1, len(tokens) // 2)}{other}."
            )
        return windows


def read_text(path: Path) -> str:
    """The text of a UTF-8 file. Raises Mistake where it is none, or empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}): convert it, for instance "
            f"with iconv -f latin1 -t utf-8."
        ) from error
    if not text.strip():
        raise UserError(f"{path} is empty: give a text with data.path=<file>.")
    return text
