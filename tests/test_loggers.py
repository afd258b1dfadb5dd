"""TensorBoard's own server, started on a sweep of different models: what it answers is what its page shows."""

import csv
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seqlab.loggers import flatten_hparams, run_name, scalar_tag, trial_name

Ask = Callable[..., Any]


@pytest.fixture
def ask(seqlab, story: Path, tmp_path: Path) -> Iterator[Ask]:
    """Train a sweep of two kinds of models, start TensorBoard on it, and ask it."""
    blocks = (
        "sweep.blocks=[{model:'rnn,gru',data:sine,data.val_fraction:0.1,trainer.max_epochs:4},"
        f"{{model:gpt_mini,model.n_layer:1,model.n_embd:16,data:text,data.path:{story},data.context_length:16,"
        "tokenizer:char,trainer.max_steps:4,trainer.log_every_n_steps:1}]"
    )
    answer = seqlab("train", "-m", blocks, "device=cpu", "threads=1")
    assert answer.status == 0, answer.out + answer.err
    (sweep,) = tmp_path.glob("runs/*/*-sweep-*")
    words = ["--logdir", str(sweep), "--port", "0", "--load_fast", "false"]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stderr
        line = next(line for line in server.stderr if "http://" in line)
        address = re.search(r"http://localhost:(\d+)", line)
        assert address, line
        base = f"http://127.0.0.1:{address[1]}/data/"

        def get(path: str, **body: Any) -> Any:
            data = json.dumps(body).encode() if body else None
            request = urllib.request.Request(base + path, data=data, headers={"Content-Type": "application/json"})
            return json.load(urllib.request.urlopen(request, timeout=30))

        deadline = time.monotonic() + 60
        while not read(get):  # in the background
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield get
    finally:
        server.kill()
        server.wait()


def read(get: Ask) -> bool:
    """Whether the server has read the last thing that each run wrote."""
    scalars = get("plugin/scalars/tags")
    ended = [run for run in scalars if "values_at_best/val/loss" in scalars[run]]
    return len(ended) == 3 and "report" in get("plugin/images/tags")


def hparams(ask: Ask) -> dict[str, tuple[dict[str, Any], dict[str, float]]]:
    """The HPARAMS table: run -> its hyperparameters and metrics."""
    experiment = ask("plugin/hparams/experiment", experimentName="", includeMetrics=True)
    metrics = experiment.get("metricInfos", [])
    answer = ask(
        "plugin/hparams/session_groups",
        experimentName="",
        allowedStatuses=["STATUS_SUCCESS", "STATUS_UNKNOWN", "STATUS_RUNNING", "STATUS_FAILURE"],
        colParams=[{"metric": info["name"]} for info in metrics],
        startIndex=0,
        sliceSize=100,
    )
    return {
        group["sessions"][0]["name"]: (
            group["hparams"],
            {value["name"]["tag"]: value["value"] for value in group["sessions"][0]["metricValues"]},
        )
        for group in answer["sessionGroups"]
    }


def test_it_ranks_runs_of_different_models_and_overlays_them(ask: Ask, tmp_path: Path) -> None:
    runs = sorted(run for run in ask("runs") if run != "report")
    assert [run[:3] for run in runs] == ["000", "001", "002"]
    assert "model_rnn" in runs[0]
    rows = hparams(ask)
    assert sorted(rows) == sorted(runs)
    for file in tmp_path.glob("runs/*/*/*/run.json"):
        parameters, metrics = rows[file.parent.name]
        known = json.loads(file.read_text())["metrics"]
        assert metrics["loss/val"] == pytest.approx(known["last"]["val/loss"])
        assert metrics["values_at_best/val/loss"] == pytest.approx(known["best"]["val/loss"])
        assert {"optimizer.lr", "model", "seed"} <= set(parameters)
    assert "model.n_layer" in rows[runs[2]][0]  # the union of what the models have
    assert "model.hidden_size" in rows[runs[0]][0]
    assert "model.n_layer" not in rows[runs[0]][0]

    scalars = ask("plugin/scalars/tags")
    assert all({"loss/train", "loss/val", "optimizer/lr", "optimizer/grad_norm"} <= set(scalars[run]) for run in runs)
    layout = ask("plugin/custom_scalars/layout")
    assert layout["category"][0]["chart"][0]["multiline"]["tag"] == ["loss/train_step", "loss/train", "loss/val"]
    images = ask("plugin/images/tags")
    assert "test/forecast" in images[runs[0]]
    assert "sweep/learning_curves" in images["report"]
    text = ask("plugin/text/tags")
    assert {"setup/command", "setup/config"} <= {tag.removesuffix("/text_summary") for tag in text[runs[0]]}
    assert "samples" in {tag.removesuffix("/text_summary") for tag in text[runs[2]]}


