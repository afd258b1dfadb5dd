"""Losses and metrics are weighed by what is supervised, whatever the batches."""

import json
from pathlib import Path

import pytest
import torch

from seqlab.batch import Batch
from seqlab.errors import UserError
from seqlab.tasks.forecasting import Forecasting
from seqlab.tasks.language import LanguageModeling
from seqlab.tasks.means import WeightedMean


class Fixed(torch.nn.Module):
    """A model that says what it was told to."""

    def __init__(self, outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """inputs (B, …) -> the outputs of the rows that the inputs name"""
        return self.outputs[inputs[:, 0].long()]


def task(kind: type, outputs: torch.Tensor):
    """A task over fixed outputs."""
    return kind(Fixed(outputs), optimizer=torch.optim.SGD, schedule=None)


def mean_over(task, batches: list[Batch]) -> torch.Tensor:
    """The running mean of the loss over batches."""
    mean = WeightedMean()
    for batch in batches:
        mean.update(*task.compute_sums(batch)["loss"])
    return mean.compute()


def rows(*numbers: int, width: int) -> torch.Tensor:
    """Inputs that name rows."""
    return torch.tensor(numbers).unsqueeze(1).expand(-1, width)


def test_perplexity_is_the_exponential_of_the_token_mean() -> None:
    logits = torch.zeros(2, 3, 4)
    logits[0, :, 0] = 2
    targets = torch.tensor([[0, 0, 0], [1, -100, -100]])
    language = task(LanguageModeling, logits)
    loss = mean_over(language, [Batch(rows(0, 1, width=3), targets)])
    assert loss.item() == pytest.approx(0.6021384, abs=1e-6)
    alone = [mean_over(language, [Batch(rows(row, width=3), targets[row : row + 1])]).item() for row in (0, 1)]
    assert sum(alone) / 2 == pytest.approx(0.8635, abs=1e-4)  # which is not what we give
    assert language.derive_metrics({"loss": loss})["perplexity"].item() == pytest.approx(1.8260194, abs=1e-5)


def test_bits_per_byte_are_all_bits_over_all_bytes_of_text() -> None:
    logits = torch.zeros(2, 3, 4)  # two bits a token
    language = task(LanguageModeling, logits).eval()
    language.byte_lengths = torch.tensor([1, 2, 4, 0])  # the last one ends a text
    mean = WeightedMean()
    for row, targets in enumerate(([0, 1, 2], [2, 3, -100])):
        mean.update(*language.compute_sums(Batch(rows(row, width=3), torch.tensor([targets])))["bits_per_byte"])
    assert mean.compute().item() == pytest.approx(5 * 2 / (1 + 2 + 4 + 4))


def test_ragged_batches_have_one_mean() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(5, 8, 11), torch.randint(0, 11, (5, 8))
    language = task(LanguageModeling, logits)
    batches = [Batch(rows(*numbers, width=8), targets[list(numbers)]) for numbers in [(0, 1), (2, 3), (4,)]]
    assert mean_over(language, batches).item() == pytest.approx(2.931841, abs=1e-6)
    means = [mean_over(language, [batch]).item() for batch in batches]
    assert sum(means) / 3 == pytest.approx(2.983667, abs=1e-6)  # which is not what we give


@pytest.mark.parametrize(("targets", "loss"), [([0, 1], 1.126928), ([0, 1, 1], 0.793595), ([0, 1, -100], 1.126928)])
def test_ignored_targets_do_not_count(targets: list[int], loss: float) -> None:
    logits = torch.tensor([[[-1.0, 1.0], [-0.5, 1.5], [-0.5, 1.5]]])[:, : len(targets)]
    language = task(LanguageModeling, logits)
    got = mean_over(language, [Batch(rows(0, width=len(targets)), torch.tensor([targets]))])
    assert got.item() == pytest.approx(loss, abs=1e-6)


def test_a_batch_without_targets_contributes_nothing() -> None:
    language = task(LanguageModeling, torch.randn(1, 2, 3, requires_grad=True))
    total, count = language.compute_sums(Batch(rows(0, width=2), torch.full((1, 2), -100)))["loss"]
    assert (total.item(), count.item()) == (0.0, 0)
    total.backward()  # has a graph


def test_a_value_that_is_nan_is_not_scored() -> None:
    forecasting = task(Forecasting, torch.tensor([[[1.0], [3.0]]]))
    sums = forecasting.compute_sums(Batch(rows(0, width=1), torch.tensor([[[0.0], [float("nan")]]])))
    assert {name: (total.item(), count.item()) for name, (total, count) in sums.items()} == dict.fromkeys(
        ("loss", "mse", "mae"), (1.0, 1)
    )


def test_shapes_never_broadcast() -> None:
    with pytest.raises(UserError, match=r"gives \(4, 1, 1\) instead of predictions \(B, H, C\), \(4, 1\)"):
        task(Forecasting, torch.zeros(4, 1, 1)).compute_sums(Batch(rows(0, 1, 2, 3, width=1), torch.zeros(4, 1)))


SOURCES = {
    "sine": "data=sine data.length=60 data.val_fraction=0.2 model=gru",
    "text": "data=text data.path=story.txt data.context_length=16 data.test_fraction=0.1 tokenizer=byte",
    "instruction": "data=instruction data.path=records.json data.val_fraction=0.2 tokenizer=byte",
}
SMALL = "model=gpt_mini model.n_layer=1 model.n_head=2 model.n_embd=16 model.dropout=0 callbacks.samples=null"
CUTS = {
    "8": "data.batch_size=8",
    "4 + 4": "data.batch_size=4 trainer.accumulate_grad_batches=2",
    "8 x 1": "data.batch_size=1 trainer.accumulate_grad_batches=8",
    "workers": "data.batch_size=4 trainer.accumulate_grad_batches=2 data.num_workers=2",
}


@pytest.mark.parametrize("data", SOURCES)
def test_weights_and_metrics_are_the_same_however_batches_are_cut(
    data: str, seqlab, story: Path, tmp_path: Path
) -> None:
    story.write_text(story.read_text()[:700])
    records = [{"instruction": "Say it.", "output": "so " * number} for number in range(1, 31)]
    (tmp_path / "records.json").write_text(json.dumps(records))
    words = ["train", *SOURCES[data].split(), *(SMALL.split() if data != "sine" else ())]
    words += "optimizer=sgd optimizer.lr=0.1 schedule=constant schedule.warmup_steps=0 trainer.max_epochs=1 device=cpu".split()
    weights, metrics = [], []
    for name, cut in CUTS.items():
        runs = "runs-" + name.replace(" ", "")
        answer = seqlab(*words, *cut.split(), f"paths.runs={runs}")
        assert answer.status == 0, answer.err
        (run,) = tmp_path.glob(f"{runs}/*/*")
        weights.append(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
        said = json.loads((run / "run.json").read_text())["metrics"]
        metrics.append(said["last"] | {name: value for name, value in said["best"].items() if "test/" in name})
    assert {"train/loss", "val/loss", "test/loss"} <= set(metrics[0])
    for others, said in zip(weights[1:], metrics[1:], strict=True):
        assert said == pytest.approx(metrics[0], rel=2e-6)
        for name, tensor in weights[0].items():
            if name.startswith("model."):
                torch.testing.assert_close(others[name], tensor, atol=1e-6, rtol=1e-5)
