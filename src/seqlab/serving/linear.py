"""Layers for generation on a CPU: weights as oneDNN or FBGEMM reads them fastest, or of a byte each.

A text is written token by token, and each reads all weights once: their bytes, and the order in which they are read, decide
how fast (benchmarks/decoding.py). These layers cannot be trained.
"""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPECTED_ROWS = 16  # of the products for which oneDNN orders the weights
SAME_INPUT = (("query", "key", "value"), ("gate", "up"))  # layers of a module that are one product
MAX_EXACT_ROWS = 16  # a product of more is faster in bfloat16
MAX_INT8_ROWS = 16  # a product of more is faster in bfloat16
INT8_BLOCK = 16  # of inputs: torch's product reads beyond the end of a weight whose width is not a multiple


class PackedLinear(nn.Module):
    """A linear layer whose weights lie in the order in which oneDNN reads them, half to a quarter of the time."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().float(), EXPECTED_ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) -> (…, O)"""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


class BF16Linear(nn.Module):
    """A linear layer with weights in bfloat16, whose products with up to `exact_rows` rows are in fp32, by FBGEMM.

    For these the weights are packed, when they are first needed, as float16. It holds the numbers of bfloat16 between 7.6e-6 and
    65,504; smaller ones are off by 3e-8 at most, and larger ones stay as they are. More rows are a product in bfloat16.
    """

    def __init__(self, linear: nn.Linear, exact_rows: float) -> None:
        super().__init__()
        self.weight = linear.weight.detach().bfloat16()
        self.bias = None if linear.bias is None else linear.bias.detach().float()
        self.exact_rows = exact_rows if self.weight.abs().max() <= torch.finfo(torch.float16).max else 0
        self.num_bytes = self.weight.nbytes  # that a product reads
        self.packing: Future[Any] | None = None

    def start_packing(self) -> None:
        """Pack the weights in a thread of its own, for a layer that is needed soon.

        What torch splits among threads stays in this one: OpenMP is slow where a second one has used it.
        """
        if self.exact_rows:
            pool = ThreadPoolExecutor(1)
            self.packing = pool.submit(pack_for_fbgemm, self.weight.float(), self.bias)
            pool.shutdown(wait=False)

    @cached_property
    def packed(self) -> Any:
        """The packed weights, once they are there. They take the place of the others where these are not needed any more."""
        found = self.packing.result() if self.packing else pack_for_fbgemm(self.weight.float(), self.bias)
        self.packing = None
        if self.exact_rows == math.inf:
            del self.weight
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) -> (…, O)"""
        if x.numel() <= self.exact_rows * x.size(-1):
            return torch.ops.quantized.linear_dynamic_fp16(x, self.packed)
        y = F.linear(x.bfloat16(), self.weight).float()
        return y if self.bias is None else y + self.bias


def pack_for_fbgemm(weight: Tensor, bias: Tensor | None) -> Any:
    """Weights (O, I) in float16, in the order in which FBGEMM reads them."""
    return torch.ops.quantized.linear_prepack_fp16(weight, bias)


class Int8Linear(nn.Module):
    """A linear layer whose weights are whole numbers from -127 to 127, with a scale for each output (Dettmers et al., 2022)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()  # (O, I)
        scale = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)  # (O,)
        self.quantized = (weight / scale.unsqueeze(1)).round().to(torch.int8)
        self.scale = scale.bfloat16()
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) -> (…, O)"""
        rows = x.flatten(0, -2).bfloat16().contiguous()
        if len(rows) > MAX_INT8_ROWS or rows.size(1) % INT8_BLOCK:
            y = F.linear(rows, self.quantized.bfloat16() * self.scale.unsqueeze(1))
        else:
            y = torch._weight_int8pack_mm(rows, self.quantized, self.scale)
        y = y.view(*x.shape[:-1], -1).to(x.dtype)
        return y if self.bias is None else y + self.bias


class FastRMSNorm(nn.Module):
    """An RMSNorm in four operations, for a token half the time of torch's: x / sqrt(|x|^2 + C eps) * weight * sqrt(C)."""

    def __init__(self, norm: nn.RMSNorm) -> None:
        super().__init__()
        count = norm.weight.numel()
        self.weight = norm.weight.detach().float() * count**0.5
        eps = torch.finfo(torch.float32).eps if norm.eps is None else norm.eps  # as torch has it
        self.floor = torch.tensor((count * eps) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C)"""
        return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self.floor) * self.weight


class FusedLinear(nn.Module):
    """Several layers that have one input, as one product."""

    def __init__(self, layer: nn.Module, sizes: list[int]) -> None:
        super().__init__()
        self.layer, self.sizes = layer, sizes
        self.latest: tuple[Any, Any] = (None, None)  # an input and its products, until the last of them is taken

    def forward(self, index: int, x: Tensor) -> Tensor:
        """The product with one of the layers: (…, I) -> (…, O)"""
        source, products = self.latest
        if source is not x:
            products = self.layer(x).split(self.sizes, -1)
        self.latest = (None, None) if index == len(self.sizes) - 1 else (x, products)
        return products[index]


class FusedLinearPart(nn.Module):
    """One of the layers that are fused."""

    def __init__(self, fused: FusedLinear, index: int) -> None:
        super().__init__()
        self.fused, self.index = fused, index

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) -> (…, O)"""
        return self.fused(self.index, x)


def can_pack() -> bool:
    """True if this torch and this processor have products with packed weights in fp32."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def has_fp16_products() -> bool:
    """True if this torch and this processor have products in fp32 with weights in float16."""
    return torch.backends.quantized.engine in ("x86", "fbgemm")


def replace_linear_layers(model: nn.Module, build: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace each linear layer by what is built from it, in place; those that have one input are fused."""
    for module in list(model.modules()):
        children = dict(module.named_children())
        for names in SAME_INPUT:
            layers = [child for name in names if type(child := children.get(name)) is nn.Linear]
            if len(layers) == len(names):
                fused = FusedLinear(build(join_layers(layers)), [layer.out_features for layer in layers])
                children |= {name: FusedLinearPart(fused, index) for index, name in enumerate(names)}
        for name, child in children.items():
            setattr(module, name, build(child) if isinstance(child, nn.Linear) else child)


def replace_norms_and_dropouts(model: nn.Module) -> None:
    """Replace, in place, layers whose time is that of calling them, for one token: dropouts and RMSNorms."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.RMSNorm):
                setattr(module, name, FastRMSNorm(child))


def join_layers(layers: list[nn.Linear]) -> nn.Linear:
    """One layer with the outputs of several."""
    joint = nn.Linear(1, 1, layers[0].bias is not None, device="meta")
    joint.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]), requires_grad=False)
    if layers[0].bias is not None:
        joint.bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in layers]), requires_grad=False)
    return joint
