"""Separate streams of randomness: what one consumer draws never moves another.

The seed of a stream is a function of the run's seed, the stream's name and a count, so that no generator has to be
stored in order to resume, and validating or sampling more often changes nothing in training.
"""

import hashlib


def stream(seed: int, name: str, *counts: int) -> int:
    """A 63-bit seed for one consumer ("order", "dropout", "sampling") of a run with this seed."""
    text = ":".join(map(str, (seed, name, *counts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
