"""The story of a run."""

from pathlib import Path
from typing import Any

from seqlab import build
from seqlab.callbacks import terminal
from seqlab.callbacks.checkpoint import AtomicFiles
from seqlab.callbacks.recorder import Record
from seqlab.callbacks.watchdog import Ranks
from seqlab.errors import Mistake
from seqlab.runs import checkpoints
from seqlab.runs import folder as runs
from seqlab.runs.objective import Objective
from seqlab.runs.run_info import checksums
from seqlab.weights import sources


def train(config: dict[str, Any], run: Path) -> dict[str, float]:
    """Run what a config says in its run folder, going on from `last.ckpt` if there is one; the last metrics."""
    last = checkpoints.newest(run)
    resumed = checkpoints.load(last, mmap=True)["global_step"] if last else None
    began = bool(list(run.glob("events.*")))  # what was logged after the checkpoint is logged again

    tokenizer = build.tokenizer(config, run)
    data = build.data(config, tokenizer)
    check_interval(config["trainer"], data)
    facts = build.facts_of(data)
    model = build.model(config["model"], facts, config["seed"])
    if config["init_from"] and (resumed is None or config["adapter"]):
        sources.load_base(model, sources.find(config["init_from"], run))
    task = build.task(config, model)

    record = Record(run, Objective(**config["objective"]))
    command = runs.write_record(run, facts=facts, parameters=parameters(model), data=checksums(data.files))["command"]
    given = {"tokenizer": tokenizer, "command": command, "purge_step": (resumed or 0) + 1 if began else None}
    trainer = build.trainer(config, run, [record, Ranks(run)], [AtomicFiles()], **given)
    terminal.announce(run, data, parameters(model), trainer, resumed)
    trainer.fit(task, datamodule=data, ckpt_path=str(last) if last else None, weights_only=True)

    if trainer.global_step == resumed:
        record.catch_up(trainer, task)
    trainer.strategy.barrier("trained")  # the best weights are written
    if "test" in data.splits and trainer.limit_test_batches:
        if best := sources.best_of(run):
            sources.load_trained(task.model, best)
        trainer.test(task, datamodule=data, verbose=False)
    record.conclude(trainer, task)
    terminal.conclude(run, config["paths"]["runs"], record.last, record.best)
    return record.last


def check_interval(trainer: dict[str, Any], data: Any) -> None:
    """Refuse to validate every so many batches where an epoch has fewer. Raises Mistake."""
    interval, limit = trainer["val_check_interval"], trainer["limit_train_batches"]
    batches = len(data.order) if isinstance(limit, float) else min(len(data.order), limit)
    if isinstance(interval, int) and interval > batches and trainer["check_val_every_n_epoch"] and "val" in data.splits:
        raise Mistake(
            f"trainer.val_check_interval={interval} is more than the {batches} batches of an epoch: give fewer, or count on "
            "from epoch to epoch with trainer.check_val_every_n_epoch=null."
        )


def parameters(model: Any) -> dict[str, int]:
    """How many numbers the model has, and how many of them are trained; tied weights count once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return {"total": sum(n for n, _ in sizes), "trainable": sum(n for n, trained in sizes if trained)}
