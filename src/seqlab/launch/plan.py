"""What a run would be, without running it: parameters, steps, tokens, rough memory, and the disk that it would keep."""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqlab import build
from seqlab.data.base import IGNORE_INDEX
from seqlab.device import num_local_processes
from seqlab.errors import UserError
from seqlab.launch import create
from seqlab.launch.create import ComposedRun
from seqlab.tasks.base import Task
from seqlab.training.train import count_parameters
from seqlab.weights import sources

FP32_BYTES = 4  # bytes of a weight, its gradient and each state of its optimizer, in every precision that there is


@dataclass
class Plan:
    """The sizes of a run. Memory is a lower bound: weights, gradients, optimizer and what one batch keeps for backward."""

    device: str
    parameters: int
    trainable: int
    steps: int
    tokens: int | None  # supervised ones, of a language model; as many a sample as the first batch has
    memory: int  # bytes
    disk: int  # bytes


class Planner:
    """Plans jobs; data that several jobs share are read once."""

    def __init__(self) -> None:
        self.read: dict[str, Any] = {}

    def plan_run(self, job: ComposedRun, base: sources.WeightsSource | None) -> Plan:
        """The sizes of a job that was checked. Raises Mistake for data that cannot be read."""
        config = job.config
        data = self.load_data(job, base)
        with torch.device("meta"):
            task = build.build_task(
                config, build.build_model(config["model"], build.get_data_properties(data), config["seed"])
            )
        steps, epochs = count_steps(config["trainer"], data)
        inputs, targets, *rest = next(iter(data.split_dataloader("train", 0, num_local_processes(config["trainer"]))))
        batch = (inputs.to("meta"), targets.to("meta"), *(part.to("meta") for part in rest))
        total, trainable = count_parameters(task.model).values()
        state = trainable * optimizer_state_slots(task)
        tokens = int((targets != IGNORE_INDEX).sum() / len(targets) * data.sampler.num_samples * epochs)
        return Plan(
            device=f"{config['trainer']['accelerator']} in {config['trainer']['precision']}",
            parameters=total,
            trainable=trainable,
            steps=steps,
            tokens=tokens if "vocab_size" in data.data_properties else None,
            memory=FP32_BYTES * (total + trainable + state) + saved_activation_bytes(task, batch),
            disk=FP32_BYTES * count_saved_numbers(config, total, trainable, state, "val" in data.splits),
        )

    def load_data(self, job: ComposedRun, base: sources.WeightsSource | None) -> Any:
        """The data of a job, read."""
        key = json.dumps([job.config["data"], job.config["tokenizer"], str(base and base.path)], default=str)
        if key not in self.read:
            with tempfile.TemporaryDirectory() as folder:
                create.write_run_folder(job, Path(folder), base)  # a base's tokenizer is read from there
                self.read[key] = build.build_data(job.config, build.build_tokenizer(job.config, Path(folder)))
        return self.read[key]


def count_steps(trainer: dict[str, Any], data: Any) -> tuple[int, float]:
    """Optimizer steps at most, and the epochs that they are."""
    limit = trainer["limit_train_batches"]
    batches = min(len(data.sampler), limit) if isinstance(limit, int) else int(len(data.sampler) * limit)
    each = max(1, math.ceil(batches / trainer["accumulate_grad_batches"]))
    most = trainer["max_steps"] if trainer["max_steps"] >= 0 else math.inf
    steps = min(most, each * (trainer["max_epochs"] or math.inf))
    if steps == math.inf:
        raise UserError("This run has no end: give trainer.max_steps or trainer.max_epochs.")
    return int(steps), steps / each * batches / len(data.sampler)


def optimizer_state_slots(task: Task) -> int:
    """How many numbers an optimizer keeps for each one that it trains: two, as Adam, unless it is known better."""
    group = task.make_optimizer([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
    return 2 if "betas" in group or "momentum" not in group else int(group["momentum"] != 0)


def saved_activation_bytes(task: Task, batch: Any) -> int:
    """Bytes of what a batch leaves for the backward pass, measured without numbers; shared storage counts once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    own = {parameter.untyped_storage()._cdata for parameter in task.model.parameters()}
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        task.train().compute_sums(batch)
    return sum(size for storage, size in kept.items() if storage not in own)


def count_saved_numbers(config: dict[str, Any], total: int, trainable: int, state: int, validates: bool) -> int:
    """How many numbers a finished run keeps in checkpoints."""
    node = config["callbacks"].get("checkpoint")
    keep = node["keep"] if node else "none"
    weights = trainable if config["adapter"] else total
    kept = {"all": weights * (1 + validates) + state, "weights": weights, "none": 0}
    return kept[keep]
