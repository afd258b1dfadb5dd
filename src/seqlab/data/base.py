"""What all data sets share: splits, loaders in a resumable order, and the count of samples consumed."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seqlab.batch import IGNORE_INDEX, Batch
from seqlab.data.sampler import ResumableBatchSampler
from seqlab.data.windows import Scale
from seqlab.errors import UserError
from seqlab.prompts.chat_template import ChatTemplate
from seqlab.prompts.styles import PromptStyle
from seqlab.types import NonNegativeInt, PositiveInt


class BatchedDataset(Dataset):
    """Fetches whole batches by index list. A negative index marks filler, whose targets are all ignored."""

    def __init__(self, samples: Any, collate: Callable[[Any], Batch | tuple]) -> None:
        self.samples, self.collate = samples, collate

    def __getitems__(self, indices: list[int]) -> Batch:
        """-> inputs (B, …), targets (B, …)"""
        is_filler = indices[0] < 0
        if is_filler:
            indices = [~index for index in indices]
        fetches_batches = hasattr(self.samples, "__getitems__")
        items = self.samples.__getitems__(indices) if fetches_batches else [self.samples[index] for index in indices]
        batch = Batch(*self.collate(items))
        if is_filler:
            ignored = torch.nan if batch.targets.is_floating_point() else IGNORE_INDEX
            batch = batch._replace(targets=torch.full_like(batch.targets, ignored))
        return batch


def identity_collate(batch: Any) -> Any:
    """Batches are already collated."""
    return batch


def leave_signals_to_the_run(worker: int) -> None:
    """In a process that loads batches: Ctrl-C and SIGTERM, which are often sent to all, are the run's, which still needs
    batches. A second SIGTERM ends it, as torch does if it hangs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)


class SignalSafeDataLoader(DataLoader):
    """A DataLoader that no signal reaches while it starts its workers, nor them before they know what to do with one."""

    def __iter__(self) -> Any:
        if not self.num_workers or not hasattr(signal, "pthread_sigmask"):
            return super().__iter__()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, WORKER_SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


WORKER_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A job of a sweep comes from a server of forks, and its workers would be pickled where those of a single run are forked.
WORKER_CONTEXT = "fork" if sys.platform == "linux" else None


