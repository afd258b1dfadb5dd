"""A series of one's own: columns of a CSV file, cut into windows with the next values as targets."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqlab.data.base import DataModule
from seqlab.data.table import read_columns
from seqlab.data.windows import Scale, WindowDataset, forecast_without_network, split_in_time
from seqlab.errors import UserError
from seqlab.files import find_file
from seqlab.types import Fraction, NonNegativeInt, PositiveFloat, PositiveInt

LARGEST = 1e18  # the square of a larger standard deviation leaves fp32


class SeriesDataModule(DataModule):
    """Rows of a CSV file in time order, split into train, validation and test, in this order.

    `columns` (null: all of numbers) are the channels, each standardised by the mean and the standard deviation of the rows that
    are trained on; metrics and figures are in the units of the file. `season` is the period of a seasonal baseline, in rows. With
    `missing=mask` an empty cell is the mean in a window, and is not scored.
    """

    data_properties = ("channels", "window", "horizon", "columns", "mean", "std")

    def __init__(
        self,
        path: str,
        columns: Sequence[str] | None = None,
        batch_size: PositiveInt = 64,
        window: PositiveInt = 48,
        horizon: PositiveInt = 1,
        stride: PositiveInt = 1,
        season: PositiveInt | None = None,
        missing: Literal["refuse", "mask"] = "refuse",
        delimiter: str = ",",
        val_fraction: Fraction = 0.1,
        test_fraction: Fraction = 0.1,
        num_workers: NonNegativeInt = 0,
        folders: Sequence[str] = (),
        mean: Sequence[float] | None = None,
        std: Sequence[PositiveFloat] | None = None,
    ) -> None:
        """`mean` and `std` are those of another series, which a model was trained on; null: of the rows trained on."""
        super().__init__(batch_size, num_workers)
        delimiter = {"\\t": "\t"}.get(delimiter, delimiter)  # as one types a tab
        if season and season > window:
            raise ValueError(
                f"season={season} is longer than window={window}, which must hold one: use a longer window."
            )
        if not (mean is None) == (std is None) or len(mean or ()) != len(std or ()):
            raise ValueError(f"mean={mean} and std={std} belong together: give both, a number for each column.")
        if columns is not None and not columns:
            raise ValueError("columns=[] names none: name some, or leave it out to take all of numbers.")
        if len(delimiter) != 1:
            raise ValueError(
                f"""delimiter={delimiter} is not one character: type '";"', '"|"' or '"\\t"', with both quotes."""
            )
        self.path, self.folders, self.columns, self.delimiter = path, folders, columns, delimiter
        self.window, self.horizon, self.stride, self.season, self.missing = window, horizon, stride, season, missing
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.mean, self.std = mean, std

    def read_splits(self) -> dict[str, Dataset]:
        """Windows (T, C) and next values (H, C), standardised."""
        self.files = [find_file(self.path, self.folders)]
        names, table = read_columns(self.files[0], self.columns, self.delimiter, may_miss=self.missing == "mask")
        if self.mean is not None and len(self.mean) != len(names):
            raise UserError(
                f"{self.files[0]} has {len(names)} columns, and mean and std are those of {len(self.mean)}."
            )
        self.columns, self.channels = names, len(names)
        starts = range(0, len(table) - self.window - self.horizon + 1, self.stride)
        parts = split_in_time(len(starts), self.val_fraction, self.test_fraction)
        if not parts["train"]:
            raise UserError(
                f"{self.files[0]} has {len(table)} rows, too few for a training window of data.window={self.window} and "
                f"data.horizon={self.horizon} next ones: use a longer series, or a shorter window."
            )
        gap = -(-self.horizon // self.stride) - 1  # so that no value is a target of two splits
        bounds = {split: [starts[i] for i in part[0 if split == "train" else gap :]] for split, part in parts.items()}
        for split, share in (("val", self.val_fraction), ("test", self.test_fraction)):
            if share and not bounds[split]:
                raise UserError(
                    f"The {split} split of {self.files[0].name} has no window (data.window={self.window}, data.horizon="
                    f"{self.horizon}, data.stride={self.stride}): use a longer series, or data.{split}_fraction=0."
                )
        self.scale = self.find_scale(table[: bounds["train"][-1] + self.window + self.horizon])
        series = self.scale.standardize(torch.from_numpy(table))
        windows: dict[str, Dataset] = {split: self.make_windows(series, of) for split, of in bounds.items()}
        if self.num_dropped:
            self.notices.append(f"{self.num_dropped} windows left out, all their next values are missing")
        return windows

    def find_scale(self, trained_on: np.ndarray) -> Scale:
        """Mean and standard deviation of the rows that are trained on, unless they are given."""
        if self.mean is None or self.std is None:
            empty = [
                name for name, column in zip(self.columns or (), trained_on.T, strict=True) if np.isnan(column).all()
            ]
            if empty:
                raise UserError(f"The column {empty[0]} is empty where it is trained on: leave it out of data.columns.")
            self.mean = np.nanmean(trained_on, axis=0).tolist()
            with np.errstate(over="ignore"):
                spread = np.nanstd(trained_on, axis=0)
            if not (spread < LARGEST).all():
                name = (self.columns or ())[int(np.argmin(spread < LARGEST))]
                raise UserError(f"The column {name} has numbers too large to train on: write it in another unit.")
            self.std = np.where(spread > 0, spread, 1.0).tolist()
        return Scale(self.mean, self.std)

    def make_windows(self, series: Tensor, starts: list[int]) -> WindowDataset:
        """The windows from these rows, but for those that have nothing to score."""
        targets = series.isnan().all(1).unfold(0, self.horizon, 1).all(1)  # of each row: are the next ones all missing?
        kept = [start for start in starts if not targets[start + self.window]]
        self.num_dropped += len(starts) - len(kept)
        return WindowDataset(series, kept, self.window, self.horizon)

    def forecast_baselines(self, split: str) -> tuple[dict[str, Tensor], Tensor]:
        """Forecasts of a split (S, H, C) that need no network, by name, and the truth (S, H, C), in the units of the file."""
        tested: Any = self.splits[split]
        train: Any = self.splits["train"]
        windows, targets = tested.read_all()
        forecasts = forecast_without_network(train, windows, self.horizon, self.season)
        return {name: self.to_units(of) for name, of in forecasts.items()}, self.to_units(targets)