def test_names_of_runs_tell_them_apart_where_tensorboard_cuts_them() -> None:
    assert trial_name(Path("/x/runs/2026-11-27/14-05-59-gru-sine")) == "gru-sine 14-05-59 2026-11-27"
    job = Path("/x/runs/2026-11-27/14-05-59-sweep-multirun/003-model_gru-seed_1")
    assert trial_name(job) == "003-model_gru-seed_1 2026-11-27 14-05-59-sweep-multirun"
    assert run_name(job) == "2026-11-27/14-05-59-sweep-multirun/003-model_gru-seed_1"


def test_losses_and_metrics_come_first_and_single_values_last() -> None:
    metrics = [
        "val/loss",
        "train/loss",
        "train/loss_step",
        "val/mae",
        "lr",
        "tokens",
        "test/mse",
        "best/val/loss",
        "mine/x",
    ]
    assert [scalar_tag(metric) for metric in metrics] == [
        "loss/val",
        "loss/train",
        "loss/train_step",
        "metrics/val_mae",
        "optimizer/lr",
        "speed/tokens",
        "test/mse",
        "values_at_best/val/loss",
        "mine/x",
    ]
    groups = [scalar_tag(metric).split("/")[0] for metric in metrics[:-1]]
    assert sorted(set(groups)) == list(dict.fromkeys(groups))  # TensorBoard sorts them


def test_hyperparameters_are_what_can_be_tuned() -> None:
    config = {
        "seed": 1,
        "name": "mine",
        "init_from": "/home/me/runs/2026-11-27/14-05-59-gpt-verdict",
        "model": {"_target_": "seqlab.models.gpt.GPT", "n_layer": 2, "context_length": None},
        "data": {
            "_target_": "seqlab.data.text.TextDataModule",
            "path": "/home/me/x.txt",
            "batch_size": 8,
            "url": "http://x",
        },
        "trainer": {"_target_": "x.y", "max_epochs": 3, "deterministic": False, "devices": 1},
        "callbacks": {"samples": {"temperature": 0.8}},
    }
    assert flatten_hparams(config) == {
        "seed": 1,
        "init_from": "14-05-59-gpt-verdict",
        "model": "GPT",
        "model.n_layer": 2,
        "data": "TextDataModule",
        "data.batch_size": 8,
        "trainer.max_epochs": 3,
    }


SHORT = [
    "train",
    "device=cpu",
    "data.length=220",
    "data.batch_size=40",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=1",
]


def read_csv(run: Path) -> list[tuple[int, str, float]]:
    """Step, metric and value of csv/metrics.csv."""
    with open(run / "csv" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (int(row["step"]), name, float(value))
        for row in rows
        for name, value in row.items()
        if value and name != "step"
    ]


def test_csv_has_each_value_once_also_when_resumed(seqlab, tmp_path: Path) -> None:
    assert seqlab(*SHORT, "logger=csv", "paths.runs=whole").status == 0
    assert seqlab(*SHORT, "logger=csv", "trainer.max_steps=8").status == 0
    (run,), (whole,) = tmp_path.glob("runs/*/*"), tmp_path.glob("whole/*/*")
    file = run / "csv" / "metrics.csv"
    columns = file.read_text().splitlines()[0].split(",")
    file.write_text(
        file.read_text() + ",".join(["9"] * len(columns)) + "\n"
    )  # as one that is killed after its checkpoint
    assert seqlab("train", "resume=last", "trainer.max_steps=-1").status == 0
    assert list(run.glob("events.*"))  # TensorBoard beside it
    there, here = read_csv(whole), read_csv(run)
    assert len({(step, name) for step, name, _ in here}) == len(here)
    ends = ("test/", "best/")  # of the first part too
    assert sorted(v for v in here if not v[1].startswith(ends)) == sorted(v for v in there if not v[1].startswith(ends))


