"""Forecasting the next values of a series."""

import torch
from torch import Tensor

from seqlab.batch import Batch
from seqlab.tasks.base import Sums, Task
from seqlab.tasks.losses import forecast_errors, sum_precisely


class Forecasting(Task):
    """Mean squared error over windows (B, T, C) and next values (B, H, C); a target that is NaN is not scored."""

    metric_names = ("loss", "mse", "mae")
    required_properties = ("horizon",)

    scale: Tensor | None = None  # (C,) what one is in the units of data that are standardised

    def setup(self, stage: str) -> None:
        """Ask the data for their units."""
        super().setup(stage)
        self.scale = torch.tensor(self.data.scale.std, dtype=torch.float32) if self.data.scale else None

    def compute_sums(self, batch: Batch) -> Sums:
        """Squared errors of what is trained on; in its own units also squared and absolute ones."""
        errors, is_scored = forecast_errors(self.model, batch)  # 2 x (B, H, C)
        squared, count = sum_precisely(errors.square()), is_scored.sum()
        sums = {"loss": (squared, count), "mse": (squared, count)}
        if self.scale is not None:
            errors = errors * self.scale.to(errors)
            sums["mse"] = (sum_precisely(errors.square()), count)
        return sums | {"mae": (sum_precisely(errors.abs()), count)}
