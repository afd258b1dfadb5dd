"""A run rolled forward from the end of its series, as a table and a figure."""

import csv
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from seqlab.build import build_data
from seqlab.errors import UserError
from seqlab.files import write_output
from seqlab.runs.environment import warn_if_changed
from seqlab.runs.run_info import read_run_info
from seqlab.serving.engine import LoadedRun
from seqlab.serving.forecaster import check_forecaster

MAX_PANELS = 6  # channels that are drawn


def forecast_run(run: LoadedRun, steps: int, out: Path, data_path: str | None = None) -> tuple[Path, Path]:
    """Write the next `steps` values as `<out>.csv` and, after the last ones of the series, as `<out>.png`; return both paths.

    `data_path` is where the series is now, or a longer one of the same columns. Raises UserError for a run that is not a
    forecaster, and for data that are not there any more.
    """
    check_forecaster(run)
    moved = {"path": data_path} if data_path else {}
    if moved and "path" not in run.config["data"]:
        raise UserError(f"data.path={data_path} has no effect: the series of this run is generated. Leave it out.")
    data = build_data(run.config | {"data": run.config["data"] | moved}, None, run.data_properties)
    if not data_path:
        warn_if_changed(data.files, read_run_info(run.folder))
    series: Tensor = data.to_units(data.splits["train"].series)  # all of it
    forecast = run.forecast(series, steps).cpu()
    channels = series.size(1)
    names = list(data.columns or (["value"] if channels == 1 else [f"value_{i}" for i in range(channels)]))
    out = out.with_suffix("") if out.suffix in (".csv", ".png") else out
    table, picture = out.with_name(f"{out.name}.csv"), out.with_name(f"{out.name}.png")
    if overwritten := {table.resolve(), picture.resolve()} & {file.resolve() for file in data.files}:
        raise UserError(f"{overwritten.pop()} is the series itself: name another place with out=<file>.")
    with write_output(table) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *names])
        writer.writerows([step, *(f"{value:.9g}" for value in row)] for step, row in enumerate(forecast.tolist(), 1))
    with write_output(picture) as partial:
        plot_forecast(series, forecast, names, run.data_properties["window"]).savefig(partial, dpi=120, format="png")
    return table, picture


def plot_forecast(series: Tensor, forecast: Tensor, names: list[str], window: int) -> Figure:
    """A panel for each channel: the end of the series (N, C), and what follows it (steps, C)."""
    shown, panels = min(len(series), max(3 * window, len(forecast))), min(len(names), MAX_PANELS)
    figure = Figure(figsize=(9, 1 + 2.4 * panels), layout="constrained")
    for channel, axes in enumerate(figure.subplots(panels, sharex=True, squeeze=False)[:, 0]):
        axes.plot(range(1 - shown, 1), series[-shown:, channel], color="0.6", label="series")
        axes.plot(
            range(len(forecast) + 1),
            torch.cat([series[-1:], forecast.to(series)])[:, channel],
            color="C0",
            label="forecast",
        )
        axes.set_ylabel(names[channel])
    figure.axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    axes.set_xlabel("step, 1 is the first one forecast")
    return figure