class DataModule(LightningDataModule):
    """A data set of up to three splits. A subclass implements `read_splits` and names its properties.

    `data_properties` are the names of what a model may want to know of the data; their values are attributes after
    `setup`. A data set that a tokenizer can learn from has a classmethod `tokenizer_training_texts(split, **config)`.
    """

    data_properties: ClassVar[tuple[str, ...]] = ()
    scale: Scale | None = None  # of a series that is standardised
    columns: Sequence[str] | None = None  # of a series, the names of its channels

    def __init__(self, batch_size: PositiveInt = 1, num_workers: NonNegativeInt = 0) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers
        self.sampler_seed = 0  # set to the run's seed by build.py
        self.test_split = "test"  # what a test loop measures; evaluate chooses another one
        self.splits: dict[str, Dataset] = {}
        self.files: list[Path] = []  # that were read
        self.num_dropped = 0  # samples that were left out
        self.notices: list[str] = []  # what a user should know of the data, said once
        self.prompt_style: PromptStyle | ChatTemplate | None = None  # of data that are prompts and answers
        self.sampler: ResumableBatchSampler | None = None
        self.consumed_samples = 0

    def read_splits(self) -> dict[str, Dataset]:
        """The splits `train`, `val` and `test`; a missing or empty one is left out."""
        raise NotImplementedError  # each data set has its own

    def collate(self, items: Any) -> Batch | tuple:
        """Make a batch of what the split's `__getitems__`, or a list of `__getitem__`, gave."""
        return items

    def to_units(self, values: Tensor) -> Tensor:
        """Values (…, C) of a series in its own units."""
        return self.scale.to_units(values) if self.scale else values

    def forecast_baselines(self, split: str) -> tuple[dict[str, Tensor], Tensor]:
        """Of a series, forecasts of a split (S, H, C) that need no network, by name, and the truth (S, H, C)."""
        return {}, torch.empty(0)

    def baselines(self, split: str) -> dict[str, float]:
        """The mean squared errors of those forecasts over the values that are there, as `mse_<name>`."""
        forecasts, truth = self.forecast_baselines(split)
        return {f"mse_{name}": float((forecast - truth).square().nanmean()) for name, forecast in forecasts.items()}

    def sample_lengths(self) -> Sequence[int] | None:
        """The lengths of the training samples, if each batch shall have samples of similar length."""
        return None

    def setup(self, stage: str | None = None) -> None:
        """Read the splits, once."""
        if self.splits:
            return
        self.splits = {split: samples for split, samples in self.read_splits().items() if len(samples)}  # type: ignore[arg-type]  # sized
        samples: Any = self.splits["train"]
        self.sampler = ResumableBatchSampler(len(samples), self.batch_size, self.sampler_seed, self.sample_lengths())

    def split_dataloader(self, split: str, rank: int = 0, world_size: int = 1) -> DataLoader:
        """A rank's share of a split for evaluation, in file order. Raises UserError for a missing split."""
        if split not in self.splits:
            raise UserError(f"These data have no split {split}; there are: {', '.join(self.splits)}.")
        samples: Any = self.splits[split]
        sampler = ResumableBatchSampler(len(samples), self.batch_size, rank=rank, world_size=world_size)
        return self.build_dataloader(split, sampler)

    def build_dataloader(self, split: str, sampler: ResumableBatchSampler) -> DataLoader:
        """A split in the sampler's order. Its own generator keeps the seeding of workers off the global one."""
        return SignalSafeDataLoader(
            BatchedDataset(self.splits[split], self.collate),
            batch_sampler=sampler,
            collate_fn=identity_collate,
            num_workers=self.num_workers,
            worker_init_fn=leave_signals_to_the_run,
            multiprocessing_context=WORKER_CONTEXT if self.num_workers else None,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),
        )

    def __getstate__(self) -> dict[str, Any]:
        """What a worker needs to collate, where it is not forked but gets a pickle."""
        return self.__dict__ | {"trainer": None, "splits": {}, "sampler": None}

    def rank_and_world_size(self) -> tuple[int, int]:
        """The rank of this process among those that train together, and their number."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> DataLoader:
        """This rank's share of the training split, from the samples consumed on."""
        assert self.sampler is not None, "setup comes first"
        self.sampler.rank, self.sampler.world_size = self.rank_and_world_size()
        self.sampler.consumed_samples = self.consumed_samples
        return self.build_dataloader("train", self.sampler)

    def val_dataloader(self) -> DataLoader | list:
        """This rank's share of the validation split, or nothing."""
        return self.split_dataloader("val", *self.rank_and_world_size()) if "val" in self.splits else []

    def test_dataloader(self) -> DataLoader | list:
        """This rank's share of the split that is tested, or nothing if there is no test split."""
        if self.test_split == "test" and "test" not in self.splits:
            return []
        return self.split_dataloader(self.test_split, *self.rank_and_world_size())

    def sample_prompt(self, prompt: str | None) -> tuple[str, list[int]]:
        """Text and ids that a language model continues to show what it has learned; null: one of the data's own."""
        raise NotImplementedError  # data of text has its own; a series has no prompts

    def advance(self) -> None:
        """Count one training batch as consumed."""
        assert self.sampler is not None, "setup comes first"
        self.sampler.advance()
        self.consumed_samples = self.sampler.consumed_samples

    def advance_to_epoch_end(self) -> None:
        """Let the next epoch reshuffle, also if `limit_train_batches` left samples over."""
        assert self.sampler is not None, "setup comes first"
        self.sampler.consumed_samples = self.consumed_samples
        self.sampler.advance_to_epoch_end()
        self.consumed_samples = self.sampler.consumed_samples

    def reset(self) -> None:
        """Start the order again."""
        assert self.sampler is not None, "setup comes first"
        self.sampler.consumed_samples = self.consumed_samples = 0

    def state_dict(self) -> dict[str, int]:
        """The number of samples consumed, which is the whole state of the order."""
        return {"consumed_samples": self.consumed_samples}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the samples consumed."""
        self.consumed_samples = state_dict["consumed_samples"]
