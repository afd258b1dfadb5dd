"""Learning rates of single parameters."""

from torch import nn
from torch.optim import Optimizer


def set_lr_ratios(optimizer: Optimizer, ratios: list[tuple[nn.Parameter, float]]) -> None:
    """Give parameters learning rates of their own, in groups of their own; the others keep the optimizer's."""
    own = {id(parameter): ratio for parameter, ratio in ratios}
    groups = []
    for part in getattr(optimizer, "parts", [optimizer]):
        divided = []
        for group in part.param_groups:
            for ratio in sorted({own.get(id(p), 1.0) for p in group["params"]}):
                params = [p for p in group["params"] if own.get(id(p), 1.0) == ratio]
                divided.append(group | {"params": params, "lr": group["lr"] * ratio})
        part.param_groups = divided
        groups += divided
    optimizer.param_groups = groups
