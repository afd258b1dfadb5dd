"""The gradients of one optimizer step after the other over ragged records, as Lightning's Trainer makes them.

python -m torch.distributed.run --nproc-per-node 2 ragged.py <cases.json> <gradients.pt> makes them in two processes.
"""

import json
import logging
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from seqlab.data.base import DataModule
from seqlab.data.instruction import collate_examples
from seqlab.tasks.language import LanguageModeling
from seqlab.training.optim import constant_schedule

VOCABULARY, WIDTH, LONGEST = 11, 6, 12
Record = tuple[list[int], int]  # ids, and how many of them are the prompt's


class Ragged(DataModule):
    """Records of different lengths; `pad` makes all batches as long as the longest possible one."""

    vocab_size = 1

    def __init__(self, records: list[Record], batch_size: int, pad: bool = False, bucketed: bool = False) -> None:
        super().__init__(batch_size)
        self.records, self.pad, self.bucketed = records, pad, bucketed

    def read_splits(self) -> dict:
        """Only a training split."""
        return {"train": self.records}

    def sample_lengths(self) -> list[int] | None:
        """Of the records, if they shall be bucketed."""
        return [len(ids) for ids, _ in self.records] if self.bucketed else None

    def collate(self, items: list[Record]) -> tuple[Tensor, Tensor]:
        """-> inputs (B, T), targets (B, T)"""
        inputs, targets, _ = collate_examples(
            [(ids, [n >= prompt for n in range(len(ids))]) for ids, prompt in items], 0
        )
        extra = LONGEST - inputs.size(1) if self.pad else 0
        return nn.functional.pad(inputs, (0, extra)), nn.functional.pad(targets, (0, extra), value=-100)


class Bigram(nn.Module):
    """The next token from the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.middle, self.head = (
            nn.Embedding(VOCABULARY, WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, VOCABULARY),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        return self.head(torch.tanh(self.middle(self.embedding(tokens))))


class Recorder(torch.optim.SGD):
    """Notes the gradients of each step, after they were weighed."""

    def __init__(self, parameters: Any, seen: list[list[Tensor]]) -> None:
        super().__init__(parameters, lr=0.0)  # every step at the same weights
        self.seen = seen

    def step(self, closure: Any = None) -> Any:
        """Backward, and note."""
        loss = closure()
        self.seen.append([p.grad.clone() for group in self.param_groups for p in group["params"]])
        return loss


def gradients(
    records: list[Record],
    batch_size: int,
    windows: int = 1,
    double: bool = False,
    pad: bool = False,
    bucketed: bool = False,
    **trainer: Any,
) -> list[list[Tensor]]:
    """The gradients of each step of one epoch, tensor by tensor."""
    torch.manual_seed(0)
    seen: list[list[Tensor]] = []
    model = Bigram().double() if double else Bigram()
    task = LanguageModeling(model, partial(Recorder, seen=seen), constant_schedule)
    fit(task, Ragged(records, batch_size, pad, bucketed), accumulate_grad_batches=windows, **trainer)
    return seen


def fit(task: LanguageModeling, data: Ragged, **trainer: Any) -> Trainer:
    """Train for an epoch, and say nothing."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data.setup()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    options: dict[str, Any] = (
        {"max_epochs": 1, "accelerator": "cpu", "use_distributed_sampler": False} | quiet | trainer
    )
    made = Trainer(**options)
    made.fit(task, datamodule=data)
    return made


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    found = [gradients(**case, devices=2, strategy="ddp") for case in cases]
    if torch.distributed.get_rank() == 0:
        torch.save(found, sys.argv[2])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
