"""A noisy sine, cut into windows with the next values as targets."""

from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqlab.batch import Batch
from seqlab.data.base import DataModule
from seqlab.errors import UserError
from seqlab.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt


class WindowDataset(Dataset):
    """Windows and their next values, fetched a batch at a time."""

    def __init__(self, windows: Tensor, targets: Tensor) -> None:
        self.windows, self.targets = windows, targets

    def __len__(self) -> int:
        return len(self.windows)

    def __getitems__(self, indices: list[int]) -> Batch:
        """-> windows (B, T, C), next values (B, H, C)"""
        return Batch(self.windows[indices], self.targets[indices])


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
        train = samples - round(samples * self.test_fraction)
        val = round(train * self.val_fraction)
        if train - val < 1:
            raise UserError(
                f"A sine of data.length={self.length} is too short for a training window of {self.window} values and "
                f"{self.horizon} next ones: use data.length={self.window + self.horizon + 100} or so."
            )
        clean = np.sin(0.1 * np.linspace(0, 100, self.length))
        noisy = clean + np.random.RandomState(self.seed).normal(0, self.noise, self.length)
        windows, targets = self.make_windows(noisy)
        _, self.clean_targets = self.make_windows(clean)  # what an oracle would forecast
        self.bounds = {"train": (0, train - val), "val": (train - val, train), "test": (train, samples)}
        return {split: WindowDataset(windows[a:b], targets[a:b]) for split, (a, b) in self.bounds.items()}

    def make_windows(self, series: np.ndarray) -> tuple[Tensor, Tensor]:
        """series (N,) -> windows (S, T, 1), next values (S, H, 1)"""
        samples = self.length - self.window - self.horizon + 1
        pieces = np.lib.stride_tricks.sliding_window_view(series, self.window + self.horizon)[:samples]
        both = torch.tensor(pieces, dtype=torch.float32).unsqueeze(-1)
        return both[:, : self.window], both[:, self.window :]

    def baselines(self, split: str) -> dict[str, float]:
        """Mean squared errors on a split of forecasts that need no network.

        `oracle` knows the noise-free sine; `persistence` repeats the last value, `window_mean` the mean of the window;
        `least_squares` is a line through the lags, fitted to the training windows.
        """
        lags, targets = self.lags_and_targets(split)
        train_lags, train_targets = self.lags_and_targets("train")
        fit = torch.linalg.lstsq(add_intercept(train_lags), train_targets).solution  # (T + 1, H)
        start, end = self.bounds[split]
        forecasts = {
            "oracle": self.clean_targets[start:end].squeeze(-1).double(),
            "persistence": lags[:, -1:],
            "window_mean": lags.mean(1, keepdim=True),
            "least_squares": add_intercept(lags) @ fit,
        }
        return {f"mse_{name}": float(((forecast - targets) ** 2).mean()) for name, forecast in forecasts.items()}

    def lags_and_targets(self, split: str) -> tuple[Tensor, Tensor]:
        """-> windows (S, T), next values (S, H), in double precision"""
        samples = cast(WindowDataset, self.splits[split])
        return samples.windows.squeeze(-1).double(), samples.targets.squeeze(-1).double()


def add_intercept(lags: Tensor) -> Tensor:
    """lags (S, T) -> (S, T + 1)"""
    return torch.cat([lags, torch.ones_like(lags[:, :1])], dim=1)
