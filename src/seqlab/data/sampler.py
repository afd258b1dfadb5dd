"""The order in which samples are seen, cut into batches and shared among ranks."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from seqlab.seeding import stream

BUCKET = 64  # batches that are sorted by length together


def permutation(samples: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the samples in an epoch, a function of (seed, epoch) alone; -> (samples,)"""
    generator = torch.Generator().manual_seed(stream(seed, "order", epoch))
    return torch.randperm(samples, generator=generator)


def bucketed(order: torch.Tensor, lengths: torch.Tensor, batch_size: int, seed: int, epoch: int) -> torch.Tensor:
    """The same samples (S,) so that those of a batch are of similar length; -> (S,)

    Some batches' worth of samples at a time is sorted by length; then the batches are shuffled, the smaller one that may
    be left over stays last.
    """
    pieces = [piece[lengths[piece].argsort(stable=True)] for piece in order.split(BUCKET * batch_size)]
    batches = torch.cat(pieces).split(batch_size)
    whole = len(order) // batch_size
    shuffled = [batches[number] for number in permutation(whole, seed, -1 - epoch).tolist()]
    return torch.cat([*shuffled, *batches[whole:]])


class Order(Sampler[list[int]]):
    """Batches of sample numbers from `consumed` on, to the end of that epoch; the last batch may be smaller.

    The whole state is the number of samples consumed, so that any step can be resumed exactly. `seed` None is file order,
    `lengths` puts samples of similar length together. Of each batch, which counts the samples of all ranks together, a
    rank gets a slice; where there is no sample left for it, it gets the batch's first one as a stand-in: `~number`.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        seed: int | None = None,
        lengths: Sequence[int] | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.lengths = None if lengths is None else torch.tensor(lengths)
        self.rank, self.ranks = rank, ranks
        self.consumed = 0

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, position = divmod(self.consumed, self.samples)
        order = self.of_epoch(epoch)
        for start in range(position, self.samples, self.batch_size):
            batch = order[start : start + self.batch_size].tolist()
            first, end = (len(batch) * rank // self.ranks for rank in (self.rank, self.rank + 1))
            yield batch[first:end] or [~batch[0]]

    def of_epoch(self, epoch: int) -> torch.Tensor:
        """All samples in the order of an epoch; -> (samples,)"""
        if self.seed is None:
            return torch.arange(self.samples)
        order = permutation(self.samples, self.seed, epoch)
        if self.lengths is None:
            return order
        return bucketed(order, self.lengths, self.batch_size, self.seed, epoch)

    def consume(self) -> None:
        """Count one batch as seen."""
        self.consumed += min(self.batch_size, self.samples - self.consumed % self.samples)
