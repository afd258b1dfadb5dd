"""Counting tokens without waiting for a device and without a collective of its own."""

import json
import os
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ragged import Bigram, Ragged, Record, fit
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from seqlab.errors import UserError
from seqlab.tasks.language import LanguageModeling
from seqlab.tasks.means import TokenCount, TrainingCounts, WeightedMean
from seqlab.training.optim import constant_schedule

RECORDS: list[Record] = [([1, 2, 3, 4], 1)] * 80


class OneRank:
    """A strategy without other ranks, which counts how often it is asked."""

    def __init__(self) -> None:
        self.reduced = 0

    def reduce(self, tensor: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        self.reduced += 1
        return tensor


def test_the_gradient_of_the_zero_is_the_count_and_the_loss_stays() -> None:
    counter, weight = TokenCount(torch.float32), nn.Parameter(torch.tensor([3.0]))
    losses = [counter((weight * 2).sum(), torch.tensor(5)), counter((weight * 4).sum(), torch.tensor(0))]
    assert [loss.item() for loss in losses] == [6, 12]
    for loss in losses:
        (loss / 2).backward()  # as Lightning divides by the batches accumulated
    assert weight.grad is not None
    counter.normalize([weight.grad])
    assert weight.grad.tolist() == pytest.approx([(2 + 4) / 5])
    assert counter.zero.grad is None


def test_a_step_without_tokens_keeps_its_zero_gradient() -> None:
    counter, gradient = TokenCount(torch.float32), torch.zeros(2)
    counter(torch.tensor(0.0), torch.tensor(0)).backward()
    counter.normalize([gradient])
    assert gradient.tolist() == [0, 0]


def test_the_count_is_no_part_of_the_weights() -> None:
    module = nn.ModuleDict({"count": TokenCount(torch.float32), "layer": nn.Linear(2, 1)})
    assert set(module.state_dict()) == {"layer.weight", "layer.bias"}
    module.load_state_dict(nn.ModuleDict({"layer": nn.Linear(2, 1)}).state_dict())


def test_the_count_stays_in_single_precision_in_a_model_that_does_not() -> None:
    counter = nn.ModuleDict({"count": TokenCount(torch.bfloat16, divisor=64)}).to(torch.bfloat16)["count"]
    counter(torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor(3639)).backward()
    assert counter.zero.grad.item() == 3639 / 64


def test_counts_are_those_of_all_steps_whenever_they_are_read() -> None:
    counts, strategy = TrainingCounts(), OneRank()
    for step, batches in enumerate([[(2.0, 1), (4.0, 3)], [(6.0, 2)], [(1.0, 4)]], 1):
        for loss, tokens in batches:
            counts.add_batch(torch.tensor(loss), torch.tensor(tokens))
        counts.end_step(step, lr=0.1)
    assert strategy.reduced == 0
    counts.reduce_step(strategy)
    assert counts.step_loss == 0.25
    counts.reduce(strategy)
    counts.reduce(strategy)  # nothing new
    assert strategy.reduced == 2
    assert counts.tokens == 10
    assert counts.pop_epoch_mean() == pytest.approx(1.3)
    assert (counts.epoch_loss, counts.epoch_tokens, counts.tokens) == (0, 0, 10)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_late_check_names_the_first_bad_step_and_its_learning_rate(bad: float) -> None:
    counts = TrainingCounts()
    for step, loss in enumerate([1.0, bad, 2.0, float("nan")], 1):
        counts.add_batch(torch.tensor(loss), torch.tensor(1))
        counts.end_step(step, lr=0.1 * step)
    with pytest.raises(UserError, match=rf"became {bad} at step 2 with learning rate 0\.2"):
        counts.check_finite()


def test_what_was_checked_is_not_remembered() -> None:
    counts = TrainingCounts()
    for step in range(1, 1000):
        counts.add_batch(torch.tensor(1.0), torch.tensor(1))
        counts.end_step(step, lr=0.1)
        if step % 10 == 0:
            counts.check_finite()
    assert len(counts.lrs) < 10
    assert not counts.batches


def test_a_weighted_mean_is_a_total_over_a_count() -> None:
    mean = WeightedMean()
    mean.update(torch.tensor(6.0), torch.tensor(3))
    mean.update(torch.tensor(0.0), torch.tensor(0))
    mean.update(torch.tensor(2.0), torch.tensor(1))
    assert mean.compute() == 2


class CountSyncs(TorchDispatchMode):
    """Counts the times that a number is read from a tensor, for which a host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.syncs += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def steps_of(values: list[int]) -> list[int]:
    """How much a count grew at each batch after the first."""
    return [after - before for before, after in pairwise(values)]


def test_a_step_that_is_not_logged_reads_no_number_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU a look costs nothing and the loss is checked at each step: the step's end is told that it runs elsewhere."""
    seen: list[int] = []
    end, before_step = LanguageModeling.on_train_batch_end, LanguageModeling.on_before_optimizer_step

    def note(self: Any, *args: Any) -> None:
        end(self, *args)
        seen.append(counter.syncs)

    def before_step_elsewhere(self: Any, optimizer: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(self, "_device", torch.device("meta"))
            before_step(self, optimizer)

    monkeypatch.setattr(LanguageModeling, "on_before_optimizer_step", before_step_elsewhere)
    monkeypatch.setattr(LanguageModeling, "on_train_batch_end", note)
    task = LanguageModeling(Bigram(), partial(torch.optim.SGD, lr=0.1), constant_schedule)
    with CountSyncs() as counter:
        fit(task, Ragged(RECORDS[:24], 2), accumulate_grad_batches=2, log_every_n_steps=4)
    by_batch = steps_of(seen)  # of batches 1 to 11; steps 1 and 4 are logged, which end with batches 1 and 7
    quiet = [syncs for batch, syncs in enumerate(by_batch, 1) if batch not in (1, 7, 11)]
    assert len(quiet) == 8
    assert set(quiet) == {0}, by_batch
    assert by_batch[6] > 0  # the counter counts


COLLECTIVES = """
import json, sys, torch, torch.distributed as dist
from functools import partial
from ragged import Bigram, Ragged, fit
from seqlab.tasks.language import LanguageModeling
from seqlab.training.optim import constant_schedule

calls, seen = [], []
reduce, end = dist.all_reduce, LanguageModeling.on_train_batch_end

def count(*args, **kwargs):
    calls.append(1)
    return reduce(*args, **kwargs)

def note(self, *args):
    end(self, *args)
    seen.append(len(calls))

dist.all_reduce, LanguageModeling.on_train_batch_end = count, note
task = LanguageModeling(Bigram(), partial(torch.optim.SGD, lr=0.1), constant_schedule)
trainer = fit(task, Ragged([([1, 2, 3, 4], 1)] * 80, 4), devices=2, strategy="ddp", log_every_n_steps=5)
if trainer.is_global_zero:
    print(json.dumps(seen))
"""


def test_a_step_that_is_not_logged_has_no_collective_but_ddps_own(tmp_path: Path) -> None:
    """DDP's own, of the gradients, is not called from Python."""
    (tmp_path / "script.py").write_text(COLLECTIVES)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    words = [sys.executable, "script.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    by_step = steps_of(json.loads(done.stdout.splitlines()[-1]))  # of steps 2 to 20
    quiet = [calls for step, calls in enumerate(by_step, 2) if step % 5]
    assert len(quiet) == 15
    assert set(quiet) == {0}, by_step
    assert by_step[3] > 0  # step 5 is logged
