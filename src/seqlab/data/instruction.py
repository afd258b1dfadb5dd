"""Instruction records, rendered as prompt and answer."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import Dataset

from seqlab.batch import IGNORE_INDEX, Batch
from seqlab.data.base import DataModule
from seqlab.data.readers import TextReader, check_characters
from seqlab.errors import UserError
from seqlab.files import find_file
from seqlab.prompts.styles import STYLES, Message, PromptStyle
from seqlab.tokenizers.base import Tokenizer
from seqlab.types import Fraction, NonNegativeInt, PositiveInt

Example = tuple[list[int], list[bool]]  # ids with the end token, and which of them are supervised


class InstructionDataset(Dataset):
    """The token ids of each record and its loss mask."""

    def __init__(self, items: Sequence[Example]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Example:
        return self.items[index]


class InstructionDataModule(DataModule):
    """A JSON list of records `instruction`, `input` (may be missing) and `output`, split in file order.

    The last `test_fraction` is the test split, the last `val_fraction` of the rest the validation split. Records longer
    than `context_length` are left out, and counted in `num_dropped`.
    """

    data_properties = ("vocab_size", "context_length")
    prompt_style: PromptStyle

    def __init__(
        self,
        path: str,
        tokenizer: Tokenizer,
        context_length: PositiveInt = 256,
        batch_size: PositiveInt = 16,
        prompt_style: Literal["alpaca", "stanford_alpaca", "phi"] = "alpaca",
        mask_prompt: bool = True,
        bucket_by_length: bool = False,
        val_fraction: Fraction = 0.1,
        test_fraction: Fraction = 0.15,
        num_workers: NonNegativeInt = 0,
        folders: Sequence[str] = (),
        url: str | None = None,
        sha256: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.source: dict[str, Any] = {"path": path, "folders": folders, "url": url, "sha256": sha256}
        self.tokenizer, self.vocab_size, self.context_length = tokenizer, tokenizer.vocab_size, context_length
        self.prompt_style = STYLES[prompt_style]
        self.mask_prompt, self.bucket_by_length = mask_prompt, bucket_by_length
        self.val_fraction, self.test_fraction = val_fraction, test_fraction

    @classmethod
    def tokenizer_training_texts(
        cls,
        split: str,
        prompt_style: str = "alpaca",
        val_fraction: float = 0.1,
        test_fraction: float = 0.15,
        **config: Any,
    ) -> Iterator[str]:
        """The rendered records of the training split, or with `all` those of the whole file."""
        examples = read_examples(find_source(config))
        for example in examples if split == "all" else split_examples(examples, val_fraction, test_fraction)["train"]:
            yield STYLES[prompt_style].format_prompt(to_messages(example)[:1]) + example["output"]

    def read_splits(self) -> dict[str, Dataset]:
        """The records of each split."""
        self.files = [find_source(self.source)]
        examples = read_examples(self.files[0])
        parts = split_examples(examples, self.val_fraction, self.test_fraction)
        if not parts["train"]:
            raise UserError(f"{self.files[0]} has too few records ({len(examples)}) for a training split.")
        self.first_example = (parts["val"] or parts["train"])[0]
        return {split: self.encode_split(split, part) for split, part in parts.items() if part}

    def encode_split(self, split: str, examples: list[dict[str, str]]) -> InstructionDataset:
        """The records that are not too long. Raises UserError if all are."""
        items = [self.encode_example(example) for example in examples]
        kept = [item for item in items if len(item[0]) - 1 <= self.context_length]
        self.num_dropped += len(items) - len(kept)
        self.drop_reason = f"records longer than data.context_length={self.context_length}"
        if not kept:
            raise UserError(
                f"All {len(examples)} {split} records of {self.files[0].name} are longer than data.context_length="
                f"{self.context_length} tokens: use {max(len(ids) for ids, _ in items) - 1}."
            )
        return InstructionDataset(kept)

    def sample_lengths(self) -> list[int] | None:
        """Of the training records, with `bucket_by_length`: less padding, since a batch is as long as its longest."""
        samples: Any = self.splits["train"]
        return [len(ids) for ids, _ in samples.items] if self.bucket_by_length else None

    def sample_prompt(self, prompt: str | None) -> tuple[str, list[int]]:
        """The prompt as an instruction, else the first record of the validation (or training) split."""
        messages = [Message("user", prompt)] if prompt else to_messages(self.first_example)[:1]
        return self.prompt_style.format_prompt(messages), self.prompt_style.render(messages, self.tokenizer)[0]

    def encode_example(self, example: dict[str, str]) -> Example:
        """The ids of prompt, answer and one end token, and which of them are supervised."""
        try:
            ids, mask = self.prompt_style.render(to_messages(example), self.tokenizer)
        except UserError:
            raise
        except ValueError as error:  # of a tokenizer that does not know every character
            raise UserError(
                f"The tokenizer cannot read these records in data.prompt_style={self.prompt_style.name}: {error}"
            ) from error
        return ids, mask if self.mask_prompt else [True] * len(ids)

    def collate(self, items: list[Example]) -> Batch:
        """-> inputs (B, T), targets (B, T), T the longest of the batch"""
        return collate_examples(items, self.tokenizer.eos_id)


def collate_examples(items: Sequence[Example], pad: int) -> Batch:
    """items (ids with the end token, loss mask) -> inputs (B, T), targets (B, T)

    A target is scored if the mask says so of its own token, never by its value, so that a pad that is also the end token
    is scored once. The last token of a prompt predicts the first one of the answer.
    """
    T = max(len(ids) for ids, _ in items) - 1
    inputs = torch.full((len(items), T), pad)
    targets = torch.full((len(items), T), IGNORE_INDEX)
    for row, (ids, mask) in enumerate(items):
        shifted = torch.tensor(ids)  # (T' + 1,)
        inputs[row, : len(ids) - 1] = shifted[:-1]
        targets[row, : len(ids) - 1] = shifted[1:].masked_fill(~torch.tensor(mask[1:], dtype=torch.bool), IGNORE_INDEX)
    return Batch(inputs, targets)


def to_messages(example: dict[str, str]) -> list[Message]:
    """A record as a conversation of two messages."""
    return [Message("user", example["instruction"], example["input"]), Message("assistant", example["output"])]


def split_examples(
    examples: list[dict[str, str]], val_fraction: float, test_fraction: float
) -> dict[str, list[dict[str, str]]]:
    """Cut records in file order: train, then validation, then test."""
    rest = int(len(examples) * (1 - test_fraction) + 1e-9)
    train = rest - int(rest * val_fraction)
    return {"train": examples[:train], "val": examples[train:rest], "test": examples[rest:]}


def find_source(config: dict[str, Any]) -> Path:
    """The file that a config's `path`, `folders`, `url` and `sha256` name."""
    return find_file(**{key: config[key] for key in ("path", "folders", "url", "sha256") if key in config})


def read_examples(path: Path) -> list[dict[str, str]]:
    """The records of a JSON list or of JSON Lines, each with `instruction`, `input` and `output`.

    Raises UserError naming file, record number (from 1) and reason.
    """
    examples = list(TextReader().read_values(path))
    if not examples:
        raise UserError(f'{path} has no records; write [{{"instruction": …, "input": …, "output": …}}, …].')
    return [check_example(example, number, path) for number, example in enumerate(examples, 1)]


def check_example(example: Any, number: int, path: Path) -> dict[str, str]:
    """The record, with an empty input if it has none. Raises UserError."""
    if not isinstance(example, dict):
        raise UserError(
            f"Record {number} of {path} is not an object but {json.dumps(example)[:40]}; write instruction, input and output."
        )
    example = {"input": "", **example}
    for key in ("instruction", "input", "output"):
        if not isinstance(example.get(key), str) or (key != "input" and not example[key].strip()):
            raise UserError(f"Record {number} of {path} has no text under {key}: add it, or remove the record.")
        check_characters(example[key], f"Record {number} of {path}, under {key},")
    return {key: example[key] for key in ("instruction", "input", "output")}
