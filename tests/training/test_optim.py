"""Schedules: the published cosine, warm-up and its limits, the final_lr_ratio rate."""

import warnings
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from seqlab.training.optim import constant_schedule, cosine_schedule, linear_schedule

PUBLISHED = [1e-4, 9.7553e-5, 9.0451e-5, 7.9389e-5, 6.5451e-5, 5e-5, 3.4549e-5, 2.0611e-5, 9.549e-6, 2.447e-6]


def sgd(lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def rates(schedule: Callable, steps: int, lr: float = 1.0, **choices: float) -> list[float]:
    """The learning rate of each step."""
    optimizer = sgd(lr)
    scheduler = schedule(optimizer, **choices)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_the_published_cosine() -> None:
    assert rates(cosine_schedule, 10, lr=1e-4, total_steps=10) == pytest.approx(PUBLISHED, abs=5e-10)


def test_cosine_is_that_of_torch() -> None:
    theirs = rates(lambda optimizer: CosineAnnealingLR(optimizer, T_max=37, eta_min=0.2), 37)
    assert rates(cosine_schedule, 37, total_steps=37, final_lr_ratio=0.2) == pytest.approx(theirs)


@pytest.mark.parametrize("schedule", [constant_schedule, cosine_schedule, linear_schedule])
def test_without_warm_up_the_first_step_has_the_whole_rate(schedule: Callable) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rates(schedule, 1, total_steps=5, warmup_steps=0) == [1.0]
        assert rates(schedule, 2, total_steps=1)[0] == 1.0


@pytest.mark.parametrize("schedule", [constant_schedule, cosine_schedule, linear_schedule])
def test_warm_up_is_linear_and_never_zero(schedule: Callable) -> None:
    assert rates(schedule, 5, total_steps=10, warmup_steps=4) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_shapes_after_the_warm_up() -> None:
    assert rates(constant_schedule, 6, total_steps=6, warmup_steps=2)[2:] == [1.0] * 4
    assert rates(linear_schedule, 6, total_steps=6, warmup_steps=2)[2:] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert rates(cosine_schedule, 12, total_steps=12, warmup_steps=2)[2:] == pytest.approx(
        [1e4 * rate for rate in PUBLISHED], abs=1e-5
    )


@pytest.mark.parametrize("schedule", [cosine_schedule, linear_schedule])
@pytest.mark.parametrize("final_lr_ratio", [0.0, 0.1])
def test_the_final_rate_is_reached_and_kept(schedule: Callable, final_lr_ratio: float) -> None:
    seen = rates(schedule, 15, total_steps=10, final_lr_ratio=final_lr_ratio)
    assert seen[10:] == pytest.approx([final_lr_ratio] * 5)
    assert all(before > after for before, after in pairwise(seen[:11]))


@pytest.mark.parametrize("schedule", [constant_schedule, cosine_schedule, linear_schedule])
@pytest.mark.parametrize(("warmup", "warned"), [(51, False), (52, True), (100, True)])
def test_a_warm_up_longer_than_the_run_warns(schedule: Callable, warmup: int, warned: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        schedule(sgd(1.0), total_steps=52, warmup_steps=warmup)
    messages = [str(w.message) for w in caught if "warmup_steps" in str(w.message)]
    assert bool(messages) is warned
    if warned:
        assert f"schedule.warmup_steps={warmup}" in messages[0]
        assert "52 steps" in messages[0]
