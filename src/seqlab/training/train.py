"""The story of a run."""

import warnings
from pathlib import Path
from typing import Any

from seqlab.build import (
    build_adapter,
    build_data,
    build_model,
    build_task,
    build_tokenizer,
    build_trainer,
    get_data_properties,
    needs_reference,
)
from seqlab.callbacks.checkpoint import AtomicCheckpointIO
from seqlab.callbacks.recorder import RunRecorder
from seqlab.callbacks.terminal import print_header, print_summary
from seqlab.callbacks.watchdog import RankWatchdog
from seqlab.errors import UserError
from seqlab.runs.checkpoints import latest_checkpoint, load_checkpoint
from seqlab.runs.environment import compute_checksums
from seqlab.runs.objective import Objective
from seqlab.runs.ranks import get_rank
from seqlab.runs.run_info import update_run_info
from seqlab.training.frozen import freeze_parameters
from seqlab.training.sizes import check_disk, count_optimizer_bytes, count_parameters
from seqlab.weights.restore import build_reference, load_base, load_trained_weights, needs_base
from seqlab.weights.sources import best_weights_path


def train(config: dict[str, Any], run: Path) -> dict[str, float]:
    """Run what a config says in its run folder, from `last.ckpt` on if there is one; return the last metrics."""
    last = latest_checkpoint(run)
    resumed_step = load_checkpoint(last, mmap=True)["global_step"] if last else None
    was_logged = last or list(run.glob("events.*")) or list(run.glob("csv/*"))
    purge_step = (resumed_step or 0) + 1 if was_logged else None  # what was logged after it is logged again

    tokenizer = build_tokenizer(config, run)
    data = build_data(config, tokenizer)
    check_val_interval(config["trainer"], data)
    if data.prompt_style and not get_rank():
        data.prompt_style.save(run)

    properties, compares = get_data_properties(data), needs_reference(config)
    model = build_model(config["model"], properties, config["seed"])
    if config["init_from"] and (last is None or needs_base(config)):
        load_base(model, config["init_from"], run)
    adapter = build_adapter(config)
    if adapter:
        adapter.apply(model)
    freeze_parameters(model, config.get("freeze"))
    task = build_task(config, model, build_reference(model, adapter) if compares else None)
    task.adapter = adapter

    sizes, files = count_parameters(model), compute_checksums(data.files)
    check_start(config, run, task, data)
    info = update_run_info(run, data_properties=properties, parameters=sizes, data=files)
    objective = Objective(**config["objective"])
    recorder = RunRecorder(run, objective, config)
    injected = {
        "tokenizer": tokenizer,
        "adapter": adapter,
        "objective": objective,
        "command": info["command"],
        "purge_step": purge_step,
    }
    trainer = build_trainer(config, run, [recorder, RankWatchdog(run)], [AtomicCheckpointIO()], **injected)
    print_header(run, data, info, resumed_step, bool(trainer.checkpoint_callbacks), count_optimizer_bytes(task))
    trainer.fit(task, datamodule=data, ckpt_path=str(last) if last else None, weights_only=True)
    recorder.finish_training(trainer, task, resumed_step)

    trainer.strategy.barrier("trained")  # the best weights are written
    if "test" in data.splits and trainer.limit_test_batches:
        if best := best_weights_path(run):
            load_trained_weights(model, best, adapter)
            recorder.tests_best = objective.best_step is not None and objective.metric.startswith("val/")
        trainer.test(task, datamodule=data, verbose=False)
    recorder.finish(trainer, task)
    print_summary(run, config["paths"]["runs"], recorder.last, recorder.best, objective)
    return recorder.last


def check_start(config: dict[str, Any], run: Path, task: Any, data: Any) -> None:
    """Refuse a run whose checkpoints do not fit on the disk, and warn of an adapter on weights that were never trained.

    Raises UserError.
    """
    check_disk(config, run, task, has_val="val" in data.splits)
    if config["adapter"] and not config["init_from"] and not get_rank():
        warnings.warn(
            "The adapter trains on frozen weights that were drawn at random, since init_from is not given: name a run, or a "
            "folder in Hugging Face format.",
            stacklevel=2,
        )


def check_val_interval(trainer: dict[str, Any], data: Any) -> None:
    """Refuse to validate every so many batches if an epoch has fewer. Raises UserError."""
    interval, limit = trainer["val_check_interval"], trainer["limit_train_batches"]
    batches = int(len(data.sampler) * limit) if isinstance(limit, float) else min(len(data.sampler), limit)
    if isinstance(interval, int) and interval > batches and trainer["check_val_every_n_epoch"] and "val" in data.splits:
        raise UserError(
            f"trainer.val_check_interval={interval} is more than the {batches} batches of an epoch: give fewer, or count "
            "across epochs with trainer.check_val_every_n_epoch=null."
        )
