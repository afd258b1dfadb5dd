"""Decisions that all ranks of a run take together."""

import time

import torch
from lightning.pytorch import Trainer

SECONDS_BETWEEN = 1.0  # one exchange a second, since one at every step would cost more than the step


class RankAgreement:
    """Tells every rank at the same step what any of them wants. A rank that is alone agrees with itself at once."""

    def __init__(self) -> None:
        self.step: int | None = None  # of the last exchange
        self.next_step = 0
        self.since = time.monotonic()

    def ask(self, trainer: Trainer, want: bool) -> bool:
        """True if any rank wants it; false between two exchanges, so keep asking."""
        if trainer.world_size == 1:
            return want
        if trainer.global_step < self.next_step:
            return False
        seconds = max(time.monotonic() - self.since, 1e-6)
        made = 0 if self.step is None else trainer.global_step - self.step
        wait = SECONDS_BETWEEN * made / seconds if trainer.is_global_zero else 0.0  # in steps, by the clock of rank 0
        mine = torch.tensor([float(want), wait], device=trainer.strategy.root_device)
        wanted, wait = trainer.strategy.reduce(mine, reduce_op="sum").tolist()
        self.step, self.next_step = trainer.global_step, trainer.global_step + max(1, int(wait))
        self.since = time.monotonic()
        return wanted > 0
