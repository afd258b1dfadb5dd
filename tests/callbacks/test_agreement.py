"""Ranks decide together, and ask each other about once a second, not at every step."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqlab.callbacks import agreement
from seqlab.callbacks.agreement import RankAgreement


class Ranks:
    """Two ranks in lockstep; rank 1 may want something. Each step takes `seconds` by a clock of our own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now, self.seconds, self.exchanges = 0.0, seconds, 0
        monkeypatch.setattr(agreement, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.asking = [RankAgreement(), RankAgreement()]

    def trainer(self, rank: int, step: int) -> Any:
        strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=self.reduce)
        return SimpleNamespace(world_size=2, global_step=step, is_global_zero=rank == 0, strategy=strategy)

    def reduce(self, mine: torch.Tensor, reduce_op: str) -> torch.Tensor:
        """Rank 0 comes first, and both get the sum."""
        self.exchanges += 1
        self.sent.append(mine)
        return sum(self.sent, torch.zeros(2))

    def step(self, number: int, wants: tuple[bool, bool]) -> list[bool]:
        """What each rank is told at a step; the sum is known once both have spoken, so rank 0 asks again."""
        self.now += self.seconds
        before = [vars(asking).copy() for asking in self.asking]
        self.sent: list[torch.Tensor] = []
        for rank in (0, 1):
            self.asking[rank].ask(self.trainer(rank, number), wants[rank])
        sums = sum(self.sent, torch.zeros(2))
        told = []
        for rank in (0, 1):
            vars(self.asking[rank]).update(before[rank])
            self.reduce = lambda mine, reduce_op: sums  # type: ignore[method-assign]  # what a rank would hear
            told.append(self.asking[rank].ask(self.trainer(rank, number), wants[rank]))
            del self.reduce
        return told


@pytest.mark.parametrize("seconds", [0.01, 3.0])
def test_both_ranks_hear_it_at_the_same_step(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(monkeypatch, seconds)
    told = [ranks.step(number, (False, number >= 250)) for number in range(1, 600)]
    assert all(first == second for first, second in told)
    first_yes = next(number for number, (yes, _) in enumerate(told, 1) if yes)
    assert 250 <= first_yes <= 250 + max(1, round(1.2 / seconds))  # about a second later, or at once


def test_fast_steps_exchange_about_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(monkeypatch, seconds=0.01)
    for number in range(1, 2001):  # 20 seconds
        ranks.step(number, (False, False))
    assert 15 <= ranks.exchanges / 2 <= 30


def test_a_rank_that_is_alone_asks_nobody() -> None:
    trainer: Any = SimpleNamespace(world_size=1)
    assert RankAgreement().ask(trainer, True)
    assert not RankAgreement().ask(trainer, False)
