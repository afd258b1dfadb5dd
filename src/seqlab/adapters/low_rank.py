"""The layers of low-rank adaptation: a frozen weight W plus a product B A (Hu et al., arXiv 2106.09685), and its relatives.

Tensors have the names that the library PEFT gives them.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

Init = Literal["random", "pissa"]


class LowRankOptions(NamedTuple):
    """What one weight gets: a product of this rank, times a scale."""

    rank: int
    scale: float
    dropout: float = 0.0
    init: Init = "random"
    dora: bool = False


class Trainable(nn.Module):
    """A layer that says whether its own matrices are trained, or frozen below another adapter."""

    def is_trained(self) -> bool:
        """True if a matrix of its own is trained, and not only one of what it stands upon."""
        return any(p.requires_grad for name, p in self.named_parameters() if not name.startswith("base."))


class LowRank(Trainable):
    """What is added to one weight (O, I): scale B A, with A (r, I) and B (O, r).

    At first nothing changes. A is random and B zero; or both are the r largest singular vectors of the weight, and the product
    that they begin with is taken off (PiSSA, Meng et al., arXiv 2404.02948). With `dora` each row of the sum keeps a length
    that is trained by itself (DoRA, Liu et al., arXiv 2402.09353).
    """

    initial_a: Tensor | None
    initial_b: Tensor | None

    def __init__(self, weight: Tensor, options: LowRankOptions) -> None:
        super().__init__()
        self.rank, self.scale, self.dropout = options.rank, options.scale, nn.Dropout(options.dropout)
        like: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
        self.lora_A = nn.Linear(weight.size(1), options.rank, bias=False, **like)
        self.lora_B = nn.Linear(options.rank, weight.size(0), bias=False, **like)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)
        for name in ("initial_a", "initial_b"):
            self.register_buffer(name, None)
        if options.init == "pissa":
            self.initial_a, self.initial_b = find_principal_factors(weight, options.rank, options.scale)
            self.lora_A.weight = nn.Parameter(self.initial_a.clone())
            self.lora_B.weight = nn.Parameter(self.initial_b.clone())
        self.lora_magnitude_vector = nn.Parameter(weight.detach().norm(dim=1)) if options.dora else None  # (O,)

    def join_factors(self) -> tuple[Tensor, Tensor]:
        """A and B, of PiSSA with what was taken off at first: a product of twice the rank"""
        first, second = self.lora_A.weight.detach(), self.lora_B.weight.detach()
        if self.initial_a is None or self.initial_b is None:
            return first, second
        return torch.cat([first, self.initial_a]), torch.cat([second, -self.initial_b], dim=1)

    def delta(self) -> Tensor:
        """What is added to the weight, before its rows are scaled; -> (O, I)"""
        product = self.lora_B.weight @ self.lora_A.weight
        if self.initial_a is not None and self.initial_b is not None:
            product = product - self.initial_b @ self.initial_a
        return self.scale * product

    def adapt_weight(self, weight: Tensor) -> Tensor:
        """The weight with what is added to it: (O, I) -> (O, I)"""
        adapted = weight + self.delta()
        if self.lora_magnitude_vector is None:
            return adapted
        return adapted * (self.lora_magnitude_vector / measure_rows(adapted)).unsqueeze(1)


def measure_rows(weight: Tensor) -> Tensor:
    """The lengths of the rows of a weight (O, I), which are not trained; -> (O,), never 0"""
    return weight.detach().norm(dim=1).clamp_min(torch.finfo(weight.dtype).tiny)


def find_principal_factors(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """A (r, I) and B (O, r) with scale B A the best approximation of a weight (O, I) of that rank."""
    left, values, right = torch.linalg.svd(weight.detach().float(), full_matrices=False)
    roots = (values[:rank] / scale).sqrt()  # (r,)
    factors = roots.unsqueeze(1) * right[:rank], left[:, :rank] * roots
    return factors[0].to(weight.dtype).contiguous(), factors[1].to(weight.dtype).contiguous()


class LoRALinear(LowRank):
    """A frozen linear layer with a low-rank product beside it. `base` may have one already."""

    def __init__(self, base: nn.Module, options: LowRankOptions) -> None:
        super().__init__(weight_of(base).detach(), options)
        self.base, self.enabled = base, True

    @property
    def weight(self) -> Tensor:
        """The weight with what is added to it; -> (O, I)"""
        return self.adapt_weight(weight_of(self.base))

    @property
    def bias(self) -> Tensor | None:
        """Of the frozen layer."""
        return self.base.bias  # type: ignore[return-value]  # of a linear layer

    def forward(self, x: Tensor) -> Tensor:
        """x (…, I) -> (…, O)"""
        y = self.base(x)
        if not self.enabled:
            return y
        dropped = self.dropout(x)
        added = self.lora_B(self.lora_A(dropped))
        if self.initial_a is not None and self.initial_b is not None:
            added = added - F.linear(F.linear(x, self.initial_a), self.initial_b)
        added = added * self.scale
        if self.lora_magnitude_vector is None:
            return y + added
        weight = weight_of(self.base)
        with torch.no_grad():
            lengths = measure_rows(weight + self.delta())
        factor = self.lora_magnitude_vector / lengths
        # What is dropped is dropped of both products, as in PEFT.
        if self.training and self.dropout.p:
            plain = F.linear(dropped, weight)
        else:
            plain = y if self.bias is None else y - self.bias
        return y + (factor - 1) * plain + factor * added

    def merged(self) -> nn.Module:
        """The frozen layer with the product in its weight."""
        base = self.base.merged() if isinstance(self.base, LoRALinear) else self.base
        weight = weight_of(base)
        with torch.no_grad():
            weight.copy_(self.adapt_weight(weight))
        return base


class LoRAEmbedding(Trainable):
    """A frozen embedding plus scale (B A)ᵀ, with A (r, V) zero at first and B (C, r)."""

    def __init__(self, base: nn.Module, options: LowRankOptions) -> None:
        super().__init__()
        self.base, self.scale, self.enabled = base, options.scale, True
        weight: Any = base.weight
        size, width = weight.shape
        self.lora_embedding_A = nn.Parameter(weight.new_zeros(options.rank, size))
        self.lora_embedding_B = nn.Parameter(nn.init.normal_(weight.new_empty(width, options.rank)))

    @property
    def weight(self) -> Tensor:
        """The embeddings with what is added to them; -> (V, C)"""
        base: Any = self.base
        return base.weight + self.delta()

    def delta(self) -> Tensor:
        """What is added to the embeddings; -> (V, C)"""
        return self.scale * (self.lora_embedding_B @ self.lora_embedding_A).T

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (…) -> (…, C)"""
        y = self.base(tokens)
        if not self.enabled:
            return y
        return y + F.embedding(tokens, self.lora_embedding_A.T) @ self.lora_embedding_B.T * self.scale

    def merged(self) -> nn.Module:
        """The frozen embedding with the product in its weight."""
        base: Any = self.base.merged() if isinstance(self.base, LoRAEmbedding) else self.base
        with torch.no_grad():
            base.weight += self.delta()
        return base


