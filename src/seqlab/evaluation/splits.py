"""Measure a run's weights on a split of its own data or of other data."""

from pathlib import Path
from typing import Any

from seqlab import build, device
from seqlab.config import targets, validate
from seqlab.errors import UserError
from seqlab.files import write_json
from seqlab.runs import folder as runs
from seqlab.weights import sources

SPLITS, CHECKPOINTS = ("train", "val", "test"), ("best", "last")


def evaluate_run(
    run: Path, data: dict[str, Any], data_name: str, split: str, checkpoint: str, on: dict[str, Any]
) -> dict[str, float]:
    """The metrics in evaluation mode, also written to `evaluations/<data>-<split>-<checkpoint>.json`.

    `data` is the node to measure on, `on` holds the device's keys. Raises Mistake for a split or checkpoint that does
    not exist, and for data that the model cannot read.
    """
    if split not in SPLITS or checkpoint not in CHECKPOINTS:
        raise UserError(f"split={split} checkpoint={checkpoint}: take one of {', '.join(SPLITS)}, and best or last.")
    record, config = runs.read_run_info(run), runs.read_config(run) | {"data": data}
    targets.check_targets(config)
    validate.validate_config(config, record["choices"] | {"data": data_name})
    if not record["data_properties"]:
        raise UserError(f"{run} never got as far as reading its data: there is nothing to evaluate.")
    model = sources.load_model_from_run(run, sources.weights_path(run, checkpoint))
    if data.get("context_length", 0) > getattr(model, "context_length", data.get("context_length", 0)):
        data["context_length"] = model.context_length
    module = build.build_data(config, build.build_tokenizer(config, run))
    module.split_dataloader(split)  # refuses a split that these data do not have
    module.test_split = split
    task = build.build_task(config | {"adapter": {}}, model)
    if on["accelerator"] == "auto" and config["trainer"]["accelerator"] == device.best_accelerator():
        on["precision"] = config["trainer"]["precision"]  # to give what the run gave
    device.resolve_device(on, task.safe_precisions)
    if device.num_local_processes(on) > 1:
        raise UserError(
            f"evaluate is one process, and trainer.devices={on['devices']}: take device=auto, cpu, cuda or mps."
        )
    quiet = {
        "callbacks": {},
        "logger": {},
        "trainer": config["trainer"] | on | {"profiler": None, "limit_test_batches": 1.0},
    }
    trainer = build.build_trainer(config | quiet, run, [], [])
    trainer.test(task, datamodule=module, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    result = {"data": data_name, "split": split, "checkpoint": checkpoint, "metrics": metrics}
    (run / "evaluations").mkdir(exist_ok=True)
    write_json(run / "evaluations" / f"{data_name}-{split}-{checkpoint}.json", result)
    return metrics
