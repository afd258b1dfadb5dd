"""The forecast against the truth, as a figure."""

from typing import Any

import torch
from lightning.pytorch import Callback


class Forecast(Callback):
    """Draws the next value over the test split, or the validation split where there is no test, when they were run."""

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the test split."""
        self.draw(trainer, pl_module, trainer.datamodule.test_split)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the validation split as training goes on."""
        self.draw(trainer, pl_module, "val")

    def draw(self, trainer: Any, pl_module: Any, split: str) -> None:
        """One panel: truth and forecast of the first of the horizon's values, channel 0."""
        drawing = [logger for logger in trainer.loggers if hasattr(logger.experiment, "add_figure")]
        if not drawing or not trainer.is_global_zero:
            return
        from matplotlib.figure import Figure  # late: half a second, and not all runs draw

        truth, forecast = [], []
        with torch.no_grad():
            for windows, targets in trainer.datamodule.loader(split):
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
