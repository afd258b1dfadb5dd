"""Windows of a series with the values that follow them, and what forecasts without a network are worth on them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqlab.batch import Batch

MAX_LEAST_SQUARES = 20_000  # windows that the line is fitted to, evenly chosen of more


class Scale(NamedTuple):
    """How the channels of a series are standardised; in double precision, since values in units of their own may be large."""

    mean: Sequence[float]  # (C,)
    std: Sequence[float]  # (C,)

    def standardize(self, values: Tensor) -> Tensor:
        """Values (…, C) in the units of the series -> what is trained on, in fp32"""
        mean, std = torch.tensor(self.mean, dtype=torch.float64), torch.tensor(self.std, dtype=torch.float64)
        return ((values.double().cpu() - mean) / std).float()

    def to_units(self, values: Tensor) -> Tensor:
        """Standardised values (…, C) -> in the units of the series"""
        mean, std = torch.tensor(self.mean, dtype=torch.float64), torch.tensor(self.std, dtype=torch.float64)
        return values.double().cpu() * std + mean


def split_in_time(samples: int, val_fraction: float, test_fraction: float) -> dict[str, range]:
    """Cut samples in time order: the test is the last of all, the validation the last of the others."""
    train = samples - round(samples * test_fraction)
    val = round(train * val_fraction)
    return {"train": range(train - val), "val": range(train - val, train), "test": range(train, samples)}


class WindowDataset(Dataset):
    """Windows of `window` rows of a series (N, C), one from each of the rows `starts`, with the next `horizon` rows.

    A value that is missing (NaN) is 0 in a window, and is not scored among the next values.
    """

    def __init__(self, series: Tensor, starts: Sequence[int], window: int, horizon: int) -> None:
        self.series, self.starts, self.window, self.horizon = series, torch.tensor(starts), window, horizon

    def __len__(self) -> int:
        return len(self.starts)

    def __getitems__(self, indices: list[int]) -> Batch:
        """-> windows (B, T, C), next values (B, H, C)"""
        rows = self.starts[torch.tensor(indices)].unsqueeze(1) + torch.arange(self.window + self.horizon)  # (B, T + H)
        values = self.series[rows]  # (B, T + H, C)
        return Batch(values[:, : self.window].nan_to_num(0.0), values[:, self.window :])

    def read_all(self, at_most: int | None = None) -> tuple[Tensor, Tensor]:
        """All windows, or so many of them at even distances: (S, T, C) and next values (S, H, C), in double precision"""
        count = min(len(self), at_most or len(self))
        chosen = torch.linspace(0, len(self) - 1, count).round().long().tolist()
        batch = self.__getitems__(chosen)
        return batch.inputs.double(), batch.targets.double()


def forecast_without_network(
    train: WindowDataset, windows: Tensor, horizon: int, season: int | None = None
) -> dict[str, Tensor]:
    """Forecasts (S, H, C) of windows (S, T, C) that need no network, by name.

    `persistence` repeats the last value, `window_mean` the mean of the window, `seasonal` what was there `season` steps before;
    `least_squares` is a line through all values of the window, fitted to the training windows.
    """
    train_windows, train_targets = train.read_all(MAX_LEAST_SQUARES)
    is_whole = ~train_targets.flatten(1).isnan().any(1)
    forecasts = {
        "persistence": windows[:, -1:].expand(-1, horizon, -1),
        "window_mean": windows.mean(1, keepdim=True).expand(-1, horizon, -1),
    }
    if is_whole.any():
        lags, targets = train_windows[is_whole].flatten(1), train_targets[is_whole].flatten(1)
        fit = torch.linalg.lstsq(add_intercept(lags), targets).solution  # (T C + 1, H C)
        forecasts["least_squares"] = (add_intercept(windows.flatten(1)) @ fit).unflatten(-1, (horizon, -1))
    if season:
        steps = torch.arange(horizon) % season - season  # within the last season of the window
        forecasts["seasonal"] = windows[:, steps]
    return forecasts


def add_intercept(lags: Tensor) -> Tensor:
    """lags (S, T) -> (S, T + 1)"""
    return torch.cat([lags, torch.ones_like(lags[:, :1])], dim=1)
