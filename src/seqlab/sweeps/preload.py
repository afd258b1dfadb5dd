"""Imported by the fork server, once and for all jobs: everything that a run may import, and nothing is done with it.

So a job starts in some hundredths of a second, and one that starts after a source file was edited does not see that.
"""

import contextlib
import importlib
import os
import pkgutil

import matplotlib.figure  # noqa: F401  # half a second in every run that draws
import tensorboard.compat.proto.summary_pb2  # noqa: F401  # what loggers import late

import seqlab.sweeps.process  # noqa: F401  # what a job's process begins with
from seqlab.config.targets import add_cwd_to_path, shipped_targets
from seqlab.launch.imports import gc_paused

LEFT_OUT = ("seqlab.__main__", "seqlab.cli", "seqlab.sweeps", "seqlab.conf")  # no run imports them

ALLOWED = [name for name in os.environ.get("SEQLAB_ALLOW", "").split(",") if name]


def import_all(package: str) -> None:
    """Import a package with everything in it."""
    module = importlib.import_module(package)
    for found in pkgutil.iter_modules(getattr(module, "__path__", []), f"{package}."):
        if not found.name.startswith(LEFT_OUT):
            import_all(found.name)


def import_allowed(package: str) -> None:
    """The same for a package of the user's, scripts left out as far as one can tell; what fails, a job will say."""
    with contextlib.suppress(Exception, SystemExit):
        module = importlib.import_module(package)
        for found in pkgutil.iter_modules(getattr(module, "__path__", []), f"{package}."):
            if not found.name.endswith(".__main__"):
                import_allowed(found.name)


with gc_paused():
    importlib.import_module("seqlab.training.train")  # Lightning first, as a run does it
    import_all("seqlab")
    shipped_targets()
    add_cwd_to_path()
    for name in ALLOWED:
        import_allowed(name)
