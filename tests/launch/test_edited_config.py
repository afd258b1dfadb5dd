"""What stands in a run folder may be edited: it is read as one means it, or refused in a sentence."""

import re
from pathlib import Path

import pytest

from seqlab.runs.folder import read_config
from seqlab.runs.run_info import read_run_info

WRITTEN = ["train", "model=gru", "data.length=220", "trainer.max_epochs=1", "device=cpu", "start=false"]


def edit(seqlab, tmp_path: Path, pattern: str, new: str) -> Path:
    """A run that was written and not started, with something replaced in its config.yaml."""
    assert seqlab(*WRITTEN).status == 0
    (run,) = tmp_path.glob("runs/*/*")
    text = (run / "config.yaml").read_text()
    assert re.search(pattern, text)
    (run / "config.yaml").write_text(re.sub(pattern, new, text, count=1))
    return run


def start(seqlab, run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """`python -m seqlab.start`, without a new process."""
    from seqlab.launch.run import main

    capfd.readouterr()
    monkeypatch.setattr("sys.argv", ["start", str(run)])
    return main(), capfd.readouterr().err


def test_a_number_as_python_writes_it_is_a_number(seqlab, tmp_path: Path, monkeypatch, capfd) -> None:
    run = edit(seqlab, tmp_path, "lr: 0.01", "lr: 5e-3")  # YAML 1.1 reads a text
    assert read_config(run)["optimizer"]["lr"] == 0.005
    assert start(seqlab, run, monkeypatch, capfd)[0] == 0
    assert read_run_info(run)["status"] == "done"


@pytest.mark.parametrize(
    ("pattern", "new", "said"),
    [
        ("lr: 0.01", "lr: fast", "optimizer.lr=fast does not fit"),
        ("lr: 0.01", "lr: 0.1\n  lr: 0.2", "lr stands twice"),
        ("hidden_size: 32", "hidden_siez: 32", "Did you mean hidden_size"),
        ("  max_steps: -1\n", "", "trainer.max_steps is missing"),
        ("objective:\n  metric: val/loss\n", "objective:\n", "objective.metric is missing"),
        ("seed: 0\n", "", "seed is missing"),
        ("optimizer:", "optimiser:", "optimiser names"),
        ("lr: 0.01", "lr: [", "is damaged"),
    ],
)
def test_what_does_not_fit_is_said(
    pattern: str, new: str, said: str, seqlab, tmp_path: Path, monkeypatch, capfd
) -> None:
    run = edit(seqlab, tmp_path, pattern, new)
    status, err = start(seqlab, run, monkeypatch, capfd)
    assert (status, len(err.strip().splitlines())) == (1, 1), err
    assert said in err
    assert read_run_info(run)["status"] == "pending"
    for verb in ("evaluate", "generate"):
        answer = seqlab(verb, f"run={run}", *(["prompt=x"] if verb == "generate" else []))
        assert answer.status == 1
        assert "Traceback" not in answer.err
