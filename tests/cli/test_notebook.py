"""compose, train and runs without a command line give what the command gives."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import seqlab as package
from seqlab.errors import UserError

WORDS = ["model=gru", "data=sine", "device=cpu", "trainer.max_epochs=2", "seed=5"]


@pytest.fixture(autouse=True)
def own_cwd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def test_a_config_is_that_of_the_command(seqlab: Callable) -> None:
    assert seqlab("train", *WORDS, "start=false").status == 0
    (file,) = Path().glob("runs/*/*/config.yaml")
    assert dict(package.compose(WORDS)) == yaml.safe_load(file.read_text())
    assert len(list(Path().glob("runs/*/*"))) == 1  # composing writes nothing


def test_a_run_is_that_of_the_command(seqlab: Callable) -> None:
    assert seqlab("train", *WORDS).status == 0
    run = package.train(package.compose(WORDS))
    typed, ours = (package.load(row["run"]) for row in package.runs())
    assert ours.folder == run.folder
    assert ours.metrics == typed.metrics
    info = json.loads((run.folder / "run.json").read_text())
    assert info["choices"]["model"] == "gru"
    assert info["overrides"] == WORDS
    assert "-gru-sine" in run.folder.name


def test_values_may_be_changed_and_are_checked() -> None:
    config = package.compose(WORDS)
    config["model"]["hidden_size"] = 7
    assert package.train(config).model.rnn.hidden_size == 7
    config["model"]["hidden_size"] = 0
    with pytest.raises(UserError, match=r"model\.hidden_size=0 does not fit"):
        package.train(config)
    assert len(package.runs()) == 1


def test_what_is_for_the_command_line_or_no_folder_is_refused() -> None:
    config = package.compose(WORDS)
    config["resume"] = "last"
    with pytest.raises(UserError, match="resume=last is for the command line"):
        package.train(config)
    for below in (None, 3):
        with pytest.raises(UserError, match=r"below=.* does not fit: it must be text or a path"):
            package.runs(below)


def test_a_saved_config_is_a_config() -> None:
    first = package.train(package.compose(WORDS))
    again = package.train(yaml.safe_load((first.folder / "config.yaml").read_text()))
    assert again.metrics == first.metrics
    assert "-gruforecaster-sinedatamodule" in again.folder.name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=gurke"], "gurke"),
        (["model=gpt", "data=sine"], "do not fit"),
        (["model.hidden_sise=3"], "Did you mean model.hidden_size"),
        (["init_from=nowhere"], "nowhere"),
        (["model=gru", "--config-dir"], "--config-dir"),
    ],
)
def test_what_is_refused_is_said(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        package.compose(overrides)


def test_code_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "last.yaml").write_text("_target_: ownlab.Last\n")
    code = "from torch import nn\nclass Last(nn.Linear):\n    def __init__(self, window: int, horizon: int):\n"
    code += "        super().__init__(window, horizon)\n"
    code += "    def forward(self, windows):\n        return super().forward(windows.transpose(1, 2)).transpose(1, 2)\n"
    (tmp_path / "ownlab.py").write_text(code)
    words = ["model=last", "device=cpu", "trainer.max_epochs=1"]
    with pytest.raises(UserError, match=r"allow=\["):
        package.compose(words, config_dir="mine")
    monkeypatch.setenv("SEQLAB_ALLOW", "")
    run = package.train(package.compose([*words, "allow=[ownlab]"], config_dir=tmp_path / "mine"))
    assert os.environ["SEQLAB_ALLOW"] == "ownlab"
    assert run.forecast([0.0] * 20).shape == (1,)


def test_several_processes_train_outside_of_the_notebook() -> None:
    run = package.train(package.compose([*WORDS, "device=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]))
    assert json.loads((run.folder / "run.json").read_text())["hardware"]["processes"] == 2
    assert run.best_metrics["test/mse"] > 0


def test_runs_are_rows_for_pandas() -> None:
    assert package.runs() == []
    package.train(package.compose(WORDS))
    package.train(package.compose([*WORDS, "model=rnn", "seed=6"]))
    rows = package.runs()
    assert [row["model"] for row in rows] == ["gru", "rnn"]  # the newest last
    for row in rows:
        assert row["status"] == "done"
        assert row["train/loss"] == row["best/train/loss"]
        assert row["optimizer.lr"] == 0.01
        assert row["parameters/total"] > 0
        assert not any(isinstance(value, dict) for value in row.values())
    assert [row["seed"] for row in package.runs(model="rnn")] == [6]
    assert len(package.runs(**{"optimizer.lr": 0.01})) == 2
    with pytest.raises(UserError, match="Did you mean model"):
        package.runs(modle="rnn")


def test_a_run_that_fails_says_why_and_is_recorded() -> None:
    config = package.compose([*WORDS, "data.noise=1e30", "trainer.max_epochs=30"])
    with pytest.raises(UserError, match="loss became"):
        package.train(config)


@pytest.mark.parametrize(
    "override",
    [
        "resume=last",
        "plan=true",
        "explain=true",
        "start=false",
        "sweep.seeds=3",
        "hydra.verbose=true",
        "-m",
        "~seed",
        "gru",
    ],
)
def test_compose_refuses_what_it_would_not_do(override: str) -> None:
    with pytest.raises(UserError, match=re.escape(override)):
        package.compose([override])


@pytest.mark.parametrize("overrides", [None, "model=gru", [3], 5])
def test_compose_takes_a_list_of_texts(overrides: Any) -> None:
    with pytest.raises(UserError, match="give a list of overrides"):
        package.compose(overrides)


def test_numbers_of_numpy_and_paths_are_values_of_a_config() -> None:
    config = package.compose(WORDS)
    config["optimizer"]["lr"] = np.float64(0.02)
    config["data"]["seed"] = np.int64(3)
    config["paths"]["runs"] = Path("elsewhere").resolve()
    config["optimizer"]["betas"] = (0.8, 0.99)
    run = package.train(config)
    saved = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert (saved["optimizer"]["lr"], saved["data"]["seed"], saved["optimizer"]["betas"]) == (0.02, 3, [0.8, 0.99])
    assert run.folder.is_relative_to(Path("elsewhere").resolve())


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("lr", object(), "optimizer.lr is object"),
        ("lr", "fast", "optimizer.lr=fast does not fit"),
        ("_target_", None, "optimizer names"),
    ],
)
def test_what_is_no_value_of_a_config_is_named(key: str, value: object, said: str) -> None:
    config = package.compose(WORDS)
    config["optimizer"][key] = value
    if value is None:
        del config["optimizer"][key]
    with pytest.raises(UserError, match=said):
        package.train(config)


@pytest.mark.parametrize("key", ["seed", "threads", "objective.metric", "trainer.max_steps", "trainer", "task"])
def test_a_key_that_was_deleted_is_named(key: str) -> None:
    config = package.compose(WORDS)
    *groups, leaf = key.split(".")
    del (config[groups[0]] if groups else config)[leaf]
    with pytest.raises(UserError, match=key):
        package.train(config)
    assert not list(Path().glob("runs/*/*"))


def test_arguments_of_another_kind_end_in_a_sentence() -> None:
    with pytest.raises(UserError, match="a config is a dictionary"):
        package.train(None)  # type: ignore[arg-type]  # the mistake itself
    for run in (5, None):
        with pytest.raises(UserError, match="must be text or a path"):
            package.load(run)  # type: ignore[arg-type]  # the mistake itself
    run = package.train(package.compose(WORDS))
    for shape in ((20, 3), (1, 2, 3, 4), ()):
        with pytest.raises(UserError, match="do not fit a series of 1 channel"):
            run.forecast(np.zeros(shape))
