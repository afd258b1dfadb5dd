"""plan=true says what a run will be, and writes nothing."""

import json
import re
from pathlib import Path

import pytest


def cells(out: str) -> list[str]:
    """The last row of the table."""
    (line,) = [line for line in out.splitlines() if re.match(r"\s*[\d,]+ ", line)]
    return re.split(r"\s{2,}", line.strip())


@pytest.mark.parametrize(
    "words",
    [
        ["model=gru", "trainer.max_epochs=3"],
        ["TINY", "trainer.max_steps=7"],
        [
            "TINY",
            "trainer.max_steps=-1",
            "trainer.max_epochs=2",
            "trainer.accumulate_grad_batches=3",
            "data.batch_size=2",
        ],
        ["TINY", "trainer.limit_train_batches=0.5", "trainer.max_steps=-1", "callbacks.checkpoint.keep=weights"],
    ],
)
def test_parameters_steps_tokens_and_disk_are_those_of_the_run(
    words: list[str], seqlab, tiny: list[str], tmp_path: Path
) -> None:
    words = [*(tiny if words[0] == "TINY" else ["train", words[0]]), *words[1:], "device=cpu"]
    planned = seqlab(*words, "plan=true")
    assert planned.status == 0, planned.err
    assert not (tmp_path / "runs").exists()
    parameters, steps, *tokens, _, _ = (cell.replace(",", "") for cell in cells(planned.out))
    assert seqlab(*words).status == 0
    (run,) = tmp_path.glob("runs/*/*")
    record = json.loads((run / "run.json").read_text())
    assert int(parameters) == record["parameters"]["total"]
    assert int(steps) == record["steps"]
    assert [int(number) for number in tokens] == ([record["tokens"]] if record["tokens"] else [])
    kept = sum(file.stat().st_size for file in run.glob("checkpoints/*.ckpt"))
    number, unit = cells(planned.out)[-1].split()
    assert float(number) * {"B": 1, "kB": 1e3, "MB": 1e6}[unit] <= kept


def test_memory_is_of_the_right_size(seqlab, tiny: list[str]) -> None:
    """Weights, gradients and two states of four bytes; what is kept for backward grows with the batch."""

    def memory(*words: str) -> float:
        number, unit = cells(seqlab(*tiny, *words, "plan=true").out)[-2].split()
        return float(number) * {"kB": 1e3, "MB": 1e6}[unit]

    assert memory("data.batch_size=16") > 1.5 * memory("data.batch_size=8")
    wide = memory("model.n_embd=256", "data.batch_size=1")
    assert 16 * 800_000 < wide < 30 * 900_000


def test_the_plan_of_a_sweep_finds_the_job_that_cannot_be(seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", "-m", "model=rnn,gru", "model.hidden_size=4,four", "device=cpu", "plan=true")
    assert answer.status == 1
    assert "001 is refused: model.hidden_size=four does not fit" in answer.out
    assert "2 of 4 jobs can run" in answer.out
    assert re.search(r"000 +rnn +4 ", answer.out)
    answer = seqlab("train", "-m", "seed=1,2", "+callbacks.metrics.loud=1", "device=cpu", "plan=true")
    assert answer.status == 1
    assert "callbacks.metrics.loud is not a keyword of TrainingMetrics" in answer.out
    assert not (tmp_path / "runs").exists()


def test_a_search_is_planned_by_the_lower_ends_of_its_ranges(seqlab, tmp_path: Path) -> None:
    words = ["model.hidden_size=range(8,33,8)", "sweep.sampler=tpe", "device=cpu", "plan=true"]
    answer = seqlab("train", "-m", *words)
    assert answer.status == 0, answer.err
    assert "20 trials" in answer.out
    assert not (tmp_path / "runs").exists()
