"""Independent random streams: what one consumer draws never changes what another one draws.

The seed of a stream is a function of the run's seed, the stream's name and a count. So no generator state has to be
saved in order to resume, and validating or sampling more often changes nothing in training.
"""

import hashlib

import torch

from seqlab.types import Seed


def derive_seed(seed: Seed, name: str, *counts: int) -> int:
    """A 63-bit seed for one consumer ("order", "dropout", "sampling") of a run with this seed."""
    text = ":".join(map(str, (seed, name, *counts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators that dropout draws from: the CPU's and the device's own.

    `torch.manual_seed` would queue a call with a traceback for every other kind of device: 3 ms, and memory, at each step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
