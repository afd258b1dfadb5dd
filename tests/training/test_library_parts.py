"""Every optimizer and schedule of torch and every callback of Lightning works, or is refused in a sentence."""

import json
from pathlib import Path

import lightning.pytorch.callbacks
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

STEPS = 8
TRAIN = [
    "train",
    "device=cpu",
    "data.length=120",
    "data.batch_size=32",
    "trainer.max_epochs=4",
    "callbacks.forecast=null",
]
SCHEDULERS = "torch.optim.lr_scheduler"
OPTIMIZERS = [name for name in dir(torch.optim) if name[0].isupper() and name != "Optimizer"]
# what a constructor needs besides its defaults, beside what seqlab gives
NEEDS: dict[str, dict[str, object]] = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": STEPS},
    "CyclicLR": {"base_lr": 1e-3, "max_lr": 1e-2, "cycle_momentum": False},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "OneCycleLR": {"max_lr": 1e-2},
    "ReduceLROnPlateau": {"monitor": "val/loss", "patience": 0, "threshold": 10},  # nothing is an improvement
    "EarlyStopping": {"monitor": "val/loss"},
}
INNER = [
    {"_target_": f"{SCHEDULERS}.LinearLR", "_partial_": True},
    {"_target_": f"{SCHEDULERS}.ConstantLR", "_partial_": True},
]
NEEDS |= {"SequentialLR": {"schedulers": INNER, "milestones": [3]}, "ChainedScheduler": {"schedulers": INNER}}
# refused where they are named, or by their own constructor
REFUSED = {
    *("LBFGS", "SparseAdam", "Muon"),  # the last one trains matrices alone: optimizer=muon gives it those
    *("LambdaLR", "MultiplicativeLR", "LRScheduler"),  # need a function
    *("BatchSizeFinder", "LearningRateFinder", "GradientAccumulationScheduler", "StochasticWeightAveraging"),
    *("WeightAveraging", "EMAWeightAveraging", "ModelCheckpoint", "OnExceptionCheckpoint", "ModelPruning"),
    *(
        "TQDMProgressBar",
        "RichProgressBar",
        "ProgressBar",
        "BaseFinetuning",
        "BackboneFinetuning",
        "BasePredictionWriter",
    ),
    *("ThroughputMonitor", "Checkpoint", "Callback"),
}


def check(name: str, seqlab, tmp_path: Path, *words: str) -> None:
    """Train with it, to the last step; or see it refused in one sentence, with nothing left behind."""
    answer = seqlab(*TRAIN, *words)
    if name in REFUSED:
        assert answer.status == 1, f"{name} works"
        assert "Traceback" not in answer.err
        assert len(answer.err.strip().splitlines()) == 1
        assert not list(tmp_path.glob("runs/*/*"))
        return
    assert answer.status == 0, answer.err
    (file,) = tmp_path.glob("runs/*/*/run.json")
    info = json.loads(file.read_text())
    assert (info["status"], info["steps"]) == ("done", STEPS)


def to_node(target: str, name: str, **more: object) -> str:
    """A node for the command line."""
    return json.dumps({"_target_": f"{target}.{name}", **NEEDS.get(name, {}), **more}).replace('"', "")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_of_torch(name: str, seqlab, tmp_path: Path) -> None:
    words = ["~optimizer.lr", "~optimizer.betas", "~optimizer.weight_decay", "~optimizer.fused"]
    check(name, seqlab, tmp_path, *words, f"optimizer._target_=torch.optim.{name}", "+optimizer.lr=1e-3")


@pytest.mark.parametrize("name", torch.optim.lr_scheduler.__all__)
def test_schedules_of_torch(name: str, seqlab, tmp_path: Path) -> None:
    keys = [f"+schedule.{key}={json.dumps(value)}".replace('"', "") for key, value in NEEDS.get(name, {}).items()]
    words = ["trainer.log_every_n_steps=1", "~schedule.warmup_steps"]
    check(name, seqlab, tmp_path, *words, f"schedule._target_={SCHEDULERS}.{name}", *keys)
    if name not in REFUSED:
        (run,) = tmp_path.glob("runs/*/*")
        events = EventAccumulator(str(run))
        events.Reload()
        assert len({event.value for event in events.Scalars("optimizer/lr")}) > 1, "it never steps"


@pytest.mark.parametrize("name", lightning.pytorch.callbacks.__all__)
def test_callbacks_of_lightning(name: str, seqlab, tmp_path: Path) -> None:
    check(name, seqlab, tmp_path, "+callbacks.mine=" + to_node("lightning.pytorch.callbacks", name))
