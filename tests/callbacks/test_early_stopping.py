"""Early stopping counts measurements of the objective, also across a resume."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqlab.callbacks.early_stopping import EarlyStopping
from seqlab.runs.objective import Objective


def stops_at(losses: list[float], patience: int | None, metric: str = "val/loss", resume_after: int = -1) -> int | None:
    """The index of the measurement after which training stops."""
    objective = Objective(metric, "min")
    callback = EarlyStopping(objective, patience)
    for step, loss in enumerate(losses):
        trainer: Any = SimpleNamespace(
            global_step=step,
            state=SimpleNamespace(fn="fit"),
            should_stop=False,
            print=lambda text: None,
            callback_metrics={metric: loss},
        )
        objective.update({metric: loss}, step)
        (callback.on_validation_end if metric == "val/loss" else callback.on_train_epoch_end)(trainer, None)
        if trainer.should_stop:
            return step
        if step == resume_after:
            objective.update({metric: min(losses) - 1}, len(losses))  # of weights saved after the checkpoint
            state, callback = callback.state_dict(), EarlyStopping(objective, patience)
            callback.load_state_dict(json.loads(json.dumps(state)))
    return None


@pytest.mark.parametrize("metric", ["val/loss", "train/loss"])
@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([3, 2, 1, 1, 1, 1], 2, 4),
        ([3, 2, 3, 1, 3, 3], 2, 5),
        ([3, float("nan"), float("nan")], 2, 2),
        ([1, 2, 3, 4, 5], None, None),
        ([5, 4, 3, 2, 1], 1, None),
    ],
)
def test_it_stops_after_so_many_measurements_without_a_better_one(
    metric: str, losses: list[float], patience: int | None, expected: int | None
) -> None:
    assert stops_at(losses, patience, metric) == expected


@pytest.mark.parametrize("resume_after", range(5))
def test_a_resume_changes_nothing(resume_after: int) -> None:
    assert stops_at([3, 2, 3, 3, 3, 3], 3, resume_after=resume_after) == 4


def test_a_run_stops_says_so_and_a_resume_may_be_more_patient(seqlab, story: Path, tiny: list[str]) -> None:
    words = [*tiny[:-1], "trainer.max_steps=40", "trainer.val_check_interval=1", "optimizer.lr=5", "data.batch_size=4"]
    answer = seqlab(*words, "callbacks.early_stopping.patience=3")
    assert answer.status == 0
    assert "stopped     early" in answer.out
    (file,) = Path().glob("runs/*/*/run.json")
    info = json.loads(file.read_text())
    assert info["steps"] < 40
    assert info["status"] == "done"
    for words in ([], ["trainer.max_steps=50"]):
        answer = seqlab("train", "resume=last", *words)
        assert answer.status == 1
        assert "it stopped early, after 3 measurements without a better objective" in answer.err
    answer = seqlab("train", "resume=last", "callbacks.early_stopping.patience=6")
    assert answer.status == 0, answer.err
    assert json.loads(file.read_text())["steps"] > info["steps"]
