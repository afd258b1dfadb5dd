"""The order in which samples are seen."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from seqlab.randomness import stream


def permutation(samples: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the samples in an epoch, a function of (seed, epoch) alone; -> (samples,)"""
    generator = torch.Generator().manual_seed(stream(seed, "order", epoch))
    return torch.randperm(samples, generator=generator)


class Order(Sampler[list[int]]):
    """Batches of sample numbers from `consumed` on, to the end of that epoch; the last batch may be smaller.

    The whole state is the number of samples consumed, so that any step can be resumed exactly.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.consumed = 0

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, position = divmod(self.consumed, self.samples)
        order = permutation(self.samples, self.seed, epoch)
        for start in range(position, self.samples, self.batch_size):
            yield order[start : start + self.batch_size].tolist()

    def consume(self) -> None:
        """Count one batch as seen."""
        self.consumed += min(self.batch_size, self.samples - self.consumed % self.samples)
