"""Exact means: totals over counts of supervised tokens (values, in forecasting), of all ranks."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from seqlab.errors import UserError

EXACT_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64  # Apple's GPUs have no float64


class WeightedMean(Metric):
    """A total over a count, of all ranks. (MeanMetric of torchmetrics 1.9 drops its weights unless it looks for NaN.)"""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=EXACT_DTYPE), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=EXACT_DTYPE), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor) -> None:
        """Add a batch."""
        self.total += total.detach()
        self.count += count

    def compute(self) -> Tensor:
        """The mean so far."""
        return (self.total / self.count).float()


class TokenCount(nn.Module):
    """Carries the number of supervised tokens of an optimizer step to every rank, as the gradient of a zero.

    `loss + zero * count` is the loss, and the gradient of `zero` is the count. So whatever happens to the gradients on their
    way (Lightning divides by the batches accumulated, DDP averages over ranks) happens to the count as well, and gradients
    divided by it are those of the mean over all supervised tokens: no collective of its own, no wait for the device.

    Both are divided by `divisor`, a power of two and so without rounding, since fp16 has no room for the gradients of a sum.
    """

    def __init__(self, dtype: torch.dtype, divisor: int = 1) -> None:
        super().__init__()
        self.dtype, self.divisor = torch.promote_types(dtype, torch.float32), divisor
        self.zero = nn.Parameter(torch.zeros((), dtype=self.dtype))

    def forward(self, total: Tensor, count: Tensor) -> Tensor:
        """The loss to minimise: total (), count () -> ()"""
        return (total + self.zero * count) / self.divisor

    def normalize(self, gradients: list[Tensor], scale: float = 1.0) -> None:
        """Divide gradients of the summed loss by the tokens, in place.

        `scale` is the factor of fp16's gradient scaler, which divides the gradients of the optimizer's parameters by it, or
        lets the optimizer do so, and `zero` is not one of them.
        """
        assert self.zero.grad is not None, "forward and backward come first"
        count = self.zero.grad / scale
        torch._foreach_div_(gradients, torch.where(count > 0, count, 1.0))
        self.zero.grad = None

    def _apply(self, *args: Any, **kwargs: Any) -> "TokenCount":
        """Move, but stay in full precision: bfloat16 cannot count beyond 256."""
        super()._apply(*args, **kwargs)
        self.zero.data = self.zero.data.to(self.dtype)
        return self

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Nothing: it stays zero."""
        return {} if destination is None else destination

    def _load_from_state_dict(self, *args: Any) -> None:
        """Nothing is saved, and nothing missed."""


class TrainingCounts:
    """Loss and supervised tokens of training. Each rank adds up its own; they are summed when someone reads them.

    Every rank must call `reduce` at the same steps: when metrics are logged, at a validation, a checkpoint, an epoch's end.
    """

    def __init__(self) -> None:
        self.batches: list[Tensor] = []  # (2,) loss and tokens of each batch since the last optimizer step
        self.local: Tensor | None = None  # (2,) of this rank's steps since the last `reduce`
        self.step: Tensor | None = None  # (2,) of this rank's last step
        self.step_loss = torch.nan  # mean of the last step that was logged
        self.epoch_loss, self.epoch_tokens, self.tokens = 0.0, 0.0, 0  # of all ranks
        self.first_bad: Tensor | None = None  # (2,) number and loss of the first step whose loss is not finite
        self.lrs: dict[int, float] = {}  # by step, since the loss was last checked

    def add_batch(self, loss: Tensor, tokens: Tensor) -> None:
        """Add a batch's summed loss and supervised tokens."""
        self.batches.append(torch.stack([loss.detach().to(EXACT_DTYPE), tokens.to(EXACT_DTYPE)]))

    def end_step(self, step: int, lr: float) -> None:
        """Close an optimizer step, of this number and learning rate."""
        self.step = torch.stack(self.batches).sum(0)
        self.batches.clear()
        self.local = self.step if self.local is None else self.local + self.step
        self.lrs[step] = lr
        loss = self.step[0]
        bad = torch.stack([(~loss.isfinite()).to(loss) * step, loss])
        self.first_bad = bad if self.first_bad is None else torch.where(self.first_bad[0] > 0, self.first_bad, bad)

    def check_finite(self) -> None:
        """Raises UserError naming the first step since the last check whose loss is not finite. Waits for the device."""
        if self.first_bad is not None and self.first_bad[0] > 0:
            step, loss = self.first_bad.tolist()
            raise UserError(
                f"The loss became {loss} at step {int(step)} with learning rate {self.lrs[int(step)]:g}: "
                "try a lower optimizer.lr, a schedule.warmup_steps, or trainer.gradient_clip_val=1.0."
            )
        self.first_bad = None
        self.lrs.clear()

    def reduce(self, strategy: Any) -> None:
        """Add what all ranks have counted since the last time to the epoch and to the tokens."""
        if self.local is not None:
            loss, tokens = strategy.reduce(self.local.clone(), reduce_op="sum").tolist()
            self.local = None
            self.epoch_loss, self.epoch_tokens = self.epoch_loss + loss, self.epoch_tokens + tokens
            self.tokens += int(tokens)

    def reduce_step(self, strategy: Any) -> None:
        """Compute the mean loss of the last step over all ranks."""
        assert self.step is not None, "a step comes first"
        loss, tokens = strategy.reduce(self.step.clone(), reduce_op="sum").tolist()
        self.step_loss = loss / max(tokens, 1)

    def pop_epoch_mean(self) -> float:
        """The mean loss of the epoch, which ends here, in single precision as Lightning keeps metrics."""
        mean = torch.tensor(self.epoch_loss / self.epoch_tokens, dtype=torch.float32).item()
        self.epoch_loss = self.epoch_tokens = 0.0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """What has been reduced so far."""
        return {"epoch_loss": self.epoch_loss, "epoch_tokens": self.epoch_tokens, "tokens": self.tokens}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue counting."""
        self.epoch_loss, self.epoch_tokens, self.tokens = state["epoch_loss"], state["epoch_tokens"], state["tokens"]
