"""The numbers that a loaded model computes with."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import nn

from seqlab.errors import UserError
from seqlab.models.language import offers_cache
from seqlab.serving.linear import (
    MAX_EXACT_ROWS,
    BF16Linear,
    Int8Linear,
    PackedLinear,
    can_pack,
    has_fp16_products,
    replace_linear_layers,
    replace_norms_and_dropouts,
)

Dtype = Literal["auto", "float32", "bfloat16", "int8"]
MIN_BF16_WEIGHTS = 20_000_000  # fewer lie in the processor's cache, and bfloat16 gains nothing


def place_model(model: nn.Module, device: torch.device, dtype: Dtype, packed: bool) -> nn.Module:
    """The model on its device, in the numbers that are asked for, or with `auto` in those that are fastest there.

    With `packed`, the weights of a model of seqlab lie on a processor as they are read fastest, and it cannot be trained any
    more. With FBGEMM, bfloat16 is that of the weights: products with few rows are in fp32, and so are the logits, whose likeliest
    could be equal otherwise.
    """
    # others may do more with a layer than apply it
    is_own = type(model).__module__.startswith("seqlab.") and offers_cache(model)
    packed = packed and is_own and device.type == "cpu"
    chosen = choose_dtype(model, device, packed) if dtype == "auto" else dtype
    build: Callable[[nn.Linear], nn.Module]
    if chosen == "int8":
        if device.type != "cpu" or not is_own:
            raise UserError("dtype=int8 is for models of seqlab on a processor: use device=cpu, or another dtype.")
        build = Int8Linear
    elif packed and chosen == "float32" and can_pack():
        build = PackedLinear
    elif packed and chosen == "bfloat16" and has_fp16_products():
        if isinstance(model.head, nn.Linear):
            model.head = BF16Linear(model.head, exact_rows=math.inf)
            model.head.start_packing()  # in the time in which the rest is read
        build = partial(BF16Linear, exact_rows=MAX_EXACT_ROWS if torch.cpu._is_avx512_bf16_supported() else math.inf)
    else:
        return model.to(device, getattr(torch, chosen))
    replace_linear_layers(model, build)
    replace_norms_and_dropouts(model)
    return model.float()  # what is left, such as embeddings


def choose_dtype(model: nn.Module, device: torch.device, packed: bool) -> Dtype:
    """bfloat16 on a GPU, and for packed weights that are too many for a processor's cache, of which it reads half the bytes."""
    if device.type == "cuda":
        return "bfloat16"
    is_large = sum(parameter.numel() for parameter in model.parameters()) >= MIN_BF16_WEIGHTS
    return "bfloat16" if packed and is_large and has_fp16_products() else "float32"
