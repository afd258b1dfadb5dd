"""The order of samples: a permutation of (seed, epoch), cut into batches, and each batch into the shares of the ranks."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from seqlab.seeding import derive_seed

BATCHES_PER_BUCKET = 64  # batches that are sorted by length together


def epoch_permutation(num_samples: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the samples in an epoch, a function of (seed, epoch) alone; -> (num_samples,)"""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(num_samples, generator=generator, dtype=index_dtype(num_samples))


def index_dtype(num_samples: int) -> torch.dtype:
    """The smallest type that numbers so many samples: the order of a large corpus is all of it that lies in memory."""
    return torch.int32 if num_samples < 1 << 31 else torch.int64


def group_by_length(order: torch.Tensor, lengths: torch.Tensor, batch_size: int, seed: int, epoch: int) -> torch.Tensor:
    """Reorder samples (S,) so that those of a batch have similar lengths; -> (S,)

    Some batches' worth of samples at a time is sorted by length. Then the batches are shuffled; a smaller one that may be
    left over stays last.
    """
    pieces = [piece[lengths[piece].argsort(stable=True)] for piece in order.split(BATCHES_PER_BUCKET * batch_size)]
    batches = torch.cat(pieces).split(batch_size)
    full = len(order) // batch_size
    shuffled = [batches[number] for number in epoch_permutation(full, seed, -1 - epoch).tolist()]
    return torch.cat([*shuffled, *batches[full:]])


class ResumableBatchSampler(Sampler[list[int]]):
    """Yields batches of sample indices from `consumed_samples` on, to the end of that epoch; the last may be smaller.

    The number of samples consumed is its whole state, so that any step can be resumed exactly. `seed` None is file order;
    `lengths` groups samples of similar length. `batch_size` counts the samples of all ranks together, and each rank gets a
    slice. A rank left without a sample gets the batch's first one as filler, marked as `~index`.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int | None = None,
        lengths: Sequence[int] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.lengths = None if lengths is None else torch.tensor(lengths)
        self.rank, self.world_size = rank, world_size
        self.consumed_samples = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return -(-self.num_samples // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, position = divmod(self.consumed_samples, self.num_samples)
        order = self.epoch_order(epoch)
        for start in range(position, self.num_samples, self.batch_size):
            batch = order[start : start + self.batch_size].tolist()
            first, end = (len(batch) * rank // self.world_size for rank in (self.rank, self.rank + 1))
            yield batch[first:end] or [~batch[0]]

    def epoch_order(self, epoch: int) -> torch.Tensor:
        """All samples in the order of an epoch; -> (num_samples,)"""
        if self.seed is None:
            return torch.arange(self.num_samples, dtype=index_dtype(self.num_samples))
        order = epoch_permutation(self.num_samples, self.seed, epoch)
        if self.lengths is None:
            return order
        return group_by_length(order, self.lengths, self.batch_size, self.seed, epoch)

    def advance(self) -> None:
        """Count one batch as consumed."""
        self.consumed_samples += min(self.batch_size, self.num_samples - self.consumed_samples % self.num_samples)

    def advance_to_epoch_end(self) -> None:
        """Round the consumed samples up to the end of their epoch, so that the next epoch reshuffles."""
        self.consumed_samples = -(-self.consumed_samples // self.num_samples) * self.num_samples
