"""The range of each number that a user can type, by the last part of its key."""

import math
from typing import Any

from seqlab.errors import UserError

AT_LEAST_ONE = (
    "batch_size context_length window horizon length hidden_size num_layers n_layer n_head n_embd n_inner rank "
    "accumulate_grad_batches log_every_n_steps check_val_every_n_epoch max_new_tokens top_k every_n_steps stride threads "
    "num_nodes"
).split()
NOT_NEGATIVE = (
    "lr weight_decay momentum warmup_steps noise num_workers temperature seed gradient_clip_val every_minutes every_seconds"
).split()
FRACTION = "dropout val_fraction test_fraction".split()  # 0 <= x < 1

RANGES: dict[str, tuple[float, float]] = (
    dict.fromkeys(AT_LEAST_ONE, (1, math.inf))
    | dict.fromkeys(NOT_NEGATIVE, (0, math.inf))
    | dict.fromkeys(FRACTION, (0, math.nextafter(1, 0)))
    | {
        "top_p": (math.nextafter(0, 1), 1),
        "max_epochs": (1, math.inf),
        "max_steps": (-1, math.inf),
        "alpha": (1e-12, math.inf),
    }
)


def check_ranges(node: dict[str, Any], prefix: str = "") -> None:
    """Refuse numbers out of range and words in their place. Raises Mistake; null and nested nodes are left alone."""
    for key, value in node.items():
        if isinstance(value, dict):
            check_ranges(value, f"{prefix}{key}.")
        elif key in RANGES and (value is not None or key == "seed"):
            low, high = RANGES[key]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(
                    f"{prefix}{key}={value} is no number: type one, for instance {prefix}{key}={example(key)}."
                )
            if (key in AT_LEAST_ONE or key == "seed") and value != int(value):
                raise UserError(
                    f"{prefix}{key}={value} is no whole number: type one, such as {prefix}{key}={round(value)}."
                )
            if not low <= value <= high:  # also what is not a number
                bounds = (
                    f"at least {low:g}"
                    if high == math.inf
                    else f"above 0 and at most {high:g}"
                    if low > 0
                    else "from 0 to below 1"
                )
                raise UserError(f"{prefix}{key}={value} is out of range: it must be {bounds}.")


def example(key: str) -> str:
    """A number that would do."""
    return "10" if RANGES[key][0] == 1 or key == "seed" else "0.001"
