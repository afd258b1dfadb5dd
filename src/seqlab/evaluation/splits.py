"""Measure a run's weights on a split of its own data or of other data."""

import json
import warnings
from pathlib import Path
from typing import Any

from seqlab.build import (
    build_data,
    build_task,
    build_tokenizer,
    build_trainer,
    complete_model_node,
    get_data_properties,
    needs_reference,
)
from seqlab.callbacks.progress import Progress
from seqlab.config.source import warn_if_edited
from seqlab.config.targets import check_targets
from seqlab.config.validate import validate_config
from seqlab.device import available_accelerators, model_width, num_local_processes, resolve_device
from seqlab.errors import UserError
from seqlab.files import hash_to_name, write_json
from seqlab.runs.environment import compute_checksums, warn_if_changed
from seqlab.runs.folder import read_config
from seqlab.runs.run_info import read_run_info
from seqlab.weights.restore import build_initial_model, build_reference, check_base_place, load_model_from_run
from seqlab.weights.sources import weights_path

# Trainer keys of a run that mean nothing, or something else, where one process measures a split.
EVALUATION_SETTINGS = {"num_nodes": 1, "strategy": "auto", "profiler": None, "limit_test_batches": 1.0}
OF_NO_EFFECT = ("batch_size", "num_workers", "folders")  # keys of data on what is measured
SPLITS, CHECKPOINTS = ("train", "val", "test"), ("best", "last")


def evaluate_run(
    run: Path,
    data: dict[str, Any],
    data_name: str,
    split: str | None,
    checkpoint: str,
    device: dict[str, Any],
    may_shorten: bool = True,
    init_from: str | None = None,
) -> tuple[str, dict[str, float]]:
    """Split and metrics in evaluation mode, also written to `evaluations/<data>-<split>-<checkpoint>.json`.

    `data` is the node to measure on, `device` holds the trainer keys of the device. A context longer than the model's is
    shortened if it `may_shorten`; `init_from` is where the run's base is now. No split is the test, or the validation where
    there is no test. Raises UserError for a split or a checkpoint that does not exist, and for data that the model cannot
    read.
    """
    for name, value, known in (("split", split, (None, *SPLITS)), ("checkpoint", checkpoint, CHECKPOINTS)):
        if value not in known:
            raise UserError(f"{name}={value} is unknown: use {' or '.join(filter(None, known))}.")
    info, config = read_run_info(run), read_config(run) | {"data": data}
    check_targets(config)
    check_base_place(config, init_from)
    config["init_from"] = init_from or config["init_from"]
    warn_if_edited(run, info)
    validate_config(config, info["choices"] | {"data": data_name})
    if not info["data_properties"]:
        raise UserError(f"{run} ended before it had read its data: there is nothing to evaluate.")
    model = load_model_from_run(run, weights_path(run, checkpoint), init_from)
    fit_context(data, getattr(model, "context_length", None), may_shorten)
    module = read_data(config, info["data_properties"], run)
    files = compute_checksums(module.files)
    if data_name == info["choices"]["data"]:
        warn_if_changed(module.files, info)
    split = split or ("test" if "test" in module.splits else "val")
    module.split_dataloader(split)  # refuses a split that these data do not have
    module.test_split = split
    reference = None
    if needs_reference(config):
        initial = build_initial_model(config, info["data_properties"], run)
        reference = build_reference(initial, adapter=None, compared=model)
    task = build_task(config, model, reference)
    resolve_one_device(device, config, task.safe_precisions)
    bare = config | {"callbacks": {}, "logger": {}, "trainer": config["trainer"] | EVALUATION_SETTINGS | device}
    trainer = build_trainer(bare, run, callbacks=[Progress()], plugins=[])
    trainer.test(task, datamodule=module, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    result = {"data": data_name, "split": split, "checkpoint": checkpoint, "metrics": metrics, "files": files}
    save_result(run, data, result)
    return split, metrics


def read_data(config: dict[str, Any], trained_on: dict[str, Any], run: Path) -> Any:
    """The data to measure on, in the scale of those that a model was trained on. Raises UserError for another shape."""
    data = build_data(config, build_tokenizer(config, run), trained_on)
    complete_model_node(complete_model_node(config["model"], trained_on), get_data_properties(data))
    return data


def resolve_one_device(device: dict[str, Any], config: dict[str, Any], safe_precisions: tuple[str, ...]) -> None:
    """Replace `auto` in place, by what the run was trained on where that is here. Raises UserError for several devices."""
    trained_on = config["trainer"]
    if device["accelerator"] == "auto" and trained_on["accelerator"] in available_accelerators():
        device |= {key: trained_on[key] for key in ("accelerator", "precision")}  # to measure what the run measured
    resolve_device(device, safe_precisions, width=model_width(config["model"]))
    for key, count in (("devices", num_local_processes(device)), ("num_nodes", device.get("num_nodes", 1))):
        if count > 1:
            raise UserError(
                f"evaluate is one process, and trainer.{key}={device[key]}: use device=auto, cpu, cuda or mps."
            )


def save_result(run: Path, data: dict[str, Any], result: dict[str, Any]) -> None:
    """Write a result into the run folder, with a checksum in its name if the data are not the run's own.

    Warns if it cannot be written: what was measured is shown all the same.
    """
    nodes = read_config(run)["data"], data
    own, measured = ({key: node[key] for key in node if key not in OF_NO_EFFECT} for node in nodes)
    of_others = "" if own == measured else f"-{hash_to_name(json.dumps(measured, sort_keys=True))}"
    file = run / "evaluations" / f"{result['data']}{of_others}-{result['split']}-{result['checkpoint']}.json"
    try:
        file.parent.mkdir(exist_ok=True)
        write_json(file, result)
    except OSError as error:
        warnings.warn(f"{file} could not be written ({error.strerror}).", stacklevel=2)


def fit_context(data: dict[str, Any], longest: int | None, may_shorten: bool) -> None:
    """Shorten the context of data to the longest that a model has, in place. Raises UserError if that may not be done."""
    if longest and data.get("context_length", 0) > longest:
        if not may_shorten:
            raise UserError(
                f"data.context_length={data['context_length']} is longer than the model's {longest}: leave it out."
            )
        data["context_length"] = longest
