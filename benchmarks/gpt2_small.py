"""What a whole seqlab run adds to a bare PyTorch loop on GPT-2 small: python -m benchmarks.gpt2_small

Both make the same optimizer steps (fp32, batch 2 of 256 tokens, fused AdamW, the norm of the gradients at every step).
seqlab logs, counts, draws its bar and writes run.json as by default; validation, samples and checkpoints are off, and
counted apart. Seconds per step, of the steps after the first of each fit.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from benchmarks.alternate import alternate, machine
from benchmarks.seqlab_run import create, trainer_of
from lightning.pytorch import Callback
from torch.nn import functional as F
from torch.nn.utils import get_total_norm

from seqlab import build, device
from seqlab.data.base import DataModule
from seqlab.launch.run import configure_logging
from seqlab.models.gpt import GPT

VOCABULARY, CONTEXT, BATCH = 50257, 256, 2


class Noise(DataModule):
    """Random tokens: what they are makes no difference to the time."""

    data_properties = ("vocab_size", "context_length")
    vocab_size, context_length = VOCABULARY, CONTEXT

    def read_splits(self) -> dict:
        """One epoch is longer than any benchmark."""
        tokens = torch.randint(VOCABULARY, (400, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
        return {"train": [(row[:-1], row[1:]) for row in tokens]}

    def collate(self, items: list) -> tuple:
        """-> inputs (B, T), targets (B, T)"""
        return tuple(torch.stack(column) for column in zip(*items, strict=True))


class Clock(Callback):
    """Seconds per step after the first."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """The first step starts the clock."""
        if batch_idx == 0:
            self.start = time.perf_counter()
        self.seconds = (time.perf_counter() - self.start) / max(1, batch_idx)


def bare(model: GPT, steps: int) -> float:
    """Seconds a step of a plain PyTorch loop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, weight_decay=0.1, fused=True)
    model.train()
    for number, (inputs, targets, _) in enumerate(fresh().train_dataloader()):
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        get_total_norm([parameter.grad for parameter in model.parameters()])
        optimizer.step()
        loss.item()
        if number == 0:
            start = time.perf_counter()
        if number == steps:
            return (time.perf_counter() - start) / steps
    raise AssertionError("too few batches")


def seqlab(model: GPT, steps: int) -> float:
    """Seconds a step of a run of ours."""
    words = "data=text data.path=text.txt tokenizer=byte model=gpt device=cpu trainer.log_every_n_steps=1".split()
    words += ["callbacks.samples=null", "callbacks.checkpoint=null", f"trainer.max_steps={steps + 1}"]
    clock, (run, config) = Clock(), create(words)
    trainer_of(run, config, clock).fit(build.build_task(config, model), datamodule=fresh())
    return clock.seconds


def fresh() -> Noise:
    """The data, from their beginning."""
    data = Noise(BATCH)
    data.setup()
    return data


def main() -> None:
    """Alternate both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.chdir(tempfile.mkdtemp())
    configure_logging()
    device.setup_process(None)  # as every run is
    Path("text.txt").write_text("The river ran past the mill. " * 100)
    model = GPT(VOCABULARY, CONTEXT, dropout=0.1)
    contenders = {
        "seqlab": lambda: seqlab(model, options.steps),
        "bare PyTorch loop": lambda: bare(model, options.steps),
    }
    print(f"GPT-2 small, a step of {BATCH} x {CONTEXT} tokens; {machine()}")
    alternate(contenders, options.rounds, "s/step")


if __name__ == "__main__":
    main()
