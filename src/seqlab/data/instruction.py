"""Instruction records, rendered as prompts and answers."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import Dataset

from seqlab.batch import IGNORE_INDEX, Batch
from seqlab.data.base import DataModule
from seqlab.data.corpus import find_texts
from seqlab.data.readers import RECORD_SUFFIXES
from seqlab.data.records import Conversation, read_conversations
from seqlab.errors import UserError
from seqlab.prompts.chat_template import ChatTemplate
from seqlab.prompts.choose import choose_prompt_style
from seqlab.prompts.styles import Message, PromptStyle
from seqlab.seeding import derive_seed
from seqlab.tokenizers.base import Tokenizer
from seqlab.types import Fraction, NonNegativeInt, PositiveInt, Seed

Example = tuple[list[int], list[bool]]  # ids with the end token, and which of them are supervised
StyleName = Literal["alpaca", "stanford_alpaca", "phi", "chatml", "llama3", "plain", "chat_template"]
Supervised = Literal["answers", "last_answer", "all"]
SPLITS = ("train", "val", "test")


class InstructionDataset(Dataset):
    """The token ids of each record and its loss mask."""

    def __init__(self, items: Sequence[Example]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Example:
        return self.items[index]


class InstructionDataModule(DataModule):
    """Records of instructions or conversations, in any of the formats of `seqlab.data.records`.

    `path` is a file, a folder, a pattern with `*`, or a list of such. The last `test_fraction` of its records is the test split,
    the last `val_fraction` of the rest the validation split, in file order or, with `split_seed`, in an order drawn from it;
    with `test_path` or `val_path` such a split is these files, and the fraction is 0.
    `keys` maps `instruction`, `input` and `output` to the names in a file.

    `supervised` are the tokens that are scored: those of the answers, of the last answer, or all. Records longer than
    `context_length` are left out, or with `truncate` cut there. What is left out or cut is counted in `notices`. With `packing`
    the records of a batch are one row without padding, in which none sees another.
    """

    data_properties = ("vocab_size", "context_length")
    prompt_style: PromptStyle | ChatTemplate

    def __init__(
        self,
        path: str | list[str],
        tokenizer: Tokenizer,
        context_length: PositiveInt = 256,
        batch_size: PositiveInt = 16,
        prompt_style: StyleName = "alpaca",
        system_prompt: str | None = None,
        supervised: Supervised = "answers",
        truncate: bool = False,
        drop_duplicates: bool = False,
        packing: bool = False,
        bucket_by_length: bool = False,
        keys: dict[str, str] | None = None,
        val_path: str | list[str] | None = None,
        test_path: str | list[str] | None = None,
        val_fraction: Fraction = 0.1,
        test_fraction: Fraction = 0.15,
        split_seed: Seed | None = None,
        num_workers: NonNegativeInt = 0,
        folders: Sequence[str] = (),
        url: str | None = None,
        sha256: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.source: dict[str, Any] = {
            "path": path,
            "val_path": val_path,
            "test_path": test_path,
            "keys": keys,
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "split_seed": split_seed,
            "folders": folders,
            "url": url,
            "sha256": sha256,
        }
        self.tokenizer, self.vocab_size, self.context_length = tokenizer, tokenizer.vocab_size, context_length
        self.prompt_style = choose_prompt_style(prompt_style, tokenizer, system_prompt)
        self.supervised, self.truncate, self.drop_duplicates = supervised, truncate, drop_duplicates
        self.packing, self.bucket_by_length = packing, bucket_by_length

    @classmethod
    def tokenizer_training_texts(
        cls, split: str, prompt_style: StyleName = "alpaca", system_prompt: str | None = None, **config: Any
    ) -> Iterator[str]:
        """The rendered records of the training split, or with `all` those of the whole file."""
        style = choose_prompt_style(prompt_style, None, system_prompt)
        splits, _ = read_splits_of_records(**config)
        for part in SPLITS if split == "all" else ("train",):
            for conversation in splits[part]:
                yield style.format_text(conversation.messages)

    def read_splits(self) -> dict[str, Dataset]:
        """The records of each split."""
        splits, files = read_splits_of_records(**self.source)
        self.files = list(dict.fromkeys(file for of_split in files.values() for file in of_split))
        self.names = {split: files.get(split, files["train"])[0].name for split in SPLITS}
        if not splits["train"]:
            count = sum(map(len, splits.values()))
            raise UserError(f"{self.files[0]} has too few records ({count}) for a training split.")
        self.notices += describe_repetitions(splits, self.drop_duplicates)
        if several := sum(one.has_more_outputs for part in splits.values() for one in part):
            self.notices.append(f"{count_records(several)} with several outputs: the first is taken")
        if self.drop_duplicates:
            splits = drop_seen_prompts(splits)
        self.first_prompt = list((splits["val"] or splits["train"])[0].messages[:-1])
        return {split: self.encode_split(split, part) for split, part in splits.items() if part}

    def encode_split(self, split: str, conversations: list[Conversation]) -> InstructionDataset:
        """The records that are not too long, or cut. Raises UserError if none is left."""
        items = [self.encode_messages(one.messages) for one in conversations]
        longest = self.context_length + 1  # the last token is only a target
        long = sum(len(ids) > longest for ids, _ in items)
        kept = [(ids[:longest], mask[:longest]) for ids, mask in items if self.truncate or len(ids) <= longest]
        scored = [item for item in kept if any(item[1][1:])]
        unscored = len(kept) - len(scored)
        self.num_dropped += len(items) - len(scored)
        limit = f"data.context_length={self.context_length}"
        if long:
            what = "cut at" if self.truncate else "left out, longer than"
            self.notices.append(
                f"{count_records(long, split)} {what} {limit} tokens (the longest has {longest_of(items)})"
            )
        if unscored:
            self.notices.append(f"{count_records(unscored, split)} left out, without a scored token within {limit}")
        if not scored and long == len(items) and not self.truncate:
            raise UserError(
                f"All {len(items)} {split} records of {self.names[split]} are longer than {limit} tokens: use "
                f"{longest_of(items)}."
            )
        if not scored:
            raise UserError(
                f"No {split} record of {self.names[split]} has a token to score within {limit}: use a longer one, or "
                "data.supervised=all."
            )
        return InstructionDataset(scored)

    def sample_lengths(self) -> list[int] | None:
        """Of the training records, with `bucket_by_length`: less padding, since a batch is as long as its longest."""
        samples: Any = self.splits["train"]
        return [len(ids) for ids, _ in samples.items] if self.bucket_by_length else None

    def sample_prompt(self, prompt: str | None) -> tuple[str, list[int]]:
        """The prompt as an instruction, else that of the first record of the validation (or training) split."""
        messages = [Message("user", prompt)] if prompt else self.first_prompt
        return self.prompt_style.format_text(messages), self.prompt_style.render(messages, self.tokenizer)[0]

    def encode_messages(self, messages: list[Message]) -> Example:
        """The ids of a conversation, with one end token after each answer, and which of them are supervised."""
        if self.supervised == "last_answer":
            messages = [*(message._replace(is_scored=False) for message in messages[:-1]), messages[-1]]
        try:
            ids, mask = self.prompt_style.render(messages, self.tokenizer)
        except UserError:
            raise
        except ValueError as error:  # of a tokenizer that does not know every character
            raise UserError(
                f"The tokenizer cannot read these records in data.prompt_style={self.prompt_style.name}: {error}"
            ) from error
        return ids, [True] * len(ids) if self.supervised == "all" else mask

    def collate(self, items: list[Example]) -> Batch:
        """-> inputs (B, T), targets (B, T), T the longest of the batch; with `packing` (1, N), one record behind the other"""
        return pack_examples(items) if self.packing else collate_examples(items, self.tokenizer.eos_id)


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


def pack_examples(items: Sequence[Example]) -> Batch:
    """items (ids with the end token, loss mask) -> inputs (1, N), targets (1, N), document_ids (1, N); nothing is filled up"""
    batches = [collate_examples([item], 0) for item in items]  # of one record each
    lengths = torch.tensor([batch.inputs.size(1) for batch in batches])
    document_ids = torch.arange(len(items)).repeat_interleave(lengths).unsqueeze(0)
    return Batch(torch.cat([b.inputs for b in batches], 1), torch.cat([b.targets for b in batches], 1), document_ids)


def count_records(count: int, split: str = "") -> str:
    """`1 record`, `2 train records`"""
    return " ".join(filter(None, (str(count), split, "record" if count == 1 else "records")))


def longest_of(items: Iterable[Example]) -> int:
    """The most tokens that a record needs as context."""
    return max(len(ids) for ids, _ in items) - 1


# ---------------------------------------------------------------------- splits


def read_splits_of_records(
    path: str | list[str],
    val_path: str | list[str] | None = None,
    test_path: str | list[str] | None = None,
    keys: dict[str, str] | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.15,
    split_seed: int | None = None,
    folders: Sequence[str] = (),
    url: str | None = None,
    sha256: str | None = None,
    **_: Any,
) -> tuple[dict[str, list[Conversation]], dict[str, list[Path]]]:
    """The records of each split, and the files of training and of splits that have their own; other keys have no meaning here."""
    files = {"train": find_texts(path, folders, RECORD_SUFFIXES, url, sha256)}
    conversations = read_conversations(files["train"], keys)
    if split_seed is not None:
        generator = torch.Generator().manual_seed(derive_seed(split_seed, "split"))
        order = torch.randperm(len(conversations), generator=generator).tolist()
        conversations = [conversations[number] for number in order]
    splits = split_conversations(conversations, 0 if val_path else val_fraction, 0 if test_path else test_fraction)
    for split, own in (("val", val_path), ("test", test_path)):
        if own:
            files[split] = find_texts(own, folders, RECORD_SUFFIXES, key=f"data.{split}_path")
            splits[split] = read_conversations(files[split], keys)
    return splits, files


def split_conversations(
    conversations: list[Conversation], val_fraction: float, test_fraction: float
) -> dict[str, list[Conversation]]:
    """Cut records in their order: train, then validation, then test."""
    rest = int(len(conversations) * (1 - test_fraction) + 1e-9)
    train = rest - int(rest * val_fraction)
    return {"train": conversations[:train], "val": conversations[train:rest], "test": conversations[rest:]}


def describe_repetitions(splits: dict[str, list[Conversation]], are_dropped: bool) -> list[str]:
    """A sentence on prompts that stand twice in a split, or in one that is measured and in that which is trained on."""
    trained = {one.prompt for one in splits["train"]}
    repeated = {split: len(part) - len({one.prompt for one in part}) for split, part in splits.items()}
    leaked = {split: sum(one.prompt in trained for one in splits[split]) for split in ("val", "test")}
    found = []
    for counts, what in ((repeated, "repeat a prompt"), (leaked, "have a prompt that is trained on")):
        if said := " and ".join(f"{count} {split}" for split, count in counts.items() if count):
            found.append(f"{said} records {what}")
    remedy = "left out" if are_dropped else "data.drop_duplicates=true leaves them out"
    return [f"{', '.join(found)}: {remedy}"] if found else []


def drop_seen_prompts(splits: dict[str, list[Conversation]]) -> dict[str, list[Conversation]]:
    """The records whose prompt none before them has, in this split or in one before it."""
    seen: set[tuple[Message, ...]] = set()
    kept: dict[str, list[Conversation]] = {}
    for split, part in splits.items():
        kept[split] = []
        for one in part:
            if one.prompt not in seen:
                kept[split].append(one)
            seen.add(one.prompt)
    return kept
