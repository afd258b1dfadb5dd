"""The numbers that a loaded model computes with."""

from functools import partial
from typing import Literal

import torch
from torch import nn

from seqlab.device import MIN_BF16_SPEEDUP, bf16_speedup
from seqlab.errors import UserError
from seqlab.models.language import offers_cache
from seqlab.serving.linear import Int8Linear, PackedLinear, can_pack, replace_linear_layers

Dtype = Literal["auto", "float32", "bfloat16", "int8"]
MIN_BF16_WEIGHTS = 20_000_000  # fewer lie in the processor's cache, and bfloat16 gains nothing
PROBE_WIDTH = 4096  # of a matrix that is too large for the cache, as weights are


def place_model(model: nn.Module, device: torch.device, dtype: Dtype, packed: bool) -> nn.Module:
    """The model on its device, in the numbers that are asked for, or with `auto` in those that are fastest there.

    With `packed`, the weights of a model of seqlab lie on a processor as they are read fastest, and it cannot be trained any
    more. Only the products inside it are then in bfloat16; the logits are not, which would make the likeliest tokens equal.
    """
    is_own = type(model).__module__.startswith("seqlab.") and offers_cache(
        model
    )  # others may do more with a layer than apply it
    packed = packed and is_own and device.type == "cpu"
    chosen = choose_dtype(model, device, packed) if dtype == "auto" else dtype
    if chosen == "int8":
        if device.type != "cpu" or not is_own:
            raise UserError("dtype=int8 is for models of seqlab on a processor: use device=cpu, or another dtype.")
        replace_linear_layers(model, Int8Linear)
        model.float()
    elif packed and can_pack(getattr(torch, chosen)):
        head = getattr(model, "head", None)
        if isinstance(head, nn.Linear):
            model.head = PackedLinear(head, torch.float32)
        replace_linear_layers(model, partial(PackedLinear, dtype=getattr(torch, chosen)))
        model.float()  # what is left, such as embeddings
    else:
        model.to(device, getattr(torch, chosen))
    return model


def choose_dtype(model: nn.Module, device: torch.device, packed: bool) -> Dtype:
    """bfloat16 on a GPU, and for large packed weights where a product of one row by a matrix is that much faster in it."""
    if device.type == "cuda":
        return "bfloat16"
    is_large = sum(parameter.numel() for parameter in model.parameters()) >= MIN_BF16_WEIGHTS
    is_faster = (
        is_large and device.type == "cpu" and (bf16_speedup("cpu", PROBE_WIDTH, rows=1) or 0) >= MIN_BF16_SPEEDUP
    )
    return "bfloat16" if is_faster else "float32"
