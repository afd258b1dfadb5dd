"""The forecast against the truth, as a figure."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from seqlab.callbacks.reporting import log_media, warn_on_error
from seqlab.types import NonNegativeFloat

SHOWN_FORECASTS = 5  # over the whole horizon


class ForecastPlot(Callback):
    """Draws forecasts of the validation split during training, and of the test split after the test.

    A figure takes a tenth of a second, so they are at least `every_seconds` apart; the last validation is always drawn.
    """

    def __init__(self, every_seconds: NonNegativeFloat = 2.0) -> None:
        self.every_seconds = every_seconds
        self.baselines: dict[str, dict[str, Tensor]] = {}  # by split
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
        """Truth and forecast of the next value, channel 0; of a longer horizon also the errors of each step, and forecasts."""
        if not trainer.loggers or not trainer.is_global_zero:
            return
        data = trainer.datamodule
        truth, forecast = forecast_split(data, pl_module, split)  # 2 x (S, H, C)
        name, title = data.columns[0] if data.columns else "value", f"step {trainer.global_step}"
        log_media(trainer, "figure", f"{split}/forecast", plot_next_values(truth, forecast, name, split, title))
        if truth.size(1) > 1:
            if split not in self.baselines:  # they stay the same
                self.baselines[split], _ = data.forecast_baselines(split)
            forecasts = self.baselines[split]
            figure = plot_horizon(truth, {"model": forecast} | forecasts, name, split, title)
            log_media(trainer, "figure", f"{split}/horizon", figure)


def forecast_split(data: Any, task: Any, split: str) -> tuple[Tensor, Tensor]:
    """Truth and forecasts of a split in the units of the data, 2 x (S, H, C)"""
    truth, forecast = [], []
    dtype = next(task.model.parameters()).dtype
    with torch.no_grad():
        for batch in data.split_dataloader(split):
            truth.append(data.to_units(batch.targets))
            forecast.append(data.to_units(task.model(batch.inputs.to(task.device, dtype)).float().cpu()))
    return torch.cat(truth), torch.cat(forecast)


def plot_next_values(truth: Tensor, forecast: Tensor, name: str, split: str, title: str) -> Any:
    """One panel: truth and forecast of the first of the horizon's values, channel 0."""
    from matplotlib.figure import Figure  # takes half a second, and not all runs draw

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(truth[:, 0, 0], ".", color="0.6", label="truth")
    axes.plot(forecast[:, 0, 0], color="C0", label="forecast")
    axes.set(xlabel=f"window of the {split} split", ylabel=f"next {name}", title=title)
    axes.legend()
    return figure


def plot_horizon(truth: Tensor, forecasts: dict[str, Tensor], name: str, split: str, title: str) -> Any:
    """Two panels, channel 0: the error of each step ahead, the model beside what needs no network; and the model's forecasts
    from some windows, whole.
    """
    from matplotlib.figure import Figure

    steps = range(1, truth.size(1) + 1)
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    errors, whole = figure.subplots(1, 2)
    for number, (label, forecast) in enumerate(forecasts.items()):
        error = (forecast - truth)[:, :, 0].square().nanmean(0).sqrt()  # (H,)
        errors.plot(steps, error, label=label, color=f"C{number}", linestyle="-" if label == "model" else "--")
    errors.set(xlabel="steps ahead", ylabel=f"root mean squared error of {name}", title=title, ylim=(0, None))
    figure.legend(loc="outside lower left", ncols=len(forecasts), fontsize="small")
    distance = max(truth.size(1), len(truth) // SHOWN_FORECASTS)
    for start in range(0, len(truth), distance)[:SHOWN_FORECASTS]:
        places = range(start, start + truth.size(1))
        whole.plot(places, truth[start, :, 0], ".", color="0.6", label="truth" if not start else None)
        whole.plot(places, forecasts["model"][start, :, 0], color="C0", label="forecast" if not start else None)
    whole.set(xlabel=f"row of the {split} split", ylabel=name)
    whole.legend(fontsize="small")
    return figure
