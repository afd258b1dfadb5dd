"""The story of a run."""

from pathlib import Path
from typing import Any

from seqlab import build
from seqlab.callbacks import terminal
from seqlab.callbacks.checkpoint import AtomicCheckpointIO
from seqlab.callbacks.recorder import RunRecorder
from seqlab.callbacks.watchdog import RankWatchdog
from seqlab.errors import UserError
from seqlab.runs import checkpoints
from seqlab.runs import folder as runs
from seqlab.runs.objective import Objective
from seqlab.runs.run_info import compute_checksums
from seqlab.weights import sources


def train(config: dict[str, Any], run: Path) -> dict[str, float]:
    """Run what a config says in its run folder, going on from `last.ckpt` if there is one; the last metrics."""
    last = checkpoints.latest_checkpoint(run)
    resumed = checkpoints.load_checkpoint(last, mmap=True)["global_step"] if last else None
    began = bool(list(run.glob("events.*")))  # what was logged after the checkpoint is logged again

    tokenizer = build.build_tokenizer(config, run)
    data = build.build_data(config, tokenizer)
    check_val_interval(config["trainer"], data)
    data_properties = build.get_data_properties(data)
    model = build.build_model(config["model"], data_properties, config["seed"])
    if config["init_from"] and (resumed is None or config["adapter"]):
        sources.load_source(model, sources.resolve_init_from(config["init_from"], run))
    task = build.build_task(config, model)

    record = RunRecorder(run, Objective(**config["objective"]))
    command = runs.update_run_info(
        run, data_properties=data_properties, parameters=count_parameters(model), data=compute_checksums(data.files)
    )["command"]
    given = {"tokenizer": tokenizer, "command": command, "purge_step": (resumed or 0) + 1 if began else None}
    trainer = build.build_trainer(config, run, [record, RankWatchdog(run)], [AtomicCheckpointIO()], **given)
    terminal.print_header(run, data, count_parameters(model), trainer, resumed)
    trainer.fit(task, datamodule=data, ckpt_path=str(last) if last else None, weights_only=True)

    if trainer.global_step == resumed:
        record.finish_interrupted(trainer, task)
    trainer.strategy.barrier("trained")  # the best weights are written
    if "test" in data.splits and trainer.limit_test_batches:
        if best := sources.best_weights_path(run):
            sources.load_trained_weights(task.model, best)
        trainer.test(task, datamodule=data, verbose=False)
    record.finish(trainer, task)
    terminal.print_summary(run, config["paths"]["runs"], record.last, record.best)
    return record.last


def check_val_interval(trainer: dict[str, Any], data: Any) -> None:
    """Refuse to validate every so many batches where an epoch has fewer. Raises Mistake."""
    interval, limit = trainer["val_check_interval"], trainer["limit_train_batches"]
    batches = len(data.sampler) if isinstance(limit, float) else min(len(data.sampler), limit)
    if isinstance(interval, int) and interval > batches and trainer["check_val_every_n_epoch"] and "val" in data.splits:
        raise UserError(
            f"trainer.val_check_interval={interval} is more than the {batches} batches of an epoch: give fewer, or count on "
            "from epoch to epoch with trainer.check_val_every_n_epoch=null."
        )


def count_parameters(model: Any) -> dict[str, int]:
    """How many numbers the model has, and how many of them are trained; tie_embeddings weights count once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return {"total": sum(n for n, _ in sizes), "trainable": sum(n for n, trained in sizes if trained)}
