"""Figures of a report: the objective against each parameter that was swept, and the learning curves overlaid."""

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

MAX_COLORS = 10  # of matplotlib's cycle; more curves than these are told apart by what is varied first, or by a scale


def draw_figures(report: Report) -> list[Path]:
    """Draw all as PNG below `figures/`; their paths."""
    folder = report.folder / "figures"
    folder.mkdir(exist_ok=True)
    done = [row for row in report.rows if row.status == "done" and row.best is not None]
    drawn = [save_figure(plot_learning_curves(report, done), folder / "learning_curves.png")] if done else []
    for key in report.varied:
        if any(row.values.get(key) not in (None, "") for row in done):
            drawn.append(save_figure(plot_against(report, done, key), folder / f"{key}.png"))
    return drawn


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure."""
    figure.savefig(path, dpi=120)
    return path


def add_axes(figure: Figure) -> Axes:
    """The one pair of axes."""
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return axes


def plot_against(report: Report, rows: list[Row], key: str) -> Figure:
    """The best objective of each run against a parameter: a scale of numbers, or places for names."""
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
        long = max(map(len, names)) * len(names) > 60
        axes.set_xticks(range(len(names)), names, rotation=30 if long else 0, ha="right" if long else "center")
    axes.plot(places, [math.nan if row.best is None else row.best for row in rows], "o", alpha=0.7)
    axes.set(xlabel=key, ylabel=f"best {report.metric}")
    set_log_scale(axes, [row.best for row in rows if row.best is not None])
    return figure


def set_log_scale(axes: Axes, heights: list[float]) -> None:
    """A logarithmic axis where values are far apart."""
    if heights and max(heights) > 20 * min(heights) > 0:
        axes.set_yscale("log")


def parse_number(value: Any) -> float | None:
    """A value as a number that has a place on an axis, if it is one."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def plot_learning_curves(report: Report, rows: list[Row]) -> Figure:
    """The objective of each run over its steps, coloured by what is varied first."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = add_axes(figure)
    key = report.varied[0] if report.varied and len(rows) > MAX_COLORS else None
    names = {row.name: str(row.values[key]) if key else row.name for row in rows}
    unique = sorted(set(names.values()))
    colours = dict(zip(unique, colormaps["turbo"](linspace(0.05, 0.95, len(unique))), strict=True))
    if len(unique) <= MAX_COLORS:
        colours = {name: f"C{place}" for place, name in enumerate(unique)}
    labelled: set[str] = set()
    heights: list[float] = []
    for row in sorted(rows, key=lambda row: row.name):
        points = [p for p in read_metrics(report.folder / row.name) if row.metric in p]
        name = names[row.name]
        label = None if name in labelled else f"{key} {name}" if key else name
        labelled.add(name)
        xs, ys = [p["step"] for p in points], [p[row.metric] for p in points]
        heights += filter(math.isfinite, ys)
        axes.plot(xs, ys, "." if len(xs) == 1 else "-", color=colours[name], alpha=0.7, lw=1.2, label=label)
    axes.set(xlabel="step", ylabel=report.metric)
    set_log_scale(axes, heights)
    axes.legend(fontsize=7)
    return figure
