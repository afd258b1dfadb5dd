"""The base of the language-modelling tasks."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from seqlab.tasks.base import Batch, Sums, Task

IGNORE_INDEX = -100  # a target that is not scored


class LanguageModeling(Task):
    """Cross-entropy of the next token over inputs (B, T) and targets (B, T), in nats; targets of -100 are not scored.

    An `adapter` is a function on the model that freezes it and adds what is trained instead.
    """

    metric_names = ("loss", "bits_per_byte")
    derived_names = ("perplexity",)
    required_properties = ("vocab_size",)
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
        self.byte_lengths: Tensor | None = None  # (V,)

    def setup(self, stage: str) -> None:
        """Ask the data's tokenizer, if it can say so, how many bytes of text each token stands for."""
        tokenizer = getattr(self.trainer.datamodule, "tokenizer", None)  # type: ignore[attr-defined]  # set by fit
        lengths = getattr(tokenizer, "byte_lengths", None)
        self.byte_lengths = torch.tensor(lengths()) if lengths else None

    def compute_sums(self, batch: Batch) -> Sums:
        """The negative log-likelihood of the targets; in evaluation also in bits, over their bytes of text."""
        inputs, targets, *document_ids = batch
        if document_ids:
            logits = self.model.head(self.model.hidden(inputs, document_ids=document_ids[0]))  # type: ignore[operator]  # methods
        else:
            logits = self.model(inputs)  # (B, T, V)
        nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")
        scored = targets != IGNORE_INDEX
        sums = {"loss": (nll, scored.sum())}
        if self.byte_lengths is not None and not self.training:
            self.byte_lengths = self.byte_lengths.to(targets.device)
            sums["bits_per_byte"] = (nll / math.log(2), (self.byte_lengths[targets.clamp(min=0)] * scored).sum())
        return sums

    def derive_metrics(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Perplexity is the exponential of the mean over all tokens, not the mean of batches' perplexities."""
        if self.byte_lengths is None:
            means.pop("bits_per_byte", None)
        return means | {"perplexity": means["loss"].exp()}
