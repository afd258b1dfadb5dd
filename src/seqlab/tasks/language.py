"""The base of the language-modeling tasks."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from seqlab.batch import IGNORE_INDEX, Batch
from seqlab.errors import UserError
from seqlab.tasks.base import Sums, Task
from seqlab.tasks.losses import sum_precisely, token_nll
from seqlab.types import PositiveInt


class LanguageModeling(Task):
    """Cross-entropy of the next token in nats: inputs (B, T), targets (B, T), those of `IGNORE_INDEX` are not scored.

    `loss_chunk` computes the logits of so many positions at a time, which saves memory where the vocabulary is large.
    """

    metric_names = ("loss", "bits_per_byte")
    derived_names = ("perplexity",)
    required_properties = ("vocab_size",)
    safe_precisions = ("32-true", "bf16-mixed")
    supports_adapter = True
    has_unscored: ClassVar[bool] = True  # targets whose logits are of no use

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., LRScheduler],
        seed: int = 0,
        loss_chunk: PositiveInt | None = None,
    ) -> None:
        super().__init__(model, optimizer, schedule, seed)
        self.loss_chunk = loss_chunk
        self.vocab_size = 1  # of the data
        self.byte_lengths: Tensor | None = None  # (V,) bytes of text that each token stands for

    def setup(self, stage: str) -> None:
        """Ask the data's tokenizer, if it can tell, how many bytes of text each token stands for."""
        super().setup(stage)
        self.vocab_size = self.data.vocab_size
        tokenizer: Any = getattr(self.data, "tokenizer", None)
        tell = getattr(tokenizer, "byte_lengths", None)
        if tell is None:
            return
        self.byte_lengths = torch.as_tensor(tell())
        if len(self.byte_lengths) != tokenizer.vocab_size:
            raise UserError(
                f"byte_lengths of {type(tokenizer).__name__} tells {len(self.byte_lengths)} tokens, and its vocab_size is "
                f"{tokenizer.vocab_size}: they must agree."
            )

    def compute_sums(self, batch: Batch) -> Sums:
        """The negative log-likelihood of the targets; in evaluation also in bits, over the bytes of their text."""
        nll = sum_precisely(token_nll(self.model, batch, self.loss_chunk, self.vocab_size, self.has_unscored))
        is_scored = batch.targets != IGNORE_INDEX  # (B, T)
        sums = {"loss": (nll, is_scored.sum())}
        if self.byte_lengths is not None and not self.training:
            self.byte_lengths = self.byte_lengths.to(batch.targets.device)
            text_bytes = (self.byte_lengths[batch.targets.clamp(min=0)] * is_scored).sum()
            sums["bits_per_byte"] = (nll / math.log(2), text_bytes)
        return sums

    def derive_metrics(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add perplexity: the exponential of the mean over all tokens, not the mean of batches' perplexities."""
        return means | {"perplexity": means["loss"].exp()}
