"""What all data sets share: splits, loaders in seqlab's order, and the count of samples consumed."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from seqlab.data.sampling import Order
from seqlab.mistakes import Mistake


class DataModule(LightningDataModule):
    """A data set of up to three splits. A subclass implements `read` and names its facts.

    `facts` are the names of what a model may want to know of the data; their values are attributes after `setup`.
    """

    facts: tuple[str, ...] = ()

    def __init__(self, batch_size: int = 1, num_workers: int = 0) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers
        self.order_seed = 0  # set to the run's seed by build.py
        self.test_split = "test"  # what a test loop measures; evaluate chooses another one
        self.splits: dict[str, Dataset] = {}
        self.files: list[Path] = []  # what was read
        self.order: Order | None = None
        self.consumed = 0

    def read(self) -> dict[str, Dataset]:
        """The splits `train`, `val` and `test`, of which those that do not exist are left out."""
        raise NotImplementedError

    def collate(self, items: Any) -> tuple[torch.Tensor, ...]:
        """A batch (inputs, targets) from what the split's `__getitems__`, or a list of `__getitem__`, gave."""
        return items

    def setup(self, stage: str | None = None) -> None:
        """Read the splits, once."""
        if self.splits:
            return
        self.splits = {split: samples for split, samples in self.read().items() if len(samples)}  # type: ignore[arg-type]
        self.order = Order(len(self.splits["train"]), self.batch_size, self.order_seed)  # type: ignore[arg-type]

    def loader(self, split: str) -> DataLoader:
        """The loader of a split for evaluation: in file order, the last, smaller batch included."""
        if split not in self.splits:
            raise Mistake(f"These data have no split {split}; there are: {', '.join(self.splits)}.")
        return DataLoader(self.splits[split], self.batch_size, **self.loading())

    def loading(self) -> dict[str, Any]:
        """What all loaders share; the generator of their own keeps worker seeds off the global one."""
        return {
            "collate_fn": self.collate,
            "num_workers": self.num_workers,
            "pin_memory": torch.cuda.is_available(),
            "generator": torch.Generator(),
        }

    def train_dataloader(self) -> DataLoader:
        """The training split in the order of (seed, epoch), from the samples consumed on."""
        assert self.order is not None, "setup comes first"
        self.order.consumed = self.consumed
        return DataLoader(self.splits["train"], batch_sampler=self.order, **self.loading())

    def val_dataloader(self) -> DataLoader | list:
        """The validation split, or nothing."""
        return self.loader("val") if "val" in self.splits else []

    def test_dataloader(self) -> DataLoader | list:
        """The split that is tested, or nothing where there is no test split."""
        return self.loader(self.test_split) if self.test_split != "test" or "test" in self.splits else []

    def sample_prompt(self, prompt: str | None) -> str:
        """The text that a language model shall continue to show what it has learned; null: one of the data's own."""
        return prompt or ""

    def consume(self) -> None:
        """Count one training batch as consumed."""
        assert self.order is not None, "setup comes first"
        self.order.consume()
        self.consumed = self.order.consumed

    def rewind(self) -> None:
        """Begin the order anew."""
        assert self.order is not None, "setup comes first"
        self.order.consumed = self.consumed = 0

    def state_dict(self) -> dict[str, int]:
        """The number of samples consumed, which is the whole state of the order."""
        return {"consumed": self.consumed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the samples consumed."""
        self.consumed = state_dict["consumed"]
