"""Searches: what is drawn, what is told, what continues after a kill."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
import yaml
from tests.sweeps.test_sweeps import TROUBLE, command, only_sweep, records, states, trouble, wait_for  # noqa: F401  # trouble is a fixture

from seqlab.errors import UserError
from seqlab.sweeps import create, manifest
from seqlab.sweeps.search import STORAGE, storage_errors

RANGES = ["optimizer.lr=tag(log,interval(1e-4,1e-1))", "model.hidden_size=range(8,33,8)", "model=rnn,gru"]
WORDS = ["-m", *RANGES, "trainer.max_epochs=5", "device=cpu", "hydra.launcher.jobs=1"]


def drawn(sweep: Path) -> list[list[str]]:
    """What each job drew."""
    jobs = manifest.read_sweep(sweep).jobs
    return [[word for word in job.overrides if not word.startswith("paths.runs=")] for job in jobs]


def trials(sweep: Path) -> list[optuna.trial.FrozenTrial]:
    """What Optuna knows."""
    return optuna.load_study(study_name="block 0", storage=f"sqlite:///{sweep / STORAGE}").trials


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_draws_within_its_ranges_the_same_each_time(sampler: str, seqlab, tmp_path: Path) -> None:
    answer = seqlab("train", *WORDS, f"sweep.sampler={sampler}", "sweep.trials=4")
    assert answer.status == 0, answer.out + answer.err
    sweep = only_sweep(tmp_path)
    for words in drawn(sweep):
        values = dict(word.split("=", 1) for word in words)
        assert 1e-4 <= float(values["optimizer.lr"]) <= 1e-1
        assert values["model.hidden_size"] in ("8", "16", "24", "32")
        assert values["model"] in ("rnn", "gru")
    assert states(sweep) == ["done"] * 4
    told = [trial.value for trial in trials(sweep)]
    assert told == [record["metrics"]["best"]["val/loss"] for _, record in sorted(records(sweep).items())]
    assert seqlab("train", *WORDS, f"sweep.sampler={sampler}", "sweep.trials=4", "paths.runs=again").status == 0
    (again,) = tmp_path.glob("again/*/*/sweep.json")
    assert drawn(again.parent) == drawn(sweep)


@pytest.mark.long
def test_a_search_that_is_killed_goes_on_as_if_it_had_not_been(seqlab, tmp_path: Path) -> None:
    words = [*WORDS, "sweep.sampler=tpe", "sweep.trials=8"]
    assert seqlab("train", *words, "paths.runs=alone").status == 0
    (alone,) = tmp_path.glob("alone/*/*/sweep.json")
    search = command(*words, cwd=tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("runs/*/*/00[2-4]*/metrics.jsonl"))))
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    sweep = only_sweep(tmp_path)
    before = len(manifest.read_sweep(sweep).jobs)
    assert before < 8
    time.sleep(0.5)
    answer = seqlab("train", "sweep.resume=last")
    assert answer.status == 0, answer.out + answer.err
    assert states(sweep) == ["done"] * 8
    assert drawn(sweep) == drawn(alone.parent)
    values = [
        trial.value for trial in trials(sweep) if trial.state.name == "COMPLETE"
    ]  # one may have had no folder yet
    assert values == [trial.value for trial in trials(alone.parent)]


def test_what_is_no_number_is_a_failed_trial_and_stops_nothing(seqlab, trouble: Path, tmp_path: Path) -> None:  # noqa: F811  # the fixture
    (trouble / "001").write_text("nan")
    answer = seqlab("train", *WORDS, "sweep.sampler=random", "sweep.trials=3", *TROUBLE)
    assert answer.status == 0
    sweep = only_sweep(tmp_path)
    assert states(sweep) == ["done", "failed", "done"]
    assert [trial.state.name for trial in trials(sweep)] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_a_trial_that_cannot_be_composed_is_a_failed_trial(seqlab, tmp_path: Path) -> None:
    words = ["-m", "model=choice(rnn,gtp)", "seed=range(0,9)", "trainer.max_epochs=2", "device=cpu"]
    answer = seqlab("train", *words, "sweep.sampler=random", "sweep.trials=6")
    assert answer.status == 0, answer.out + answer.err
    assert set(states(only_sweep(tmp_path))) == {"done", "failed"}
    assert len(states(only_sweep(tmp_path))) == 6
    assert "a result too" in answer.out


def test_a_hopeless_trial_is_pruned_and_not_run_again(seqlab, trouble: Path, tmp_path: Path) -> None:  # noqa: F811  # the fixture
    words = ["-m", "optimizer.lr=choice(0.01)", "seed=choice(0)", "trainer.max_epochs=12", "device=cpu"]
    words += ["sweep.sampler=random", "sweep.trials=6", "sweep.pruner=median", "hydra.launcher.jobs=1", *TROUBLE]
    (trouble / "005").write_text("worse")  # the median needs five trials before
    answer = seqlab("train", *words)
    assert answer.status == 0, answer.out
    sweep = only_sweep(tmp_path)
    assert states(sweep) == ["done"] * 5 + ["pruned"]
    assert trials(sweep)[5].state.name == "PRUNED"
    assert seqlab("train", "sweep.resume=last", "allow=[trouble]").status == 0
    assert states(sweep) == ["done"] * 5 + ["pruned"]
    assert json.loads((sweep / "sweep.json").read_text())["search"]["sweep"]["trials"] == 6


def test_halving_prunes_too(seqlab, tmp_path: Path) -> None:
    words = [
        "-m",
        "sweep.sampler=random",
        "sweep.pruner=halving",
        "sweep.trials=4",
        "trainer.max_epochs=8",
        "device=cpu",
    ]
    answer = seqlab(
        "train", *words, "data.val_fraction=0.1", "optimizer.lr=interval(1e-6,0.1)", "hydra.launcher.jobs=1"
    )
    assert answer.status == 0, answer.out + answer.err
    assert set(states(only_sweep(tmp_path))) <= {"done", "pruned"}
    for trial in trials(only_sweep(tmp_path)):  # the pruner is told everything, also what a look missed
        assert set(trial.intermediate_values) >= {8} or trial.state.name == "PRUNED"


def test_blocks_have_one_objective(seqlab, tmp_path: Path) -> None:
    lr = "optimizer.lr:'interval(0.01,0.1)'"
    blocks = f"sweep.blocks=[{{data.val_fraction:0.1,{lr}}},{{data.val_fraction:0,{lr}}}]"
    answer = seqlab("train", "-m", blocks, "sweep.sampler=random", "device=cpu")
    assert answer.status == 1
    assert "several objectives" in answer.err
    answer = seqlab("train", "-m", blocks.replace("0.1,opt", "7,opt"), "sweep.sampler=random", "device=cpu")
    assert "data.val_fraction=7 does not fit" in answer.err
    assert not list(tmp_path.glob("runs/*/*"))


def test_an_edited_yaml_changes_no_trial(seqlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "mine" / "model" / "small.yaml"
    model.parent.mkdir(parents=True)
    model.write_text("_target_: seqlab.models.rnn.GRUForecaster\nhidden_size: 4\nnum_layers: 1\ndropout: 0.0\n")
    add_trial = create.add_trial

    def and_edit(*args: Any) -> Any:
        model.write_text(model.read_text().replace("4", "6"))
        return add_trial(*args)

    monkeypatch.setattr(create, "add_trial", and_edit)
    words = ["-m", "model=small", "--config-dir", "mine", "optimizer.lr=interval(0.01,0.1)", "sweep.sampler=random"]
    assert seqlab("train", *words, "sweep.trials=2", "trainer.max_epochs=1", "device=cpu").status == 0
    sizes = [
        yaml.safe_load(file.read_text())["model"]["hidden_size"] for file in tmp_path.glob("runs/*/*/*/config.yaml")
    ]
    assert sizes == [4, 4]


def test_a_storage_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"search\.sqlite3 cannot be written \(.*full.*sweep\.resume="),
        storage_errors(tmp_path),
    ):
        raise sqlalchemy.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))


def test_blocks_are_spaces_of_their_own(seqlab, tmp_path: Path) -> None:
    blocks = "sweep.blocks=[{model:rnn,optimizer.lr:'interval(0.01,0.1)'},{model:gru,model.hidden_size:'4,8'}]"
    words = ["-m", blocks, "sweep.sampler=random", "sweep.trials=2", "trainer.max_epochs=2", "device=cpu"]
    answer = seqlab("train", *words)
    assert answer.status == 0, answer.out + answer.err
    chosen = [record["choices"]["model"] for _, record in sorted(records(only_sweep(tmp_path)).items())]
    assert chosen == ["rnn", "rnn", "gru", "gru"]
