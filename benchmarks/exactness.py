"""What exactness costs a step of a small GPT: python -m benchmarks.exactness

Both train `model=gpt_mini` on characters with AdamW under Lightning's Trainer. seqlab weighs by tokens, seeds dropout at
each step, counts samples, keeps exact means, can be resumed from every step and stops when asked; the other is as
Lightning's introduction writes it. Once as by default, with TensorBoard and bar, and once with neither, so that what is
left is the loop. No checkpoint falls within the time. Milliseconds per step, of the steps after the first twenty.
"""

import argparse
import logging
import os
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.alternate import alternate, machine
from benchmarks.seqlab_run import create, trainer_of
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.nn import functional as F
from torch.utils.data import DataLoader

from seqlab import build, device
from seqlab.cli.compose import compose
from seqlab.launch.run import configure_logging

SKIPPED = 20
HIDDEN = ["logger=none", "callbacks.progress=null", "callbacks.metrics=null"]


class Clock(Callback):
    """Milliseconds per step after the first ones."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The last of the first steps starts the clock."""
        if trainer.global_step == SKIPPED:
            self.start = time.perf_counter()
        elif trainer.global_step > SKIPPED:
            self.milliseconds = 1000 * (time.perf_counter() - self.start) / (trainer.global_step - SKIPPED)


class Plain(LightningModule):
    """As Lightning's own introduction writes it."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        """The mean cross-entropy, logged."""
        inputs, targets, _ = batch
        loss = F.cross_entropy(self.model(inputs).flatten(0, 1), targets.flatten())
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """As seqlab's recipe for pretraining."""
        return torch.optim.AdamW(self.parameters(), lr=4e-4, weight_decay=0.1, fused=True)


def made(config: dict[str, Any]) -> tuple[Any, Any]:
    """Data and model of a run."""
    data = build.build_data(config, build.build_tokenizer(config, Path(tempfile.mkdtemp())))
    return data, build.build_model(config["model"], build.get_data_properties(data))


def plain(words: list[str], shown: bool) -> float:
    """Lightning by itself, on the same data."""
    config = compose("train", words).jobs[0].config
    data, model = made(config)
    clock = Clock()
    trainer = Trainer(
        max_steps=config["trainer"]["max_steps"],
        accelerator="cpu",
        log_every_n_steps=10,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=shown,
        logger=TensorBoardLogger("plain") if shown else False,
    )
    trainer.fit(Plain(model), DataLoader(data.splits["train"], 2, shuffle=True, collate_fn=lambda batch: batch))
    return clock.milliseconds


def seqlab(words: list[str], shown: bool) -> float:
    """A run of seqlab's."""
    clock, (run, config) = Clock(), create(words if shown else [*words, *HIDDEN])
    data, model = made(config)
    trainer_of(run, config, clock).fit(build.build_task(config, model), datamodule=data)
    return clock.milliseconds


def main() -> None:
    """Alternate both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--context", type=int, default=8, help="short, so that the loop is not lost in the products")
    options = parser.parse_args()
    os.chdir(tempfile.mkdtemp())
    configure_logging()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    device.setup_process(1)
    Path("text.txt").write_text("".join(f"The mill has ground {number} sacks of flour.\n" for number in range(4000)))
    words = "data=text data.path=text.txt data.batch_size=2 tokenizer=char model=gpt_mini model.dropout=0.1 device=cpu".split()
    words += [f"data.context_length={options.context}", f"trainer.max_steps={options.steps}"]
    words += ["trainer.limit_val_batches=0", "callbacks.samples=null", "callbacks.checkpoint.keep=none"]
    print(f"gpt_mini, a step of 2 x {options.context} characters; {machine()}")
    for shown in (True, False):
        print("with TensorBoard and bar" if shown else "with neither")
        contenders = {"seqlab": partial(seqlab, words, shown), "plain Lightning": partial(plain, words, shown)}
        figures = alternate(contenders, options.rounds, "ms/step")
        added = sorted(one - other for one, other in zip(*figures.values(), strict=True))
        middle = added[len(added) // 2]
        print(f"  {'added, round by round':<28} {middle:9.4f} ms/step   [{added[0]:.4f}, {added[-1]:.4f}]")


if __name__ == "__main__":
    main()
