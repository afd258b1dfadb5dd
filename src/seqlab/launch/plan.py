"""What a run would be, without running it: parameters, steps, tokens, rough memory, and the disk that it would use."""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqlab.batch import IGNORE_INDEX, Batch
from seqlab.build import (
    build_adapter,
    build_data,
    build_model,
    build_task,
    build_tokenizer,
    get_data_properties,
    needs_reference,
)
from seqlab.device import num_local_processes
from seqlab.errors import UserError
from seqlab.launch.create import ComposedRun, write_run_folder
from seqlab.tasks.base import Task
from seqlab.training.frozen import freeze_parameters
from seqlab.training.sizes import FP32_BYTES, count_parameters, count_saved_numbers, optimizer_state_slots
from seqlab.weights.restore import build_reference
from seqlab.weights.sources import WeightsSource


@dataclass
class Plan:
    """The sizes of a run. Memory is a lower bound: weights, gradients, optimizer and what one batch keeps for backward."""

    device: str
    parameters: int
    trainable: int
    steps: int
    tokens: int | None  # supervised ones of a language model, if every sample has as many as those of the first batch
    memory: int  # bytes
    disk: int  # bytes


class Planner:
    """Plans jobs; data that several jobs share are read once."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    def plan_run(self, job: ComposedRun, source: WeightsSource | None) -> Plan:
        """The sizes of a job that was checked. Raises UserError for data that cannot be read."""
        config = job.config
        data = self.load_data(job, source)
        with torch.device("meta"):
            model, adapter = build_model(config["model"], get_data_properties(data)), build_adapter(config)
            if adapter:
                adapter.apply(model)
            freeze_parameters(model, config.get("freeze"))
            task = build_task(config, model, build_reference(model, adapter) if needs_reference(config) else None)
        steps, epochs = count_steps(config["trainer"], data)
        batch = next(iter(data.split_dataloader("train", 0, num_local_processes(config["trainer"]))))
        sizes = count_parameters(task.model)
        total, trainable = sizes.values()
        state = trainable * optimizer_state_slots(task)
        records = len(batch.targets) if batch.document_ids is None else int(batch.document_ids.max()) + 1
        tokens_per_sample = (batch.targets != IGNORE_INDEX).sum() / records
        saved = count_saved_numbers(config, sizes, state, "val" in data.splits)
        return Plan(
            device=f"{config['trainer']['accelerator']} in {config['trainer']['precision']}",
            parameters=total,
            trainable=trainable,
            steps=steps,
            tokens=int(tokens_per_sample * data.sampler.num_samples * epochs)
            if "vocab_size" in data.data_properties
            else None,
            memory=FP32_BYTES * (total + trainable + state) + saved_activation_bytes(task, batch),
            disk=FP32_BYTES * saved,
        )

    def load_data(self, job: ComposedRun, source: WeightsSource | None) -> Any:
        """The data of a job, read."""
        key = json.dumps([job.config["data"], job.config["tokenizer"], str(source and source.path)], default=str)
        if key not in self.data:
            with tempfile.TemporaryDirectory() as folder:
                write_run_folder(job, Path(folder), source)  # a base's tokenizer is read from there
                self.data[key] = build_data(job.config, build_tokenizer(job.config, Path(folder)))
        return self.data[key]


def count_steps(trainer: dict[str, Any], data: Any) -> tuple[int, float]:
    """Optimizer steps at most, and the epochs that they are."""
    limit = trainer["limit_train_batches"]
    batches = min(len(data.sampler), limit) if isinstance(limit, int) else int(len(data.sampler) * limit)
    per_epoch = max(1, math.ceil(batches / trainer["accumulate_grad_batches"]))
    max_steps = trainer["max_steps"] if trainer["max_steps"] >= 0 else math.inf
    steps = min(max_steps, per_epoch * (trainer["max_epochs"] or math.inf))
    if steps == math.inf:
        raise UserError("This run has no end: give trainer.max_steps or trainer.max_epochs.")
    return int(steps), steps / per_epoch * batches / len(data.sampler)


def saved_activation_bytes(task: Task, batch: Batch) -> int:
    """Bytes of what a batch keeps for the backward pass, found without computing; shared storage counts once."""
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    weights = {parameter.untyped_storage()._cdata for parameter in task.model.parameters()}
    on_meta = batch._replace(inputs=batch.inputs.to("meta"))
    if batch.targets.is_floating_point():  # those of tokens stay: which are scored decides how many logits there are
        on_meta = on_meta._replace(targets=batch.targets.to("meta"))
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        task.train().compute_sums(on_meta)
    return sum(size for storage, size in sizes.items() if storage not in weights)
