"""The gradient of a step is that of all its supervised tokens, however they are cut, padded, ordered and shared."""

import json
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.pytorch.plugins.precision import MixedPrecision
from ragged import LONGEST, VOCABULARY, Bigram, Ragged, Record, fit, gradients
from torch import Tensor
from torch.nn import functional as F

from seqlab.data.sampler import epoch_permutation
from seqlab.tasks.language import LanguageModeling
from seqlab.training.optim import constant_schedule


@st.composite
def record(draw: st.DrawFn) -> Record:
    """Some ids, of which the first are a prompt; where all are, nothing is supervised."""
    ids = draw(st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=LONGEST))
    return ids, draw(st.integers(0, len(ids) + 1))


EIGHT, ELEVEN = (st.lists(record(), min_size=n, max_size=n) for n in (8, 11))  # eleven leave a window of three
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
CUTS = [{"batch_size": 8}, {"batch_size": 4, "windows": 2}, {"batch_size": 1, "windows": 8}]


def of_each(records: list[Record]) -> list[list[Tensor]]:
    """The gradients of the mean loss of each record that has supervised tokens, by torch alone."""
    torch.manual_seed(0)
    model = Bigram()
    found = []
    for record in records:
        inputs, targets = Ragged([record], 1, pad=False, bucketed=False).collate([record])
        if (targets != -100).any():
            model.zero_grad()
            F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
            found.append([parameter.grad.clone() for parameter in model.parameters()])
    return found


def assert_agree(records: list[Record], some: list[list[Tensor]], others: list[list[Tensor]]) -> None:
    """The same number of steps, and per tensor the same gradients within 1e-6 in norm.

    Relative to the largest gradient among the records: where they cancel, the rounding of what was added is left. Zero is
    zero.
    """
    assert len(some) == len(others)
    scales = [max(gradient.norm() for gradient in tensor) for tensor in zip(*of_each(records), strict=True)]
    for step, other_step in zip(some, others, strict=True):
        for one, other, scale in zip(step, other_step, scales or [0.0] * len(step), strict=True):
            assert (one - other).norm() <= 1e-6 * scale


@FEW
@given(st.one_of(EIGHT, ELEVEN))
def test_accumulation_and_padding_change_nothing(records: list[Record]) -> None:
    whole, *others = [gradients(records, **cut, pad=pad) for cut in CUTS for pad in (False, True)]
    for other in others:
        assert_agree(records, whole, other)


@FEW
@given(st.one_of(EIGHT, ELEVEN))
def test_in_double_precision_every_element_agrees(records: list[Record]) -> None:
    whole, *others = (gradients(records, **cut, double=True) for cut in CUTS)
    for other in others:
        torch.testing.assert_close(other, whole, rtol=1e-12, atol=1e-14)


@FEW
@given(EIGHT)
def test_buckets_change_nothing_within_a_step(records: list[Record]) -> None:
    whole, *others = (gradients(records, **cut, bucketed=bucketed) for cut in CUTS for bucketed in (False, True))
    for other in others:
        assert_agree(records, whole, other)


@settings(FEW, max_examples=2)
@given(st.lists(st.one_of(EIGHT, ELEVEN), min_size=8, max_size=8))
def test_two_processes_change_nothing(tmp_path_factory: pytest.TempPathFactory, lists: list[list[Record]]) -> None:
    folder: Path = tmp_path_factory.mktemp("ranks")
    cases = [{"records": records, **cut} for records in lists for cut in CUTS]
    (folder / "cases.json").write_text(json.dumps(cases))
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(Path(__file__).with_name("ragged.py")), str(folder / "cases.json"), str(folder / "gradients.pt")]
    done = subprocess.run([sys.executable, *words, *script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    for case, found in zip(cases, torch.load(folder / "gradients.pt", weights_only=True), strict=True):
        assert_agree(case["records"], gradients(case["records"], 8), found)


def test_the_mean_of_means_is_another_gradient() -> None:
    records: list[Record] = [([1, 2, 3, 4, 5, 6, 7, 8], 0), ([9, 10], 0)]
    (ours,) = gradients(records, 1, windows=2)
    naive = [torch.stack(both).mean(0) for both in zip(*of_each(records), strict=True)]  # what Lightning does by itself
    right = [(7 * long + short) / 8 for long, short in zip(*of_each(records), strict=True)]
    torch.testing.assert_close(ours, right)
    assert max(((one - other).norm() / one.norm()).item() for one, other in zip(ours, naive, strict=True)) > 0.1


def test_the_leftover_window_weighs_what_its_tokens_weigh() -> None:
    records: list[Record] = [([n % VOCABULARY, (3 * n) % VOCABULARY, 1, 2][: 2 + n % 3], 0) for n in range(11)]
    _, last = gradients(records, 4, windows=2)
    left = [records[number] for number in epoch_permutation(11, 0, 0)[8:].tolist()]
    tokens = [len(ids) - 1 for ids, _ in left]
    parts = zip(*of_each(left), strict=True)
    right = [sum(n * part for n, part in zip(tokens, each, strict=True)) / sum(tokens) for each in parts]
    torch.testing.assert_close(last, right)


def test_a_step_without_a_supervised_token_has_no_gradient() -> None:
    (step,) = gradients([([1, 2, 3], 3 + 1), ([4, 5], 2 + 1)], 2)
    assert all(not gradient.any() for gradient in step)


class HalfPrecision(MixedPrecision):
    """fp16 with a gradient scaler on a CPU, where Lightning takes bfloat16 instead. Computes in fp32."""

    def __init__(self, scale: float) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))

    def autocast_context_manager(self) -> Any:
        return nullcontext()


def weights_after(records: list[Record], fused: bool, scale: float | None, **trainer: Any) -> tuple[Tensor, float]:
    """All weights after an epoch of AdamW, and the norm of the last gradient."""
    torch.manual_seed(0)
    task = LanguageModeling(Bigram(), partial(torch.optim.AdamW, lr=0.1, fused=fused), constant_schedule)
    plugins = [HalfPrecision(scale)] if scale else []
    fit(task, Ragged(records, batch_size=2), log_every_n_steps=1, plugins=plugins, **trainer)
    return torch.cat([p.detach().flatten() for p in task.model.parameters()]), float(task.grad_norm)


@pytest.mark.parametrize("windows", [1, 4])
@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("fused", [True, False])
def test_the_scale_of_fp16_changes_nothing(fused: bool, clip: float | None, windows: int) -> None:
    records = [([1, 2, 3, 4, 5, 6][: 2 + n % 5], 1) for n in range(8)]
    trainer = {"gradient_clip_val": clip, "accumulate_grad_batches": windows}
    expected, norm = weights_after(records, fused=False, scale=None, **trainer)
    weights, scaled_norm = weights_after(records, fused, scale=1024.0, **trainer)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-5)
    assert scaled_norm == pytest.approx(norm, rel=1e-4)
