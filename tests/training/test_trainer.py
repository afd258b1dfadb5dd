"""Every keyword of Lightning's Trainer is honoured or refused, and none is accepted without effect."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

from seqlab.config.remedies import TRAINER_REMEDIES
from seqlab.config.validate import INJECTED_ARGS
from seqlab.errors import UserError
from seqlab.training.trainer import create_trainer


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Two keywords set what holds for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False


def timer_of(trainer: Trainer) -> Timer:
    """Lightning's own callback for `max_time`."""
    return next(callback for callback in trainer.callbacks if isinstance(callback, Timer))


# keyword -> a value that is not the default, and what shows on the Trainer that it has been taken
HONOURED: dict[str, tuple[Any, Callable[[Trainer], Any]]] = {
    "accelerator": ("cpu", lambda trainer: trainer.accelerator.name()),
    "strategy": ("ddp", lambda trainer: type(trainer.strategy).__name__.removesuffix("Strategy").lower()),
    "devices": (2, lambda trainer: trainer.num_devices),
    "num_nodes": (3, lambda trainer: trainer.num_nodes),
    "precision": ("bf16-mixed", lambda trainer: trainer.precision),
    "max_epochs": (7, lambda trainer: trainer.max_epochs),
    "max_steps": (11, lambda trainer: trainer.max_steps),
    "max_time": ({"minutes": 3}, lambda trainer: {"minutes": timer_of(trainer).time_remaining() // 60}),
    "accumulate_grad_batches": (5, lambda trainer: trainer.accumulate_grad_batches),
    "gradient_clip_val": (0.5, lambda trainer: trainer.gradient_clip_val),
    "val_check_interval": (0.25, lambda trainer: trainer.val_check_interval),
    "check_val_every_n_epoch": (4, lambda trainer: trainer.check_val_every_n_epoch),
    "limit_train_batches": (9, lambda trainer: trainer.limit_train_batches),
    "limit_val_batches": (9, lambda trainer: trainer.limit_val_batches),
    "limit_test_batches": (9, lambda trainer: trainer.limit_test_batches),
    "log_every_n_steps": (13, lambda trainer: trainer.log_every_n_steps),
    "deterministic": ("warn", lambda _: "warn" if torch.is_deterministic_algorithms_warn_only_enabled() else None),
    "benchmark": (True, lambda _: torch.backends.cudnn.benchmark),
    "detect_anomaly": (True, lambda trainer: trainer._detect_anomaly),
    "sync_batchnorm": (True, lambda trainer: getattr(trainer.strategy, "_layer_sync", None) is not None),
    "profiler": (SimpleProfiler(), lambda trainer: trainer.profiler),
}


@pytest.mark.parametrize("keyword", list(inspect.signature(Trainer).parameters))
def test_every_keyword_of_lightnings_trainer_is_honoured_or_refused(keyword: str, seqlab, tmp_path: Path) -> None:
    if keyword not in HONOURED:
        answer = seqlab("train", f"+trainer.{keyword}=1")
        assert answer.status == 1
        assert answer.err.startswith(
            f"seqlab: trainer.{keyword} is not for seqlab's runs: {TRAINER_REMEDIES[keyword]}."
        )
        return
    value, seen = HONOURED[keyword]
    besides = {"strategy": "ddp", "devices": 2} if keyword == "sync_batchnorm" else {}
    if keyword not in (
        "accelerator",
        "max_time",
    ):  # a machine without GPUs has the CPU alone; without a limit, no timer
        assert seen(trainer_with(tmp_path, **besides)) != value
    assert seen(trainer_with(tmp_path, **besides | {keyword: value})) == value


def trainer_with(run: Path, **keywords: Any) -> Trainer:
    """A Trainer with these keywords."""
    return create_trainer(run, [], [], [], **keywords)


def test_what_create_trainer_takes_is_lightnings_or_seqlabs_own() -> None:
    ours = set(inspect.signature(create_trainer).parameters)
    assert ours == HONOURED.keys() | set(INJECTED_ARGS["trainer"])
    assert set(inspect.signature(Trainer).parameters) <= HONOURED.keys() | TRAINER_REMEDIES.keys()


@pytest.mark.parametrize(
    ("name", "profiler"), [("simple", SimpleProfiler), ("advanced", AdvancedProfiler), ("pytorch", PyTorchProfiler)]
)
def test_a_profiler_chosen_by_name_reports_into_the_run_folder(name: str, profiler: type, tmp_path: Path) -> None:
    made = trainer_with(tmp_path, profiler=name).profiler
    assert type(made) is profiler
    assert Path(made.dirpath) == tmp_path


def test_the_report_of_a_profiler_is_written(seqlab, tmp_path: Path) -> None:
    assert seqlab("train", "trainer.profiler=simple", "trainer.max_epochs=1", "device=cpu").status == 0
    (report,) = tmp_path.glob("runs/*/*/fit-profile*")
    assert "run_training_epoch" in report.read_text()
    assert "profiler=simpel is unknown" in seqlab("train", "trainer.profiler=simpel", "device=cpu").err


def test_a_profiler_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use simple, advanced, pytorch or null"):
        trainer_with(tmp_path, profiler="fast")
