"""What a whole seqlab run adds to a bare PyTorch loop on GPT-2 small: python -m benchmarks.gpt2_small

Both make the same optimizer steps (batches of 256 tokens a row, fused AdamW, the norm of the gradients at every step),
on a CPU or, with --device cuda --precision bf16-mixed --batch 16, on a GPU.
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

VOCABULARY, CONTEXT = 50257, 256


class Noise(DataModule):
    """Random tokens: what they are makes no difference to the time."""

    data_properties = ("vocab_size", "context_length")
    vocab_size, context_length = VOCABULARY, CONTEXT

    def read_splits(self) -> dict:
        """One epoch is longer than any benchmark."""
        tokens = torch.randint(VOCABULARY, (2000, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
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


def bare(model: GPT, options: argparse.Namespace) -> float:
    """Seconds a step of a plain PyTorch loop."""
    on = torch.device(options.device)
    model.to(on).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, weight_decay=0.1, fused=True)
    for number, batch in enumerate(fresh(options.batch).train_dataloader()):
        inputs, targets = (tensor.to(on, non_blocking=True) for tensor in batch[:2])
        with torch.autocast(on.type, torch.bfloat16, enabled=options.precision == "bf16-mixed"):
            loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        get_total_norm([parameter.grad for parameter in model.parameters()])
        optimizer.step()
        loss.item()
        if number == 0:
            start = time.perf_counter()
        if number == options.steps:
            return (time.perf_counter() - start) / options.steps
    raise AssertionError("too few batches")


def seqlab(model: GPT, options: argparse.Namespace) -> float:
    """Seconds a step of a run of ours."""
    words = "data=text data.path=text.txt tokenizer=byte model=gpt trainer.log_every_n_steps=1".split()
    words += [f"device={options.device}", f"trainer.precision={options.precision}"]
    words += ["callbacks.samples=null", "callbacks.checkpoint=null", f"trainer.max_steps={options.steps + 1}"]
    clock, (run, config) = Clock(), create(words)
    trainer_of(run, config, clock).fit(build.build_task(config, model), datamodule=fresh(options.batch))
    return clock.seconds


def fresh(batch: int) -> Noise:
    """The data, from their beginning."""
    data = Noise(batch)
    data.setup()
    return data


def main() -> None:
    """Alternate both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    options = parser.parse_args()
    os.chdir(tempfile.mkdtemp())
    configure_logging()
    device.setup_process(None)  # as every run is
    Path("text.txt").write_text("The river ran past the mill. " * 100)
    model = GPT(VOCABULARY, CONTEXT, dropout=0.1)
    contenders = {
        "seqlab": lambda: seqlab(model, options),
        "bare PyTorch loop": lambda: bare(model, options),
    }
    print(f"GPT-2 small, a step of {options.batch} x {CONTEXT} tokens, {options.precision}; {machine()}")
    alternate(contenders, options.rounds, "s/step")


if __name__ == "__main__":
    main()
