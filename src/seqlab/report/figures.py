"""Figures of a report: the objective against each parameter that was swept, and the learning curves in one chart."""

import itertools
import math
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import linspace

from seqlab.report.rows import Report, Row
from seqlab.report.tables import shorten_keys
from seqlab.runs.metrics_log import read_metrics

MAX_COLORS = 10  # of matplotlib's cycle; more settings are told apart by what is varied first alone, or by a scale


def draw_figures(report: Report) -> list[Path]:
    """Draw all figures as PNG below `figures/`; return their paths."""
    folder = report.folder / "figures"
    folder.mkdir(exist_ok=True)
    rows = [row for row in report.rows if row.status == "done" and row.best is not None]
    paths = [save_figure(plot_learning_curves(report, rows), folder / "learning_curves.png")] if rows else []
    for key in report.varied:
        if any(row.values.get(key) not in (None, "") for row in rows):
            paths.append(save_figure(plot_against(report, rows, key), folder / f"{key}.png"))
    return paths


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure; return its path."""
    figure.savefig(path, dpi=120)
    return path


def add_axes(figure: Figure) -> Axes:
    """Add the one pair of axes."""
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return axes


def plot_against(report: Report, rows: list[Row], key: str) -> Figure:
    """The best objective of each run against a parameter: on a scale of numbers, or at places for names."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = add_axes(figure)
    rows = [row for row in rows if row.values.get(key) not in (None, "")]
    numbers = [parse_number(row.values[key]) for row in rows]
    if all(value is not None for value in numbers):
        places: list[float] = [value for value in numbers if value is not None]
        if min(places) > 0 and max(places) / min(places) > 20:
            axes.set_xscale("log")
        elif all(place.is_integer() for place in places):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        names = sorted({str(row.values[key]) for row in rows})
        places = [float(names.index(str(row.values[key]))) for row in rows]
        is_long = max(map(len, names)) * len(names) > 60
        axes.set_xticks(range(len(names)), names, rotation=30 if is_long else 0, ha="right" if is_long else "center")
    groups = [str(row.values[report.varied[0]]) for row in rows]
    order = dict.fromkeys(str(row.values[report.varied[0]]) for row in sorted(rows, key=lambda row: row.name))
    for number, group in enumerate(order):  # the colours of the learning curves
        is_in = [found == group for found in groups]
        heights = [math.nan if row.best is None else row.best for row in itertools.compress(rows, is_in)]
        axes.plot(
            list(itertools.compress(places, is_in)),
            heights,
            "o",
            alpha=0.7,
            color=f"C{number % MAX_COLORS}",
            label=group,
        )
    if key != report.varied[0] and len(set(groups)) <= MAX_COLORS:
        figure.legend(title=report.varied[0], title_fontsize="small", fontsize="small", loc="outside right upper")
    axes.set(xlabel=key, ylabel=f"best {report.metric}")
    set_log_scale(axes, [row.best for row in rows if row.best is not None])
    return figure


def set_log_scale(axes: Axes, heights: list[float]) -> None:
    """Use a logarithmic axis if the values are far apart."""
    if heights and max(heights) > 20 * min(heights) > 0:
        axes.set_yscale("log")


def parse_number(value: Any) -> float | None:
    """A value as a finite number, if it is one."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def plot_learning_curves(report: Report, rows: list[Row]) -> Figure:
    """The objective over the steps: a curve for each setting, of several seeds the mean in a band from lowest to highest.

    Where there are more settings than colours, each has the colour of what is varied first.
    """
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = add_axes(figure)
    settings: dict[tuple[str, ...], list[dict[int, float]]] = {}
    for row in sorted(rows, key=lambda row: row.name):
        setting = tuple(str(row.values[key]) for key in report.varied)
        points = [point for point in read_metrics(report.folder / row.name) if row.metric in point]
        settings.setdefault(setting, []).append({point["step"]: point[row.metric] for point in points})
    keys = report.varied[:1] if len(settings) > MAX_COLORS else report.varied
    labels = list(dict.fromkeys(setting[: len(keys)] for setting in settings))
    scale = colormaps["turbo"](linspace(0.05, 0.95, len(labels)))
    heights: list[float] = []
    for setting, runs in settings.items():
        number = labels.index(setting[: len(keys)])
        color = f"C{number}" if len(labels) <= MAX_COLORS else scale[number]
        steps = sorted(set[int]().union(*runs))
        values = [[run[step] for run in runs if step in run] for step in steps]
        if len(runs) > 1:
            axes.fill_between(steps, list(map(min, values)), list(map(max, values)), color=color, alpha=0.2, lw=0)
        axes.plot(steps, list(map(fmean, values)), "." if len(steps) == 1 else "-", color=color, lw=1.2)
        heights += filter(math.isfinite, itertools.chain.from_iterable(values))
    for number, label in enumerate(labels):
        axes.plot(
            [], [], color=f"C{number}" if len(labels) <= MAX_COLORS else scale[number], label=", ".join(label) or "all"
        )
    axes.set(xlabel="step", ylabel=report.metric)
    set_log_scale(axes, heights)
    if any(len(runs) > 1 for runs in settings.values()):
        axes.set_title("mean over seeds, in a band from lowest to highest", fontsize="small")
    title = "\n".join(shorten_keys(keys))
    figure.legend(title=title, title_fontsize="small", fontsize="small", loc="outside right upper")
    return figure
