"""Forecasts of a loaded run, in the units of its series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqlab.config.signatures import check_value
from seqlab.data.windows import Scale
from seqlab.errors import UserError
from seqlab.types import PositiveInt

if TYPE_CHECKING:
    from seqlab.serving.engine import LoadedRun

Values = Sequence[float] | Tensor | Any  # numbers, nested lists, arrays


def forecast_values(run: LoadedRun, values: Values, steps: int | None = None) -> Tensor:
    """The next values, `steps` or the horizon: (T,) -> (H,), (T, C) -> (H, C), (B, T, C) -> (B, H, C)"""
    check_value("steps", steps, PositiveInt | None)
    windows, dims = read_windows(run, values)
    found: list[Tensor] = []
    while not found or (steps and sum(piece.size(1) for piece in found) < steps):
        found.append(predict_windows(run, windows))
        windows = torch.cat([windows, found[-1]], dim=1)[:, -windows.size(1) :]
    predictions = torch.cat(found, dim=1)[:, :steps]
    scale = read_scale(run)
    predictions = scale.to_units(predictions) if scale else predictions
    return predictions.flatten() if dims == 1 else predictions[0] if dims == 2 else predictions


@torch.no_grad()
def predict_windows(run: LoadedRun, windows: Tensor) -> Tensor:
    """windows (B, T, C) -> predictions (B, H, C), both standardised; a value that is missing is the mean"""
    return run.model(windows.nan_to_num(0.0))


def check_forecaster(run: LoadedRun) -> None:
    """Raises UserError for a run that was not trained on a series."""
    if "window" not in run.data_properties:
        raise UserError(f"{run.folder} is not a forecaster: use a run that was trained on a series.")


def read_scale(run: LoadedRun) -> Scale | None:
    """How the run's series was standardised; None if it was not."""
    known = run.data_properties
    return Scale(known["mean"], known["std"]) if "std" in known else None


def read_windows(run: LoadedRun, values: Values) -> tuple[Tensor, int]:
    """The last windows of series (B, T, C), standardised as in training, and the dimensions that they were given in."""
    check_forecaster(run)
    try:
        series = torch.as_tensor(values, dtype=torch.float64)  # in its units, which may be large
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{str(values)[:80]} is not a series: give numbers, as a list, an array or a tensor."
        ) from error
    windows = series.view(1, -1, 1) if series.dim() == 1 else series.unsqueeze(0) if series.dim() == 2 else series
    channels, window = run.data_properties["channels"], run.data_properties["window"]
    if windows.dim() != 3 or windows.size(2) != channels:
        raise UserError(
            f"Values of shape {tuple(series.shape)} do not fit a series of {channels} channel(s): give (T,) for one channel, "
            "(T, C) or (B, T, C)."
        )
    if windows.size(1) < window:
        raise UserError(f"{windows.size(1)} values are fewer than the window of {window} that this run reads.")
    windows = windows[:, -window:]
    scale = read_scale(run)
    standardised = scale.standardize(windows) if scale else windows.float()
    return standardised.to(run.device), series.dim()
