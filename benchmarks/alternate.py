"""Times contenders in turn, so that a machine whose speed drifts is fair to both."""

import platform
import statistics
from collections.abc import Callable

import torch

from seqlab.device import hardware_name


def alternate(contenders: dict[str, Callable[[], float]], rounds: int, unit: str) -> dict[str, list[float]]:
    """Call each contender once a round; it returns its figure. Prints medians and spread, and round by round the ratios of the
    first to the others.
    """
    for contender in contenders.values():
        contender()  # warms up
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            figures[name].append(contender())
    for name, values in figures.items():
        print(f"  {name:<30} {statistics.median(values):9.4f} {unit}   [{min(values):.4f}, {max(values):.4f}]")
    first, *others = figures
    for other in others:
        ratios = [a / b for a, b in zip(figures[first], figures[other], strict=True)]
        label = f"to {other}" if others[1:] else "ratio, round by round"
        print(f"  {label:<30} {statistics.median(ratios):9.3f}     [{min(ratios):.3f}, {max(ratios):.3f}]")
    return figures


def machine() -> str:
    """Where this was measured."""
    return f"{hardware_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
