"""Learning-rate schedules per step: a linear warm-up, then constant, half a cosine, or a line."""

import math
import warnings
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant_schedule(optimizer: Optimizer, total_steps: int, warmup_steps: int = 0) -> LambdaLR:
    """The optimizer's learning rate, after a linear warm-up."""
    return warmup_schedule(optimizer, total_steps, warmup_steps, lambda progress: 1.0)


def cosine_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, final_lr_ratio: float = 0.0
) -> LambdaLR:
    """Half a cosine from 1 to `final_lr_ratio` times the learning rate (Loshchilov and Hutter, arXiv 1608.03983, no restarts)."""
    return warmup_schedule(
        optimizer,
        total_steps,
        warmup_steps,
        lambda p: final_lr_ratio + (1 - final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * p)),
    )


def linear_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, final_lr_ratio: float = 0.0
) -> LambdaLR:
    """A line from 1 to `final_lr_ratio` times the learning rate."""
    return warmup_schedule(optimizer, total_steps, warmup_steps, lambda progress: 1 - (1 - final_lr_ratio) * progress)


def warmup_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: int, decay: Callable[[float], float]
) -> LambdaLR:
    """Step k of the warm-up (k = 0, 1, …) has (k + 1) / (warmup_steps + 1) of the rate; `decay` maps progress in [0, 1]."""
    if 0 < total_steps <= warmup_steps:
        warnings.warn(
            f"schedule.warmup_steps={warmup_steps} is not shorter than the run ({total_steps} steps): "
            "the learning rate never reaches optimizer.lr.",
            stacklevel=2,
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return decay(min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))

    return LambdaLR(optimizer, factor)
