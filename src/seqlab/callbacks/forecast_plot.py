"""The forecast against the truth, as a figure."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback


class ForecastPlot(Callback):
    """Draws the next value over the test split once it was run, and over the validation split as training goes on.

    A figure takes a tenth of a second, so they are `every_seconds` apart at least; the last validation is always drawn.
    """

    def __init__(self, every_seconds: float = 2.0) -> None:
        self.every_seconds = every_seconds
        self.drawn, self.step = -every_seconds, -1  # when the validation was drawn, and at which step

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the test split."""
        self.draw(trainer, pl_module, trainer.datamodule.test_split)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the validation split, unless it was done just before."""
        if time.monotonic() - self.drawn >= self.every_seconds:
            self.draw_validation(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw what training has come to."""
        if "val" in trainer.datamodule.splits and sum(trainer.num_val_batches) and self.step != trainer.global_step:
            self.draw_validation(trainer, pl_module)

    def draw_validation(self, trainer: Any, pl_module: Any) -> None:
        """Draw the validation split."""
        self.draw(trainer, pl_module, "val")
        self.drawn, self.step = time.monotonic(), trainer.global_step

    def draw(self, trainer: Any, pl_module: Any, split: str) -> None:
        """One panel: truth and forecast of the first of the horizon's values, channel 0."""
        drawing = [logger for logger in trainer.loggers if hasattr(logger.experiment, "add_figure")]
        if not drawing or not trainer.is_global_zero:
            return
        from matplotlib.figure import Figure  # late: half a second, and not all runs draw

        truth, forecast = [], []
        with torch.no_grad():
            for windows, targets in trainer.datamodule.split_dataloader(split):
                truth.append(targets[:, 0, 0])
                forecast.append(pl_module.model(windows.to(pl_module.device))[:, 0, 0].cpu())
        figure = Figure(figsize=(9, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(torch.cat(truth), ".", color="0.6", label="truth")
        axes.plot(torch.cat(forecast), color="C0", label="forecast")
        axes.set(xlabel=f"window of the {split} split", ylabel="next value", title=f"step {trainer.global_step}")
        axes.legend()
        for logger in drawing:
            logger.experiment.add_figure(f"{split}/forecast", figure, trainer.global_step)
