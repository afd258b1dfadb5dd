"""Schedules: the published cosine, warm-up and its limits, the final_lr_ratio rate."""

import csv
import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from seqlab.training.optim import (
    constant_schedule,
    cosine_schedule,
    inverse_sqrt_schedule,
    linear_schedule,
    wsd_schedule,
)

ALL = [constant_schedule, cosine_schedule, linear_schedule, wsd_schedule, inverse_sqrt_schedule]

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


@pytest.mark.parametrize("schedule", ALL)
def test_without_warm_up_the_first_step_has_the_whole_rate(schedule: Callable) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rates(schedule, 1, total_steps=5, warmup_steps=0) == [1.0]
        assert rates(schedule, 2, total_steps=1)[0] == 1.0


@pytest.mark.parametrize("schedule", ALL)
def test_warm_up_is_linear_and_never_zero(schedule: Callable) -> None:
    assert rates(schedule, 5, total_steps=10, warmup_steps=4) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_shapes_after_the_warm_up() -> None:
    assert rates(constant_schedule, 6, total_steps=6, warmup_steps=2)[2:] == [1.0] * 4
    assert rates(linear_schedule, 6, total_steps=6, warmup_steps=2)[2:] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert rates(cosine_schedule, 12, total_steps=12, warmup_steps=2)[2:] == pytest.approx(
        [1e4 * rate for rate in PUBLISHED], abs=1e-5
    )


@pytest.mark.parametrize("schedule", [cosine_schedule, linear_schedule, wsd_schedule])
@pytest.mark.parametrize("final_lr_ratio", [0.0, 0.1])
def test_the_final_rate_is_reached_and_kept(schedule: Callable, final_lr_ratio: float) -> None:
    seen = rates(schedule, 15, total_steps=10, final_lr_ratio=final_lr_ratio)
    assert seen[10:] == pytest.approx([final_lr_ratio] * 5)
    assert all(before >= after for before, after in pairwise(seen[:11]))
    assert seen[9] > seen[10]


@pytest.mark.parametrize("schedule", ALL)
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


def test_a_warm_up_may_be_a_fraction_of_the_run() -> None:
    for schedule in ALL:
        assert rates(schedule, 20, total_steps=20, warmup_steps=0.2) == rates(
            schedule, 20, total_steps=20, warmup_steps=4
        )
    with pytest.raises(ValueError, match=r"warmup_steps=0.2 is a fraction of a run whose steps are not known"):
        rates(cosine_schedule, 1, total_steps=-1, warmup_steps=0.2)


def test_warm_up_stable_decay() -> None:
    seen = rates(wsd_schedule, 100, total_steps=100, warmup_steps=20, decay_fraction=0.25, final_lr_ratio=0.1)
    assert seen[20:81] == [1.0] * 61
    assert seen[85] == pytest.approx(1 - 0.9 * math.sqrt(0.25))  # a quarter of the decay
    assert rates(wsd_schedule, 5, total_steps=5, decay_fraction=0.0) == [1.0] * 5


def test_the_inverse_square_root() -> None:
    seen = rates(inverse_sqrt_schedule, 400, total_steps=400, warmup_steps=99)
    assert seen[99] == 1.0
    assert seen[399] == pytest.approx(0.5)
    assert rates(inverse_sqrt_schedule, 4, total_steps=4)[3] == pytest.approx(0.5)


def test_the_published_cosine_moves_after_each_epoch(seqlab: Callable, tmp_path: Path) -> None:
    words = [
        "schedule=cosine_per_epoch",
        "optimizer.lr=1e-4",
        "trainer.max_epochs=10",
        "data.batch_size=400",
        "device=cpu",
    ]
    assert seqlab("train", *words, "logger=csv", "trainer.log_every_n_steps=1").status == 0
    (file,) = tmp_path.glob("runs/*/*/csv/metrics.csv")
    rows = [row for row in csv.DictReader(file.open()) if row["lr"]]
    seen = {int(row["step"]): float(row["lr"]) for row in rows}
    per_epoch = [seen[step] for step in range(2, 21, 2)]
    assert per_epoch == pytest.approx(PUBLISHED, abs=5e-10)
    assert [seen[step] for step in range(1, 21, 2)] == per_epoch


def test_a_cosine_per_epoch_stays_down_when_a_run_is_extended(seqlab: Callable, tmp_path: Path) -> None:
    words = ["schedule=cosine_per_epoch", "trainer.max_epochs=2", "data.batch_size=400", "device=cpu", "logger=csv"]
    assert seqlab("train", *words).status == 0
    assert seqlab("train", "resume=last", "trainer.max_epochs=4").status == 0
    (file,) = tmp_path.glob("runs/*/*/csv/metrics.csv")
    seen = {int(row["step"]): float(row["lr"]) for row in csv.DictReader(file.open()) if row["lr"]}
    assert [seen[step] for step in (2, 4, 6, 8)] == pytest.approx([0.01, 0.005, 0, 0])
