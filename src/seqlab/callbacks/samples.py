"""Samples of what a language model writes as training goes on."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from seqlab.generation.generate import generate, sample_token
from seqlab.seeding import derive_seed


class SampleText(Callback):
    """Continues a prompt after validation (without one, every epoch), but not more often than every so many seconds, and
    at the end; in TensorBoard and on the terminal.

    `prompt: null` takes the data's own: the beginning of a text, the first record of the validation split.
    """

    def __init__(
        self,
        run: Path,
        tokenizer: Any,
        seed: int = 0,
        prompt: str | None = None,
        max_new_tokens: int = 40,
        temperature: float = 0.0,
        every_seconds: float = 2.0,
    ) -> None:
        self.tokenizer, self.seed, self.prompt = tokenizer, seed, prompt
        self.max_new_tokens, self.temperature, self.every_seconds = max_new_tokens, temperature, every_seconds
        self.sampled, self.step = -every_seconds, -1  # when, and at which step

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Sample, with weights just validated."""
        self.sample_if_due(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Sample, where nothing is validated."""
        if not sum(trainer.num_val_batches):
            self.sample_if_due(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Sample what training has come to."""
        if self.step != trainer.global_step:
            self.sample(trainer, pl_module)

    def sample_if_due(self, trainer: Any, pl_module: Any) -> None:
        """Sample, unless it was done just before."""
        if time.monotonic() - self.sampled >= self.every_seconds:
            self.sample(trainer, pl_module)

    def sample(self, trainer: Any, pl_module: Any) -> None:
        """Write one continuation. Its randomness is its own, so that training does not notice."""
        if not trainer.is_global_zero:
            return
        self.sampled, self.step = time.monotonic(), trainer.global_step
        prompt = trainer.datamodule.sample_prompt(self.prompt)
        device = pl_module.device
        generator = torch.Generator(device).manual_seed(derive_seed(self.seed, "sampling", trainer.global_step))
        pick = partial(sample_token, temperature=self.temperature, generator=generator)
        ids = generate(pl_module.model, self.tokenizer.encode(prompt), self.max_new_tokens, self.tokenizer.eos_id, pick)
        text = self.tokenizer.decode(list(ids))
        trainer.print(f"step {trainer.global_step}: …{prompt[-40:]}|{text}".replace("\n", " "))
        for logger in trainer.loggers:
            if hasattr(logger.experiment, "add_text"):
                logger.experiment.add_text("samples", f"{prompt}**{text}**", trainer.global_step)
