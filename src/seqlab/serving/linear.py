"""Linear layers for writing on a processor: weights as oneDNN reads them fastest, or of a byte each. They cannot be trained.

A text is written token by token, and each reads all weights once: their bytes, and the order in which they are read, decide
how fast (benchmarks/decoding.py).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPECTED_ROWS = 16  # of the products for which oneDNN orders the weights
MAX_INT8_ROWS = 16  # a product of more is faster in bfloat16
INT8_BLOCK = 16  # of inputs: torch's product reads beyond the end of a weight whose width is not a multiple


class PackedLinear(nn.Module):
    """A linear layer whose weights lie in the order in which oneDNN reads them, half to a quarter of the time.

    With weights in bfloat16 only the product is: what goes in and comes out has the numbers of the rest of the model.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype), EXPECTED_ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) -> (…, O)"""
        return torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.packed, self.bias, "none", [], "").to(x.dtype)


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


def can_pack(dtype: torch.dtype) -> bool:
    """True if this torch and this processor have products with packed weights of a dtype."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def replace_linear_layers(model: nn.Module, build: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace each linear layer by what is built from it, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, build(child))
