"""Callbacks that only report never end a run."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal


def warn_on_error(report: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a callback's method: an error in it becomes a warning, once, and the run continues.

    For methods without collectives only, since other ranks do not learn of it.
    """

    @wraps(report)
    def call(self: Any, *args: Any, **keywords: Any) -> None:
        try:
            report(self, *args, **keywords)
        except Exception as error:  # whatever a report may raise
            if not getattr(self, "has_warned", False):
                self.has_warned = True
                name = type(self).__name__
                warnings.warn(
                    f"{name} failed, and the run continues without it: {type(error).__name__}: {error}", stacklevel=2
                )

    return call


def log_media(trainer: Any, kind: Literal["text", "figure"], tag: str, content: Any) -> None:
    """Give a text or a figure of this step to the loggers that can keep it: seqlab's, and any with TensorBoard's writer."""
    for logger in trainer.loggers:
        write = getattr(logger, f"write_{kind}", None) or getattr(logger.experiment, f"add_{kind}", None)
        if write:
            write(tag, content, trainer.global_step)
