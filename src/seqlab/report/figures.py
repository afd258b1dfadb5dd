"""Figures of a report: the objective against each parameter that was swept, and the learning curves in one chart."""

import math
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import linspace

from seqlab.report.rows import Report, Row
from seqlab.runs.metrics_log import read_metrics

MAX_COLORS = 10  # of matplotlib's cycle; more curves are told apart by what is varied first, or by a scale


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
    figure = Figure(figsize=(6, 4), layout="constrained")
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
    axes.plot(places, [math.nan if row.best is None else row.best for row in rows], "o", alpha=0.7)
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
    """The objective of each run over its steps, coloured by what is varied first."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = add_axes(figure)
    key = report.varied[0] if report.varied and len(rows) > MAX_COLORS else None
    groups = {row.name: str(row.values[key]) if key else row.name for row in rows}
    unique = sorted(set(groups.values()))
    colors = dict(zip(unique, colormaps["turbo"](linspace(0.05, 0.95, len(unique))), strict=True))
    if len(unique) <= MAX_COLORS:
        colors = {group: f"C{place}" for place, group in enumerate(unique)}
    labelled: set[str] = set()
    heights: list[float] = []
    for row in sorted(rows, key=lambda row: row.name):
        points = [point for point in read_metrics(report.folder / row.name) if row.metric in point]
        group = groups[row.name]
        label = None if group in labelled else f"{key} {group}" if key else group
        labelled.add(group)
        xs, ys = [point["step"] for point in points], [point[row.metric] for point in points]
        heights += filter(math.isfinite, ys)
        axes.plot(xs, ys, "." if len(xs) == 1 else "-", color=colors[group], alpha=0.7, lw=1.2, label=label)
    axes.set(xlabel="step", ylabel=report.metric)
    set_log_scale(axes, heights)
    axes.legend(fontsize=7)
    return figure
