"""Measure a run's weights on a split of its own data or of other data."""

from pathlib import Path
from typing import Any

from seqlab import build, device
from seqlab.config import targets, validate
from seqlab.errors import Mistake
from seqlab.files import write_json
from seqlab.runs import folder as runs
from seqlab.weights import sources

SPLITS, CHECKPOINTS = ("train", "val", "test"), ("best", "last")


def evaluate(
    run: Path, data: dict[str, Any], data_name: str, split: str, checkpoint: str, on: dict[str, Any]
) -> dict[str, float]:
    """The metrics in evaluation mode, also written to `evaluations/<data>-<split>-<checkpoint>.json`.

    `data` is the node to measure on, `on` holds the device's keys. Raises Mistake for a split or checkpoint that does
    not exist, and for data that the model cannot read.
    """
    if split not in SPLITS or checkpoint not in CHECKPOINTS:
        raise Mistake(f"split={split} checkpoint={checkpoint}: take one of {', '.join(SPLITS)}, and best or last.")
    record, config = runs.read_record(run), runs.read_config(run) | {"data": data}
    targets.check_targets(config)
    validate.check(config, record["choices"] | {"data": data_name})
    if not record["facts"]:
        raise Mistake(f"{run} never got as far as reading its data: there is nothing to evaluate.")
    model = sources.restored(run, sources.weights_of(run, checkpoint))
    if data.get("context_length", 0) > getattr(model, "context_length", data.get("context_length", 0)):
        data["context_length"] = model.context_length
    module = build.data(config, build.tokenizer(config, run))
    module.loader(split)  # refuses a split that these data do not have
    module.test_split = split
    task = build.task(config | {"adapter": {}}, model)
    if on["accelerator"] == "auto" and config["trainer"]["accelerator"] == device.accelerator():
        on["precision"] = config["trainer"]["precision"]  # to give what the run gave
    device.resolve(on, task.safe_precisions)
    if device.processes(on) > 1:
        raise Mistake(
            f"evaluate is one process, and trainer.devices={on['devices']}: take device=auto, cpu, cuda or mps."
        )
    quiet = {
        "callbacks": {},
        "logger": {},
        "trainer": config["trainer"] | on | {"profiler": None, "limit_test_batches": 1.0},
    }
    trainer = build.trainer(config | quiet, run, [], [])
    trainer.test(task, datamodule=module, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    result = {"data": data_name, "split": split, "checkpoint": checkpoint, "metrics": metrics}
    (run / "evaluations").mkdir(exist_ok=True)
    write_json(run / "evaluations" / f"{data_name}-{split}-{checkpoint}.json", result)
    return metrics
