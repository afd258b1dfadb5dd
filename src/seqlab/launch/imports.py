"""What must be done before torch is imported: faster imports, threads that do not spin."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


def limit_spinning() -> None:
    """Let a thread of OpenMP's that waits for others sleep soon: on a busy machine it would take the core that they need.

    A step of a small model with two threads beside two busy processes took ten to thirty times as long.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


@contextmanager
def gc_paused() -> Iterator[None]:
    """Import without the garbage collector, and exempt what was imported from it for good.

    It finds nothing among a hundred thousand new functions and classes, in the imports as at exit: two of six seconds.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
