"""TensorBoard's own server, started on a sweep of different models: what it answers is what its page shows."""

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
    assert "learning_curves" in images["report"]
    text = ask("plugin/text/tags")
    assert {"setup/command", "setup/config"} <= {tag.removesuffix("/text_summary") for tag in text[runs[0]]}
    assert "samples" in {tag.removesuffix("/text_summary") for tag in text[runs[2]]}