def test_wandb_continues_its_own_run(seqlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    words = ["logger=wandb", "logger.wandb.offline=true", "name=mine"]
    assert seqlab(*SHORT, *words, "trainer.max_steps=6").status == 0
    answer = seqlab("train", "resume=last", "trainer.max_steps=-1")
    assert answer.status == 0, answer.err
    (run,) = tmp_path.glob("runs/*/*")
    identity = (run / "wandb" / "id").read_text()
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert {file.name for file in files} == {f"run-{identity}.wandb"}
    content = files[0].read_bytes()
    assert all(word in content for word in (b"val/loss", b"optimizer.lr", run.name.encode()))


def test_mlflow_continues_its_own_run(seqlab, tmp_path: Path, tiny: list[str]) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    answer = seqlab(*tiny, "logger=[csv,mlflow]")
    assert answer.status == 0, answer.err
    assert seqlab("train", "resume=last", "trainer.max_steps=4").status == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert (run / "csv" / "metrics.csv").exists()
    client = MlflowClient(f"sqlite:///{run / 'mlflow' / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("seqlab").experiment_id])
    assert found.info.run_id == (run / "mlflow" / "run_id").read_text()
    assert found.info.status == "FINISHED"
    assert found.data.tags["mlflow.runName"].endswith(run.name)
    assert found.data.params["model.n_embd"] == "16"
    assert found.data.metrics["val/loss"] == pytest.approx(
        json.loads((run / "run.json").read_text())["metrics"]["last"]["val/loss"]
    )
    assert [file.path for file in client.list_artifacts(found.info.run_id, "samples")] == [
        "samples/00000002.md",
        "samples/00000004.md",
    ]


def test_csv_alone_keeps_the_first_part_and_bears_a_line_that_was_cut(seqlab, tmp_path: Path) -> None:
    assert seqlab(*SHORT, "logger=csv", "logger.tensorboard=null", "trainer.max_steps=4").status == 0
    (run,) = tmp_path.glob("runs/*/*")
    with open(run / "csv" / "metrics.csv", "a") as file:
        file.write("0.5,0.0")  # as a kill leaves it
    answer = seqlab("train", "resume=last", "trainer.max_steps=6")
    assert answer.status == 0, answer.err
    assert {step for step, name, _ in read_csv(run) if name == "lr"} == set(range(1, 7))
    assert f"look        {(run / 'csv' / 'metrics.csv').relative_to(tmp_path)}" in answer.out
    assert "tensorboard" not in answer.out


def test_a_run_of_wandb_ends_with_a_run_that_fails(seqlab, tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    answer = seqlab(*SHORT, "logger=wandb", "logger.wandb.offline=true", "data.noise=1e30")
    assert answer.status == 1
    assert "loss became" in answer.err
    assert wandb.run is None


@pytest.mark.parametrize("uri", ["foo://x", "http://127.0.0.1:9"])
def test_a_server_that_is_not_there_is_said(uri: str, seqlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    answer = seqlab(*SHORT, "logger=mlflow", f"logger.mlflow.tracking_uri={uri}")
    assert (answer.status, len(answer.err.strip().splitlines())) == (1, 1), answer.err
    assert answer.err.startswith("seqlab: mlflow: ")
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, seqlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("lightning.pytorch.loggers.mlflow._MLFLOW_AVAILABLE", False)
    answer = seqlab(*SHORT, f"logger={package}")
    assert answer.status == 1
    assert f"pip install 'seqlab[{package}]'" in answer.err
    assert "Traceback" not in answer.err
    assert not list(tmp_path.glob("runs/*/*"))
