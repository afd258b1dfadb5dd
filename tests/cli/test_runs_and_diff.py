"""seqlab runs, seqlab diff and seqlab report on real runs."""

from pathlib import Path

import pytest

from seqlab.runs.run_info import update_run_info


@pytest.fixture
def trained(seqlab, tmp_path: Path) -> Path:
    """A sweep of two models and a single run."""
    assert seqlab("train", "-m", "model=rnn,gru", "trainer.max_epochs=3", "device=cpu").status == 0
    assert seqlab("train", "optimizer.lr=0.5", "trainer.max_epochs=2", "device=cpu").status == 0
    return tmp_path / "runs"


def lines(out: str) -> list[str]:
    """The rows of the table."""
    return [line for line in out.splitlines()[1:] if "/" in line and "runs below" not in line]


def test_runs_are_listed_filtered_and_sorted(trained: Path, seqlab) -> None:
    assert len(lines(seqlab("runs").out)) == 3
    assert [line.split()[2] for line in lines(seqlab("runs", "status=done", "model=gru").out)] == ["gru"]
    assert [line.split()[2] for line in lines(seqlab("runs", "optimizer.lr=0.5").out)] == ["lstm"]
    by_loss = lines(seqlab("runs", "sort=train/loss").out)
    values = [float(line.split()[5]) for line in by_loss]
    assert values == sorted(values)
    assert len(lines(seqlab("runs", "limit=1").out)) == 1
    assert lines(seqlab("runs", "limit=1").out)[0].split()[2] == "lstm"  # the one started last
    assert "2 of 3 runs" in seqlab("runs", "limit=2").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sort=val/los"], "has val/los"),
        (["modle=gru"], "Did you mean model"),
        (["gru"], "is not key=value"),
        (["limit=0"], "limit=0"),
    ],
)
def test_what_cannot_be_listed(words: list[str], said: str, trained: Path, seqlab) -> None:
    answer = seqlab("runs", *words)
    assert answer.status == 1
    assert said in answer.err


def test_without_runs_there_is_an_empty_list(seqlab) -> None:
    answer = seqlab("runs")
    assert answer.status == 0
    assert "0 of 0 runs" in answer.out


def test_diff_names_what_differs_and_nothing_else(trained: Path, seqlab) -> None:
    one, other = sorted(trained.glob("*/*/0*"))
    answer = seqlab("diff", f"a={one}", f"b={other}")
    assert answer.status == 0, answer.err
    assert "choices model" in answer.out
    assert "config model _target_" in answer.out
    assert "best test/mse" in answer.out
    assert "optimizer" not in answer.out
    assert "versions" not in answer.out
    assert "are the same run" in seqlab("diff", f"a={one}", f"b={one}").out
    assert "config optimizer lr" in seqlab("diff", f"a={one}", "b=last").out


def test_report_of_a_sweep(trained: Path, seqlab) -> None:
    answer = seqlab("report")
    assert answer.status == 0, answer.err
    assert "best val/loss" in answer.out
    assert (next(trained.glob("*/*/sweep.json")).parent / "results.csv").exists()
    assert "is not a sweep" in seqlab("report", f"run={trained}").err


@pytest.mark.parametrize("dirty", [True, False])
def test_code_that_was_not_committed_may_differ(dirty: bool, seqlab, tmp_path: Path) -> None:
    for _ in range(2):
        assert seqlab("train", "trainer.max_epochs=1", "device=cpu").status == 0
    runs = sorted(file.parent for file in tmp_path.glob("runs/*/*/run.json"))
    for run in runs:
        update_run_info(run, git={"commit": "abc", "dirty": dirty})
    answer = seqlab("diff", f"a={runs[0]}", f"b={runs[1]}")
    assert "The two runs are the same" in answer.out
    assert ("The code may differ as well" in answer.out) == dirty
