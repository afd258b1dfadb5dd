"""What all data sets share: splits, loaders in seqlab's order, and the count of samples consumed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from seqlab.data.sampler import ResumableBatchSampler
from seqlab.errors import UserError

IGNORE_INDEX = -100  # a target that is not scored, among token ids; NaN among values

Batch = tuple[torch.Tensor, ...]


class BatchedDataset(Dataset):
    """What a loader reads: the batch of a list of sample numbers. Of a stand-in, `~number`, no target is scored."""

    def __init__(self, samples: Any, collate: Callable[[Any], Batch]) -> None:
        self.samples, self.collate = samples, collate

    def __getitems__(self, numbers: list[int]) -> Batch:
        """-> inputs (B, …), targets (B, …)"""
        stands_in = numbers[0] < 0
        if stands_in:
            numbers = [~number for number in numbers]
        at_once = hasattr(self.samples, "__getitems__")
        items = self.samples.__getitems__(numbers) if at_once else [self.samples[number] for number in numbers]
        inputs, targets, *rest = self.collate(items)
        if stands_in:
            targets = torch.full_like(targets, torch.nan if targets.is_floating_point() else IGNORE_INDEX)
        return inputs, targets, *rest


def identity_collate(batch: Any) -> Any:
    """Batches come collated."""
    return batch


class DataModule(LightningDataModule):
    """A data set of up to three splits. A subclass implements `read` and names its data_properties.

    `data_properties` are the names of what a model may want to know of the data; their values are attributes after `setup`.
    """

    data_properties: tuple[str, ...] = ()

    def __init__(self, batch_size: int = 1, num_workers: int = 0) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers
        self.sampler_seed = 0  # set to the run's seed by build.py
        self.test_split = "test"  # what a test loop metric_names; evaluate chooses another one
        self.splits: dict[str, Dataset] = {}
        self.files: list[Path] = []  # what was read
        self.sampler: ResumableBatchSampler | None = None
        self.consumed_samples = 0

    def read_splits(self) -> dict[str, Dataset]:
        """The splits `train`, `val` and `test`, of which those that do not exist are left out."""
        raise NotImplementedError

    def collate(self, items: Any) -> Batch:
        """A batch (inputs, targets) from what the split's `__getitems__`, or a list of `__getitem__`, gave."""
        return items

    def sample_lengths(self) -> Sequence[int] | None:
        """The lengths of the training samples, if those of a batch shall be of similar length."""
        return None

    def setup(self, stage: str | None = None) -> None:
        """Read the splits, once."""
        if self.splits:
            return
        self.splits = {split: samples for split, samples in self.read_splits().items() if len(samples)}  # type: ignore[arg-type]  # sized
        samples: Any = self.splits["train"]
        self.sampler = ResumableBatchSampler(len(samples), self.batch_size, self.sampler_seed, self.sample_lengths())

    def split_dataloader(self, split: str, rank: int = 0, world_size: int = 1) -> DataLoader:
        """A rank's share of a split for evaluation: in file order, the last, smaller batch included."""
        if split not in self.splits:
            raise UserError(f"These data have no split {split}; there are: {', '.join(self.splits)}.")
        samples: Any = self.splits[split]
        return self.build_dataloader(
            split, ResumableBatchSampler(len(samples), self.batch_size, rank=rank, world_size=world_size)
        )

    def build_dataloader(self, split: str, order: ResumableBatchSampler) -> DataLoader:
        """A split in an order; the generator of its own keeps the seeds of workers off the global one."""
        return DataLoader(
            BatchedDataset(self.splits[split], self.collate),
            batch_sampler=order,
            collate_fn=identity_collate,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),
        )

    def rank_and_world_size(self) -> tuple[int, int]:
        """This process among those that train together: its rank, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> DataLoader:
        """This rank's share of the training split in the order of (seed, epoch), from the samples consumed on."""
        assert self.sampler is not None, "setup comes first"
        self.sampler.rank, self.sampler.world_size = self.rank_and_world_size()
        self.sampler.consumed_samples = self.consumed_samples
        return self.build_dataloader("train", self.sampler)

    def val_dataloader(self) -> DataLoader | list:
        """This rank's share of the validation split, or nothing."""
        return self.split_dataloader("val", *self.rank_and_world_size()) if "val" in self.splits else []

    def test_dataloader(self) -> DataLoader | list:
        """This rank's share of the split that is tested, or nothing where there is no test split."""
        there = self.test_split != "test" or "test" in self.splits
        return self.split_dataloader(self.test_split, *self.rank_and_world_size()) if there else []

    def sample_prompt(self, prompt: str | None) -> str:
        """The text that a language model shall continue to show what it has learned; null: one of the data's own."""
        return prompt or ""

    def advance(self) -> None:
        """Count one training batch as consumed."""
        assert self.sampler is not None, "setup comes first"
        self.sampler.advance()
        self.consumed_samples = self.sampler.consumed_samples

    def end_epoch(self) -> None:
        """The next epoch begins with a new permutation, also where `limit_train_batches` left samples over."""
        assert self.sampler is not None, "setup comes first"
        self.sampler.consumed_samples = self.consumed_samples = (
            -(-self.consumed_samples // self.sampler.num_samples) * self.sampler.num_samples
        )

    def reset(self) -> None:
        """Begin the order anew."""
        assert self.sampler is not None, "setup comes first"
        self.sampler.consumed_samples = self.consumed_samples = 0

    def state_dict(self) -> dict[str, int]:
        """The number of samples consumed, which is the whole state of the order."""
        return {"consumed": self.consumed_samples}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the samples consumed."""
        self.consumed_samples = state_dict["consumed"]
