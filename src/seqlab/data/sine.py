"""A noisy sine, cut into windows with the next values as targets."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqlab.data.base import DataModule
from seqlab.data.windows import WindowDataset, forecast_without_network, split_in_time
from seqlab.errors import UserError
from seqlab.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt


class SineDataModule(DataModule):
    """`length` values of sin(0.1 x) + N(0, noise) over x in [0, 100], split in time order: train, validation, test.

    `val_fraction` is cut from the end of what is left after the test split.
    """

    data_properties = ("channels", "window", "horizon")
    channels = 1

    def __init__(
        self,
        batch_size: PositiveInt = 800,
        window: PositiveInt = 20,
        horizon: PositiveInt = 1,
        length: PositiveInt = 1020,
        noise: NonNegativeFloat = 0.1,
        val_fraction: Fraction = 0.0,
        test_fraction: Fraction = 0.2,
        seed: NonNegativeInt = 0,
        num_workers: NonNegativeInt = 0,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.window, self.horizon, self.length, self.noise, self.seed = window, horizon, length, noise, seed
        self.val_fraction, self.test_fraction = val_fraction, test_fraction

    def read_splits(self) -> dict[str, Dataset]:
        """Windows (T, 1) and next values (H, 1)."""
        samples = self.length - self.window - self.horizon + 1
        starts = split_in_time(samples, self.val_fraction, self.test_fraction)
        if not starts["train"]:
            raise UserError(
                f"A sine of data.length={self.length} is too short for a training window of {self.window} values and "
                f"{self.horizon} next ones: use data.length={self.window + self.horizon + 100} or so."
            )
        clean = np.sin(0.1 * np.linspace(0, 100, self.length))
        noisy = clean + np.random.RandomState(self.seed).normal(0, self.noise, self.length)
        series, self.clean = (torch.tensor(values, dtype=torch.float32).unsqueeze(-1) for values in (noisy, clean))
        return {split: WindowDataset(series, of, self.window, self.horizon) for split, of in starts.items()}

    def forecast_baselines(self, split: str) -> tuple[dict[str, Tensor], Tensor]:
        """Forecasts of a split (S, H, 1) that need no network, by name, and the truth (S, H, 1); the `oracle` knows the sine
        without noise.
        """
        tested: Any = self.splits[split]
        train: Any = self.splits["train"]
        windows, targets = tested.read_all()
        _, clean_targets = WindowDataset(self.clean, tested.starts.tolist(), self.window, self.horizon).read_all()
        return {"oracle": clean_targets} | forecast_without_network(train, windows, self.horizon), targets
