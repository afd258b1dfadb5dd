"""Instruction records, rendered as prompt and answer."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqlab import files
from seqlab.data.base import IGNORE_INDEX, DataModule
from seqlab.data.text import Tokenizer, read_text
from seqlab.errors import UserError
from seqlab.prompts.styles import STYLES


class InstructionDataset(Dataset):
    """Token ids of each record, the end token included, and the length of its prompt."""

    def __init__(self, items: Sequence[tuple[list[int], int]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> tuple[list[int], int]:
        return self.items[number]


class InstructionDataModule(DataModule):
    """A JSON list of records `instruction`, `input` (may be missing) and `output`, split in file order.

    The last `test_fraction` is the test split, the last `val_fraction` of the rest the validation split. Records longer
    than `context_length` are left out, and counted in `dropped`.
    """

    data_properties = ("vocab_size", "context_length")

    def __init__(
        self,
        path: str,
        tokenizer: Tokenizer,
        context_length: int = 256,
        batch_size: int = 16,
        prompt_style: Literal["alpaca", "stanford_alpaca", "phi"] = "alpaca",
        mask_prompt: bool = True,
        bucket_by_length: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.15,
        num_workers: int = 0,
        folders: Iterable[str] = (),
        url: str | None = None,
        sha256: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.source: dict[str, Any] = {"path": path, "folders": folders, "url": url, "sha256": sha256}
        self.tokenizer, self.vocab_size, self.context_length = tokenizer, tokenizer.vocab_size, context_length
        self.render, self.mask_prompt = STYLES[prompt_style], mask_prompt
        self.bucket_by_length = bucket_by_length
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.dropped = 0

    @classmethod
    def tokenizer_training_texts(cls, prompt_style: str = "alpaca", **source: Any) -> str:
        """What a tokenizer learns from: all records as rendered."""
        path = files.find_file(**{key: source[key] for key in ("path", "folders", "url", "sha256") if key in source})
        return "".join(STYLES[prompt_style](r["instruction"], r["input"]) + r["output"] for r in read_examples(path))

    def read_splits(self) -> dict[str, Dataset]:
        """The records of each split."""
        self.files = [files.find_file(**self.source)]
        records = read_examples(self.files[0])
        rest = int(len(records) * (1 - self.test_fraction) + 1e-9)
        train = rest - int(rest * self.val_fraction)
        parts = {"train": records[:train], "val": records[train:rest], "test": records[rest:]}
        if not parts["train"]:
            raise UserError(f"{self.files[0]} has too few records ({len(records)}) for a training split.")
        self.first_record = (parts["val"] or parts["train"])[0]
        splits: dict[str, Dataset] = {}
        for split, part in parts.items():
            items = [self.encode_example(record) for record in part]
            kept = [item for item in items if len(item[0]) - 1 <= self.context_length]
            self.dropped += len(items) - len(kept)
            if part and not kept:
                raise UserError(
                    f"All {len(part)} {split} records of {self.files[0].name} are longer than data.context_length="
                    f"{self.context_length} tokens: take {max(len(i[0]) for i in items) - 1}."
                )
            splits[split] = InstructionDataset(kept)
        return splits

    def sample_lengths(self) -> list[int] | None:
        """Of the training records, with `bucket_by_length`: less padding, since a batch is as long as its longest."""
        records: Any = self.splits["train"]
        return [len(ids) for ids, _ in records.items] if self.bucket_by_length else None

    def sample_prompt(self, prompt: str | None) -> str:
        """The instruction rendered, else the first record of the validation (or training) split."""
        if prompt:
            return self.render(prompt, "")
        record = self.first_record
        return self.render(record["instruction"], record["input"])

    def encode_example(self, record: dict[str, str]) -> tuple[list[int], int]:
        """The ids of prompt, answer and one end token, and how many of them are the prompt's."""
        prompt = self.tokenizer.encode(self.render(record["instruction"], record["input"]))
        return prompt + self.tokenizer.encode(record["output"]) + [self.tokenizer.eos_id], len(prompt)

    def collate(self, items: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
        """-> inputs (B, T), targets (B, T), T the longest of the batch"""
        return collate(items, self.tokenizer.eos_id, self.mask_prompt)


def collate(items: Sequence[tuple[list[int], int]], pad: int, mask_prompt: bool) -> tuple[Tensor, Tensor]:
    """items (ids with the end token, length of the prompt) -> inputs (B, T), targets (B, T)

    Masks go by length, never by value, so that a pad that is also the end token is scored once. A prompt of p tokens
    masks p - 1 targets: the last one predicts the first token of the answer.
    """
    T = max(len(ids) for ids, _ in items) - 1
    inputs = torch.full((len(items), T), pad)
    targets = torch.full((len(items), T), IGNORE_INDEX)
    for row, (ids, prompt) in enumerate(items):
        inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        first = max(prompt - 1, 0) if mask_prompt else 0
        targets[row, first : len(ids) - 1] = torch.tensor(ids[first + 1 :])
    return inputs, targets


def read_examples(path: Path) -> list[dict[str, str]]:
    """The records of a JSON file, each with `instruction`, `input` and `output`.

    Raises Mistake naming file, record number (from 1) and reason.
    """
    text = read_text(path)
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        number = text.count('"instruction"', 0, error.pos)
        raise UserError(
            f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}, in or after record {number}; "
            "mend it there."
        ) from error
    if not isinstance(records, list) or not records:
        raise UserError(f'{path} holds no list of records; write [{{"instruction": …, "input": …, "output": …}}, …].')
    return [check_example(record, number, path) for number, record in enumerate(records, 1)]


def check_example(record: Any, number: int, path: Path) -> dict[str, str]:
    """The record with an empty input where it has none."""
    if not isinstance(record, dict):
        raise UserError(
            f"Record {number} of {path} is no object but {json.dumps(record)[:40]}; write instruction, input and output."
        )
    record = {"input": "", **record}
    for key in ("instruction", "input", "output"):
        if not isinstance(record.get(key), str) or (key != "input" and not record[key].strip()):
            raise UserError(f"Record {number} of {path} has no text under {key}: add it, or take the record out.")
    return {key: record[key] for key in ("instruction", "input", "output")}
