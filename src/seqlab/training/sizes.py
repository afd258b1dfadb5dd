"""How large a run is: its parameters, what its optimizer keeps, and what it writes."""

import shutil
from pathlib import Path
from typing import Any

import torch

from seqlab.errors import UserError
from seqlab.tasks.base import Task

FP32_BYTES = 4  # of a weight, its gradient and each state of its optimizer, in every precision that there is


def count_parameters(model: Any) -> dict[str, int]:
    """The number of parameters, and of those that are trained; tied weights count once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return {"total": sum(n for n, _ in sizes), "trainable": sum(n for n, is_trained in sizes if is_trained)}


def optimizer_state_slots(task: Task) -> int:
    """How many numbers the optimizer keeps for each one that it trains: two, as Adam, unless it is known better."""
    group = task.create_optimizer([("weight", torch.nn.Parameter(torch.zeros(1)))]).param_groups[0]
    return 2 if "betas" in group or "momentum" not in group else int(group["momentum"] != 0)


def count_optimizer_bytes(task: Task) -> int:
    """What the optimizer keeps for all that it trains."""
    return FP32_BYTES * count_parameters(task.model)["trainable"] * optimizer_state_slots(task)


def count_saved_numbers(config: dict[str, Any], sizes: dict[str, int], state: int, has_val: bool) -> int:
    """How many numbers a finished run keeps in checkpoints."""
    node = config["callbacks"].get("checkpoint")
    keep = node.get("keep", "all") if node else "none"
    weights = sizes["trainable" if config["adapter"] else "total"]
    return {"all": weights * (1 + has_val) + state, "weights": weights, "none": 0}[keep]


def check_disk(config: dict[str, Any], run: Path, task: Task, has_val: bool) -> None:
    """Raises UserError if what a run keeps does not fit on the disk."""
    sizes = count_parameters(task.model)
    state = sizes["trainable"] * optimizer_state_slots(task)
    needed, free = FP32_BYTES * count_saved_numbers(config, sizes, state, has_val), shutil.disk_usage(run).free
    if needed > free:
        raise UserError(
            f"The checkpoints of {sizes['total']:,} parameters need about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            f"free in {run.parent}: free some space, use paths.runs=<folder>, a smaller model, or callbacks.checkpoint=null."
        )
