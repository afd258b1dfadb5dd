"""The forecast against the truth, as a figure."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback

from seqlab.callbacks.reporting import log_media, warn_on_error
from seqlab.types import NonNegativeFloat


class ForecastPlot(Callback):
    """Draws the next value over the validation split during training, and over the test split after the test.

    A figure takes a tenth of a second, so they are at least `every_seconds` apart; the last validation is always drawn.
    """

    def __init__(self, every_seconds: NonNegativeFloat = 2.0) -> None:
        self.every_seconds = every_seconds
        self.drawn_at, self.drawn_step = -every_seconds, -1

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the validation split, unless it was done just before."""
        if time.monotonic() - self.drawn_at >= self.every_seconds:
            self.draw_validation(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the validation split with the final weights."""
        is_validated = "val" in trainer.datamodule.splits and sum(trainer.num_val_batches)
        if is_validated and self.drawn_step != trainer.global_step:
            self.draw_validation(trainer, pl_module)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the tested split."""
        self.draw_split(trainer, pl_module, trainer.datamodule.test_split)

    def draw_validation(self, trainer: Any, pl_module: Any) -> None:
        """Draw the validation split."""
        self.draw_split(trainer, pl_module, "val")
        self.drawn_at, self.drawn_step = time.monotonic(), trainer.global_step

    @warn_on_error
    def draw_split(self, trainer: Any, pl_module: Any, split: str) -> None:
        """One panel: truth and forecast of the first of the horizon's values, channel 0."""
        if not trainer.loggers or not trainer.is_global_zero:
            return
        from matplotlib.figure import Figure  # takes half a second, and not all runs draw

        data, truth, forecast = trainer.datamodule, [], []
        dtype = next(pl_module.model.parameters()).dtype
        with torch.no_grad():
            for batch in data.split_dataloader(split):
                truth.append(data.to_units(batch.targets)[:, 0, 0])
                predictions = pl_module.model(batch.inputs.to(pl_module.device, dtype))
                forecast.append(data.to_units(predictions.float().cpu())[:, 0, 0])
        name = data.columns[0] if data.columns else "value"
        figure = Figure(figsize=(9, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(torch.cat(truth), ".", color="0.6", label="truth")
        axes.plot(torch.cat(forecast), color="C0", label="forecast")
        axes.set(
            xlabel=f"window of the {split} split",
            ylabel=f"next {name}",
            title=f"step {trainer.global_step}",
        )
        axes.legend()
        log_media(trainer, "figure", f"{split}/forecast", figure)
