"""The base of the language-modelling tasks."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from seqlab.tasks.base import Batch, Sums, Task

IGNORED = -100  # a target that is not scored


class LanguageModelling(Task):
    """Cross-entropy of the next token over inputs (B, T) and targets (B, T), in nats; targets of -100 are not scored.

    An `adapter` is a function on the model that freezes it and adds what is trained instead.
    """

    derives = ("perplexity",)
    requires = ("vocab_size",)
    safe_precisions = ("32-true", "bf16-mixed")

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Callable[..., LRScheduler],
        adapter: Callable[[nn.Module], nn.Module] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(adapter(model) if adapter else model, optimizer, schedule, seed)

    def measure(self, batch: Batch) -> Sums:
        """The negative log-likelihood of the targets."""
        inputs, targets, *documents = batch
        if documents:
            logits = self.model.head(self.model.hidden(inputs, documents=documents[0]))  # type: ignore[operator]  # methods
        else:
            logits = self.model(inputs)  # (B, T, V)
        nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
        return {"loss": (nll, (targets != IGNORED).sum())}

    def derived(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Perplexity is the exponential of the mean over all tokens, not the mean of batches' perplexities."""
        return means | {"perplexity": means["loss"].exp()}
