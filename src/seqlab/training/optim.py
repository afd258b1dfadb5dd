"""Optimizers, with ranges of their settings, and learning-rate schedules per step."""

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from seqlab.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat

Params = Iterable[Any]  # parameters, or groups of them


def adam(
    params: Params,
    lr: NonNegativeFloat = 1e-3,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
    fused: bool | None = None,
) -> torch.optim.Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980)."""
    return torch.optim.Adam(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused)


def adamw(
    params: Params,
    lr: NonNegativeFloat = 1e-3,
    betas: tuple[Fraction, Fraction] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.01,
    fused: bool | None = None,
) -> torch.optim.AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101)."""
    return torch.optim.AdamW(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused)


def sgd(
    params: Params,
    lr: NonNegativeFloat = 1e-3,
    momentum: NonNegativeFloat = 0.0,
    weight_decay: NonNegativeFloat = 0.0,
    nesterov: bool = False,
) -> torch.optim.SGD:
    """Stochastic gradient descent."""
    return torch.optim.SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


def constant_schedule(optimizer: Optimizer, total_steps: int, warmup_steps: NonNegativeInt = 0) -> LambdaLR:
    """The optimizer's learning rate, after a linear warm-up."""
    return warmup_schedule(optimizer, total_steps, warmup_steps, lambda progress: 1.0)


def cosine_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: NonNegativeInt = 0, final_lr_ratio: NonNegativeFloat = 0.0
) -> LambdaLR:
    """Half a cosine from 1 to `final_lr_ratio` times the learning rate (Loshchilov and Hutter, arXiv 1608.03983)."""

    def decay(progress: float) -> float:
        return final_lr_ratio + (1 - final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))

    return warmup_schedule(optimizer, total_steps, warmup_steps, decay)


def linear_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: NonNegativeInt = 0, final_lr_ratio: NonNegativeFloat = 0.0
) -> LambdaLR:
    """A line from 1 to `final_lr_ratio` times the learning rate."""
    return warmup_schedule(optimizer, total_steps, warmup_steps, lambda progress: 1 - (1 - final_lr_ratio) * progress)


def warmup_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: int, decay: Callable[[float], float]
) -> LambdaLR:
    """A linear warm-up, then `decay` of the progress from 0 to 1.

    Step k of the warm-up (k = 0, 1, …) has (k + 1) / (warmup_steps + 1) of the learning rate.
    """
    if 0 < total_steps <= warmup_steps:
        warnings.warn(
            f"schedule.warmup_steps={warmup_steps} is not shorter than the run ({total_steps} steps): "
            "the learning rate never reaches optimizer.lr.",
            stacklevel=2,
        )

    def lr_factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return decay(min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))

    return LambdaLR(optimizer, lr_factor)
