"""Forecasting the next values of a series."""

import torch

from seqlab.tasks.base import Batch, Sums, Task


class Forecasting(Task):
    """Mean squared error over windows (B, T, C) and next values (B, H, C); a value that is NaN is not scored."""

    metric_names = ("loss", "mse", "mae")
    required_properties = ("horizon",)

    def compute_sums(self, batch: Batch) -> Sums:
        """Squared and absolute errors."""
        windows, targets = batch
        predictions = self.model(windows)  # (B, H, C)
        assert predictions.shape == targets.shape, f"{tuple(predictions.shape)} is not {tuple(targets.shape)}"
        scored = ~targets.isnan()
        errors = torch.where(scored, predictions - targets, 0.0)  # (B, H, C)
        squared, count = errors.square().sum(), scored.sum()
        return {"loss": (squared, count), "mse": (squared, count), "mae": (errors.abs().sum(), count)}
