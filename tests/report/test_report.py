"""The report of runs that were written for it, so that every number is known."""

import csv
import json
import statistics
from pathlib import Path

import pytest

from seqlab.errors import UserError
from seqlab.report.files import write_report
from seqlab.report.rows import read_report
from seqlab.report.tables import build_table
from seqlab.runs import metrics_log
from seqlab.runs.folder import find_best_job, write_config
from seqlab.runs.run_info import new_run_info
from seqlab.runs.settings import varying_keys


def run(sweep: Path, number: int, overrides: list[str], losses: list[float], status: str = "done", **more) -> None:
    """A run whose validation loss went so."""
    folder = sweep / f"{number:03d}"
    folder.mkdir(parents=True)
    words = dict(word.split("=") for word in overrides)
    config = {"optimizer": {"lr": float(words.get("optimizer.lr", 0.1))}, "seed": int(words.get("seed", 0))}
    write_config(folder, config)
    log = metrics_log.MetricsLog(folder)
    log.rewind(0)
    for step, loss in enumerate(losses, 1):
        log.add(step, {"val/loss": loss, "train/loss": loss / 2})
    metrics = {"last": {"val/loss": losses[-1], "test/loss": losses[-1] + 1}, "best": {"val/loss": min(losses)}}
    times = {"seconds": 10.0}
    record = new_run_info(
        status=status, overrides=overrides, choices={"model": words.get("model", "gpt")}, metrics=metrics
    )
    record |= {"objective": {"metric": "val/loss", "mode": "min"}, "command": "seqlab train -m …"} | times | more
    (folder / "run.json").write_text(json.dumps(record))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two learning rates, two seeds each, and one that failed."""
    run(tmp_path, 0, ["model=gpt", "optimizer.lr=0.1", "seed=1"], [3.0, 1.0, 5.0])
    run(tmp_path, 1, ["model=gpt", "optimizer.lr=0.1", "seed=2"], [3.0, 2.0, 5.0])
    run(tmp_path, 2, ["model=gpt", "optimizer.lr=0.2", "seed=1"], [2.0, 1.25])
    run(tmp_path, 3, ["model=gpt", "optimizer.lr=0.2", "seed=2"], [2.0, 0.75])
    run(tmp_path, 4, ["model=gpt", "optimizer.lr=0.3", "seed=1"], [9.0], "failed", error="RuntimeError: no")
    return tmp_path


def test_it_ranks_by_the_best_value_and_folds_seeds(sweep: Path) -> None:
    titles, cells = build_table(read_report(sweep))
    assert titles == ["", "lr", "n", "best val/loss", "step", "test/loss", "seconds"]
    spread = statistics.stdev([1.25, 0.75])
    assert cells[0] == ["1", "0.2", "2", f"1 ± {spread:.2g}", "2", f"2 ± {spread:.2g}", "10.0 ± 0.0"]
    assert [line[1] for line in cells] == ["0.2", "0.1"]  # not by the last value, nor is a failed run ranked
    assert cells[1][3].startswith("1.5 ± ")


MORE = ["trainer.max_steps=9"]


@pytest.mark.parametrize("resumed", [[1], [0, 1], [1, 2, 3]])
def test_a_resumed_run_is_compared_with_runs_of_its_length(sweep: Path, resumed: list[int]) -> None:
    for number in range(4):  # of a sweep that said nothing about lengths
        file, info = sweep / f"{number:03d}" / "config.yaml", sweep / f"{number:03d}" / "run.json"
        steps = 9 if number in resumed else 3
        file.write_text(file.read_text() + f"trainer: {{max_steps: {steps}}}\n")
        record = json.loads(info.read_text())
        if number in resumed:
            record |= {"overrides": [*record["overrides"], *MORE], "resumed": [MORE]}
        info.write_text(json.dumps(record))
    titles, cells = build_table(read_report(sweep))
    assert titles[1:3] == ["lr", "max_steps"]
    longer = {(lr, n in resumed) for n, lr in enumerate((0.1, 0.1, 0.2, 0.2))}
    assert sorted((line[1], line[2]) for line in cells) == sorted(
        (str(lr), "9" if is_longer else "3") for lr, is_longer in longer
    )


def test_its_files(sweep: Path) -> None:
    report = write_report(sweep)
    with open(sweep / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["003", "000", "002", "001", "004"]
    assert rows[0]["optimizer.lr"] == "0.2"
    assert rows[0]["best val/loss"] == "0.75"
    assert rows[0]["step"] == "2"
    assert rows[-1]["error"] == "RuntimeError: no"
    text = (sweep / "results.md").read_text()
    assert "- 004: failed. RuntimeError: no" in text
    assert "| 1 | 0.2 | 2 |" in text
    assert {file.name for file in report.figures} == {"learning_curves.png", "optimizer.lr.png"}
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in report.figures)


def test_the_winner_is_what_run_best_means(sweep: Path) -> None:
    winner = read_report(sweep).winner()
    assert winner is not None
    assert find_best_job(sweep).name == winner.name == "003"
    run(sweep, 5, ["model=gpt", "optimizer.lr=0.3", "seed=1"], [0.9])  # better than that on the mean, not alone
    winner = read_report(sweep).winner()
    assert winner is not None
    assert find_best_job(sweep).name == winner.name == "005"


def test_an_objective_that_was_never_finite_has_no_winner(tmp_path: Path) -> None:
    run(tmp_path, 0, ["optimizer.lr=0.1"], [1.0], metrics={"last": {}, "best": {}})
    assert read_report(tmp_path).winner() is None


def test_the_greatest_is_best_where_the_objective_says_so(tmp_path: Path) -> None:
    for number, (loss, lr) in enumerate(((1.0, 0.1), (2.0, 0.2))):
        run(tmp_path, number, [f"optimizer.lr={lr}"], [loss], objective={"metric": "val/loss", "mode": "max"})
    assert [line[1] for line in build_table(read_report(tmp_path))[1]] == ["0.2", "0.1"]


def test_only_what_differs_and_tells_jobs_apart_is_a_column() -> None:
    assert varying_keys([{"model": "rnn", "lr": "1", "seed": "1"}, {"model": "gru", "lr": "1", "seed": "1"}]) == [
        "model"
    ]
    assert varying_keys([{"model": "rnn"}, {"model": "gpt", "n_layer": "2"}]) == ["model"]
    assert varying_keys([{"model": "gpt"}, {"model": "gpt", "n_layer": "2"}]) == ["n_layer"]
    assert varying_keys([{"lr": "1"}, {"lr": "2"}, {"lr": "2", "seed": "3"}]) == ["lr", "seed"]


def test_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no run in"):
        write_report(tmp_path)


def test_a_job_that_was_renamed_and_run_again_counts_once(tmp_path: Path) -> None:
    for number, loss in enumerate((1.0, 2.0, 3.0)):
        run(tmp_path, number, ["optimizer.lr=0.1", f"seed={min(number, 1)}"], [loss], started=f"2026-11-27T0{number}")
    report = read_report(tmp_path)
    assert sorted(row.name for row in report.rows) == ["000", "002"]
    assert build_table(report)[1][0][1:3] == ["2", "2 ± 1.4"]
