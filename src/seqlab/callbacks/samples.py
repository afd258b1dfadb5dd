"""Samples of what a language model writes during training."""

import time
from typing import Any

from lightning.pytorch import Callback

from seqlab.callbacks.reporting import log_media, warn_on_error
from seqlab.generation.generate import generate_tokens
from seqlab.generation.next_token import SamplingOptions
from seqlab.seeding import derive_seed
from seqlab.streams import replace_control_characters
from seqlab.types import NonNegativeFloat, PositiveInt


class SampleText(Callback):
    """Continues a prompt after validation (every epoch if there is none) and at the end, for TensorBoard and the terminal.

    Samples are at least `every_seconds` apart. `prompt: null` uses the data's own: the beginning of a text, the first
    record of the validation split.
    """

    def __init__(
        self,
        tokenizer: Any,
        seed: int = 0,
        prompt: str | None = None,
        max_new_tokens: PositiveInt = 40,
        temperature: NonNegativeFloat = 0.8,
        every_seconds: NonNegativeFloat = 2.0,
    ) -> None:
        self.tokenizer, self.seed, self.prompt = tokenizer, seed, prompt
        self.max_new_tokens, self.temperature, self.every_seconds = max_new_tokens, temperature, every_seconds
        self.sampled_at, self.sampled_step = -every_seconds, -1

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Sample with weights that were just validated."""
        self.sample_if_due(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Sample, if nothing is validated."""
        if not sum(trainer.num_val_batches):
            self.sample_if_due(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Sample with the final weights."""
        if self.sampled_step != trainer.global_step:
            self.sample(trainer, pl_module)

    def sample_if_due(self, trainer: Any, pl_module: Any) -> None:
        """Sample, unless it was done just before."""
        if time.monotonic() - self.sampled_at >= self.every_seconds:
            self.sample(trainer, pl_module)

    @warn_on_error
    def sample(self, trainer: Any, pl_module: Any) -> None:
        """Write one continuation. Its random stream is its own, so that training does not change."""
        if not trainer.is_global_zero:
            return
        self.sampled_at, self.sampled_step = time.monotonic(), trainer.global_step
        prompt, ids = trainer.datamodule.sample_prompt(self.prompt)
        seed = derive_seed(self.seed, "samples", trainer.global_step)
        options = SamplingOptions(self.max_new_tokens, temperature=self.temperature, seed=seed)
        context = getattr(pl_module.model, "context_length", None) or len(ids)
        ends = [self.tokenizer.eos_id]
        new = generate_tokens(pl_module.model, ids[-context:], options, ends, self.tokenizer.vocab_size)
        text = self.tokenizer.decode(list(new))
        how = f"temperature {self.temperature:g}" if self.temperature else "greedy"
        line = f"sample at {trainer.global_step}, {how}: …{prompt[-40:]}|{text}".replace("\n", " ")
        trainer.print(replace_control_characters(line))
        log_media(trainer, "text", "samples", f"*{how}*\n\n{prompt}**|**{text}")
