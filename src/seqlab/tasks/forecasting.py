"""Forecasting the next values of a series."""

from seqlab.batch import Batch
from seqlab.tasks.base import Sums, Task
from seqlab.tasks.losses import forecast_errors, sum_precisely


class Forecasting(Task):
    """Mean squared error over windows (B, T, C) and next values (B, H, C); a target that is NaN is not scored."""

    metric_names = ("loss", "mse", "mae")
    required_properties = ("horizon",)

    def compute_sums(self, batch: Batch) -> Sums:
        """Squared and absolute errors."""
        errors, is_scored = forecast_errors(self.model, batch)  # 2 x (B, H, C)
        squared, absolute, count = sum_precisely(errors.square()), sum_precisely(errors.abs()), is_scored.sum()
        return {"loss": (squared, count), "mse": (squared, count), "mae": (absolute, count)}