class LoRARecurrent(Trainable):
    """Frozen recurrent layers with low-rank products beside some of their weights.

    The inputs of a product that are dropped are the same ones at every place of a batch.
    """

    def __init__(self, base: Any, options: dict[str, LowRankOptions]) -> None:
        super().__init__()
        self.base, self.enabled, self.names = base, True, list(options)
        self.mode, self.num_layers, self.hidden_size = base.mode, base.num_layers, base.hidden_size
        for name, chosen in options.items():
            self.add_module(name, LowRank(getattr(base, name).detach(), chosen))

    def adapt_weights(self) -> dict[str, Tensor]:
        """The weights that have a product, with it."""
        found = {}
        for name in self.names:
            low_rank: Any = self.get_submodule(name)
            weight = getattr(self.base, name)
            adapted = low_rank.adapt_weight(weight)
            if self.training and low_rank.dropout.p:
                adapted = weight + low_rank.dropout(torch.ones_like(weight[0])) * (adapted - weight)
            found[name] = adapted
        return found

    def forward(self, x: Any, state: Any = None) -> Any:
        """As the frozen layers: x (B, T, I), state -> (B, T, C), state"""
        if not self.enabled:
            return self.base(x, state)
        return functional_call(self.base, self.adapt_weights(), (x, state))

    def merged(self) -> nn.Module:
        """The frozen layers with the products in their weights."""
        with torch.no_grad():
            for name in self.names:
                low_rank: Any = self.get_submodule(name)
                getattr(self.base, name).copy_(low_rank.adapt_weight(getattr(self.base, name)))
        return self.base


LoRALayer = LoRALinear | LoRAEmbedding | LoRARecurrent


def is_linear(module: nn.Module) -> bool:
    """True for a linear layer, the Conv1D of transformers' GPT-2, and either with a product beside it."""
    return isinstance(module, nn.Linear | LoRALinear) or is_conv1d(module)


def is_conv1d(module: nn.Module) -> bool:
    """True for transformers' linear layer whose weight is (I, O)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def weight_of(module: Any) -> Tensor:
    """The weight (O, I) of a linear layer, or a view of it."""
    return module.weight.T if is_conv1d(module) else module.weight
