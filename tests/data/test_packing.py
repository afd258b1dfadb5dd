"""Packed records: the logits, losses and gradients of each alone, and runs that are the same."""

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.batch import IGNORE_INDEX, Batch
from seqlab.data.instruction import InstructionDataModule, collate_examples, pack_examples
from seqlab.errors import UserError
from seqlab.tasks.losses import token_nll
from seqlab.tokenizers.byte import ByteTokenizer
from variants import RECURRENT, TRANSFORMERS, Variant, tiny

EXAMPLES = [  # ids with the end token, and which are supervised
    ([1, 2, 3, 4, 9], [False, False, True, True, True]),
    ([5, 9], [True, True]),
    ([6, 7, 8, 1, 2, 3, 9], [False] * 5 + [True] * 2),
    ([4, 4, 9], [False, True, True]),
]
RUN = [
    "data=instruction",
    "data.path=records.json",
    "tokenizer=byte",
    "model=gpt_mini",
    "model.n_layer=1",
    "model.n_head=2",
]
RUN += [
    "model.n_embd=16",
    "data.batch_size=4",
    "data.val_fraction=0.2",
    "data.test_fraction=0.1",
    "data.context_length=256",
]
RUN += ["device=cpu", "model.dropout=0", "trainer.max_epochs=2", "callbacks.samples=null"]


def test_records_lie_behind_one_another() -> None:
    batch = pack_examples(EXAMPLES[:3])
    ignored = IGNORE_INDEX
    assert batch.inputs.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]]
    assert batch.targets.tolist() == [[ignored, 3, 4, 9, 9, ignored, ignored, ignored, ignored, 3, 9]]
    assert batch.document_ids is not None
    assert batch.document_ids.tolist() == [[0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2]]


@pytest.mark.parametrize("variant", TRANSFORMERS + RECURRENT)
@pytest.mark.parametrize(("chunk", "has_unscored"), [(None, True), (None, False), (2, True), (2, False)])
def test_losses_and_gradients_are_those_of_padded_and_single_records(
    variant: Variant, chunk: int | None, has_unscored: bool
) -> None:
    model = tiny(variant)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def measure(batches: list[Batch]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        values = [token_nll(model, batch, chunk, has_unscored=has_unscored) for batch in batches]
        total = torch.stack([value.sum() for value in values]).sum()
        return total, torch.autograd.grad(total, parameters)

    packed, gradients = measure([pack_examples(EXAMPLES)])
    for batches in ([collate_examples(EXAMPLES, 0)], [collate_examples([one], 0) for one in EXAMPLES]):
        total, others = measure(batches)
        torch.testing.assert_close(packed, total, rtol=1e-5, atol=1e-5)
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_only_scored_targets_get_logits() -> None:
    model, seen = tiny(TRANSFORMERS[0]), []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[:-1].numel()))
    batch = collate_examples(EXAMPLES, 0)
    nll = token_nll(model, batch, has_unscored=True)
    assert seen == [int((batch.targets != IGNORE_INDEX).sum())]
    logits = model(batch.inputs)
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
    )
    torch.testing.assert_close(nll, expected.view_as(nll), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="logits"):
        token_nll(model, batch, vocab_size=60, has_unscored=True)
    nothing = token_nll(model, batch._replace(targets=torch.full_like(batch.targets, IGNORE_INDEX)), has_unscored=True)
    assert nothing.tolist() == torch.zeros_like(nll).tolist()
    nothing.sum().backward()


def test_a_module_packs_whole_batches_and_each_rank_its_share(tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(json.dumps(make_records()))
    options: dict[str, Any] = {"batch_size": 4, "val_fraction": 0, "test_fraction": 0, "packing": True}
    data = InstructionDataModule(str(tmp_path / "records.json"), ByteTokenizer(), **options)
    data.setup()
    whole = list(data.split_dataloader("train"))
    shares = [list(data.split_dataloader("train", rank, 2)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert batch.inputs.size(0) == 1
        assert batch.inputs.tolist() == torch.cat([part.inputs for part in parts], 1).tolist()
    real = sum(len(ids) - 1 for ids, _ in data.splits["train"].items)  # type: ignore[attr-defined]
    assert sum(batch.inputs.numel() for batch in whole) == real


def make_records() -> list[dict[str, str]]:
    return [
        {"instruction": f"Say {'very ' * (number % 7)}{number}.", "output": f"{number}" * (number % 5 + 1)}
        for number in range(40)
    ]


@pytest.fixture
def metrics_of(seqlab: Callable, tmp_path: Path) -> Callable[..., dict[str, float]]:
    """Run a command that trains, and read the run's metrics."""
    (tmp_path / "records.json").write_text(json.dumps(make_records()))

    def run(*words: str) -> dict[str, float]:
        answer = seqlab("train", *words)
        assert answer.status == 0, answer.err
        latest = max(chain(tmp_path.glob("*/*/*/run.json")), key=lambda file: file.stat().st_mtime_ns)
        return json.loads(latest.read_text())["metrics"]["last"]

    return run


@pytest.mark.parametrize("words", [[], ["data.bucket_by_length=true", "+task.loss_chunk=16"], ["model=llama_mini"]])
def test_a_packed_run_measures_what_a_padded_one_does(words: list[str], metrics_of: Callable) -> None:
    padded, packed = metrics_of(*RUN, *words), metrics_of(*RUN, *words, "data.packing=true")
    assert padded.keys() == packed.keys()
    for name in padded:
        assert packed[name] == pytest.approx(padded[name], rel=2e-4), name


def test_a_packed_run_resumes_in_mid_epoch_bit_for_bit(metrics_of: Callable, tmp_path: Path) -> None:
    words = [*RUN, "data.packing=true"]
    words[words.index("model.dropout=0")] = "model.dropout=0.1"
    whole = metrics_of(*words, "paths.runs=whole")
    metrics_of(*words, "trainer.max_steps=5")
    resumed = metrics_of("resume=last", "trainer.max_steps=-1")
    assert resumed == whole
    states = [
        torch.load(next(tmp_path.glob(f"{folder}/*/*/checkpoints/last.ckpt")), weights_only=True)["state_dict"]
        for folder in ("whole", "runs")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_model_that_cannot_tell_records_apart_is_refused(seqlab: Callable, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "records.json").write_text(json.dumps(make_records()))
    words = [word for word in RUN if not word.startswith("model")]
    words += [
        "model=hf",
        "model.config={model_type: gpt_neox, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}",
    ]
    answer = seqlab("train", *words, "data.packing=true")
    assert (answer.status, "Traceback" in answer.err) == (1, False)
    assert "data.packing" in answer.err
