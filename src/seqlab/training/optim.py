"""Optimizers, with ranges of their settings, and learning-rate schedules per step.

An optimizer that names `named_parameters` gets (name, parameter) pairs instead of parameters.
"""

import math
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from seqlab.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

Params = Iterable[Any]  # parameters, or groups of them
Warmup = NonNegativeInt | Fraction  # steps, or below 1 a fraction of them


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
    decay: Literal["all", "matrices"] = "all",
) -> torch.optim.AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).

    `decay=matrices` leaves biases and norms, whatever has one dimension, without weight decay, as GPT-3 was trained
    (arXiv 2005.14165) and nanoGPT does.
    """
    groups = params
    if decay == "matrices":
        params = list(params)
        matrices = {"params": [p for p in params if p.dim() >= 2]}
        others = {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0}
        groups = [group for group in (matrices, others) if group["params"]]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused)


def adafactor(
    params: Params,
    lr: NonNegativeFloat = 1e-2,
    beta2_decay: float = -0.8,
    d: PositiveFloat = 1.0,
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Adafactor:
    """Adafactor, which keeps a row and a column of second moments for each matrix (Shazeer and Stern, arXiv 1804.04235)."""
    return torch.optim.Adafactor(params, lr=lr, beta2_decay=beta2_decay, d=d, weight_decay=weight_decay)


def muon(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    lr: NonNegativeFloat = 1e-3,
    momentum: Fraction = 0.95,
    betas: tuple[Fraction, Fraction] = (0.9, 0.95),
    weight_decay: NonNegativeFloat = 0.1,
) -> "MuonWithAdamW":
    """Muon for the hidden matrices (Jordan et al., kellerjordan.github.io/posts/muon), AdamW for the rest: embeddings,
    head, biases, norms. Updates are scaled as AdamW's (Liu et al., arXiv 2502.16982), so that both take one learning rate.
    """
    named = list(named_parameters)
    hidden = [p for name, p in named if p.dim() == 2 and not re.search(r"embedding|(^|\.)head\b", name)]
    rest = [p for _, p in named if not any(p is matrix for matrix in hidden)]
    parts: list[Optimizer] = []
    if hidden:
        parts.append(torch.optim.Muon(hidden, lr, weight_decay, momentum, adjust_lr_fn="match_rms_adamw"))
    if rest:
        parts.append(torch.optim.AdamW(rest, lr, betas, weight_decay=weight_decay))
    return MuonWithAdamW(parts)


class MuonWithAdamW(Optimizer):
    """Several optimizers of torch's as one: parameter groups and state are theirs."""

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.share()

    def share(self) -> None:
        """Let the parts use the groups and the state of the whole."""
        first = 0
        for part in self.parts:
            last = first + len(part.param_groups)
            part.param_groups, part.state, first = self.param_groups[first:last], self.state, last

    def step(self, closure: Any = None) -> Any:
        """Make a step of each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict(state_dict)
        self.share()


def sgd(
    params: Params,
    lr: NonNegativeFloat = 1e-3,
    momentum: NonNegativeFloat = 0.0,
    weight_decay: NonNegativeFloat = 0.0,
    nesterov: bool = False,
) -> torch.optim.SGD:
    """Stochastic gradient descent."""
    return torch.optim.SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


def constant_schedule(optimizer: Optimizer, total_steps: int, warmup_steps: Warmup = 0) -> LambdaLR:
    """The optimizer's learning rate, after a linear warm-up."""
    return warmup_schedule(optimizer, total_steps, warmup_steps, lambda progress: 1.0)


def cosine_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: Warmup = 0, final_lr_ratio: NonNegativeFloat = 0.0
) -> LambdaLR:
    """Half a cosine from 1 to `final_lr_ratio` times the learning rate (Loshchilov and Hutter, arXiv 1608.03983)."""

    def decay(progress: float) -> float:
        return final_lr_ratio + (1 - final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))

    return warmup_schedule(optimizer, total_steps, warmup_steps, decay)


def cosine_per_epoch_schedule(
    optimizer: Optimizer, epochs: PositiveInt, final_lr_ratio: NonNegativeFloat = 0.0
) -> LambdaLR:
    """Half a cosine that moves after each epoch, down to `final_lr_ratio` times the learning rate, and stays there."""
    return LambdaLR(
        optimizer,
        lambda epoch: final_lr_ratio + (1 - final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / epochs))),
    )


def linear_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: Warmup = 0, final_lr_ratio: NonNegativeFloat = 0.0
) -> LambdaLR:
    """A line from 1 to `final_lr_ratio` times the learning rate."""
    return warmup_schedule(optimizer, total_steps, warmup_steps, lambda progress: 1 - (1 - final_lr_ratio) * progress)


def wsd_schedule(
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: Warmup = 0,
    decay_fraction: Fraction = 0.2,
    final_lr_ratio: NonNegativeFloat = 0.0,
) -> LambdaLR:
    """Warm-up, stable, decay (Hu et al., arXiv 2404.06395): the whole learning rate until the last `decay_fraction` of the
    steps after the warm-up, then 1 - sqrt down to `final_lr_ratio` times it (Hägele et al., arXiv 2405.18392)."""

    def decay(progress: float) -> float:
        decayed = (progress - 1 + decay_fraction) / decay_fraction if decay_fraction else 0.0
        return 1 - (1 - final_lr_ratio) * math.sqrt(max(0.0, decayed))

    return warmup_schedule(optimizer, total_steps, warmup_steps, decay)


def inverse_sqrt_schedule(optimizer: Optimizer, total_steps: int, warmup_steps: Warmup = 0) -> LambdaLR:
    """The learning rate over the square root of the steps, after a linear warm-up (Vaswani et al., arXiv 1706.03762)."""
    steps = count_warmup_steps(warmup_steps, total_steps)
    return LambdaLR(optimizer, lambda step: min((step + 1) / (steps + 1), math.sqrt((steps + 1) / (step + 1))))


def warmup_schedule(
    optimizer: Optimizer, total_steps: int, warmup_steps: Warmup, decay: Callable[[float], float]
) -> LambdaLR:
    """A linear warm-up, then `decay` of the progress from 0 to 1.

    Step k of the warm-up (k = 0, 1, …) has (k + 1) / (warmup_steps + 1) of the learning rate.
    """
    steps = count_warmup_steps(warmup_steps, total_steps)

    def lr_factor(step: int) -> float:
        if step < steps:
            return (step + 1) / (steps + 1)
        return decay(min(1.0, (step - steps) / max(1, total_steps - steps)))

    return LambdaLR(optimizer, lr_factor)


def count_warmup_steps(warmup_steps: Warmup, total_steps: int) -> int:
    """The steps of a warm-up; below 1 it is a fraction of the run. Warns of one that is longer than the run."""
    if 0 < warmup_steps < 1:
        if total_steps < 1:
            raise ValueError(
                f"warmup_steps={warmup_steps} is a fraction of a run whose steps are not known: give steps."
            )
        return round(warmup_steps * total_steps)
    if 0 < total_steps <= warmup_steps:
        warnings.warn(
            f"schedule.warmup_steps={warmup_steps} is not shorter than the run ({total_steps} steps): "
            "the learning rate never reaches optimizer.lr.",
            stacklevel=3,
        )
    return int(warmup_steps)
