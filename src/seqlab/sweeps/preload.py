"""Imported by the fork server, once for all jobs: everything that a run may import.

So a job starts in some hundredths of a second, and one that starts after a source file was edited runs the old code.
"""

import contextlib
import importlib
import pkgutil

import matplotlib.figure  # noqa: F401  # half a second in every run that draws
import tensorboard.compat.proto.summary_pb2  # noqa: F401  # loggers import it when they write

import seqlab.sweeps.process  # noqa: F401  # a job's process starts there
from seqlab.config.groups import shipped_targets
from seqlab.config.targets import add_cwd_to_path, user_packages
from seqlab.launch.imports import gc_paused

EXCLUDED = ("seqlab.__main__", "seqlab.start", "seqlab.cli", "seqlab.sweeps", "seqlab.conf.")  # no run imports them


def import_all(package: str) -> None:
    """Import a package with everything in it."""
    module = importlib.import_module(package)
    for found in pkgutil.iter_modules(getattr(module, "__path__", []), f"{package}."):
        if not found.name.startswith(EXCLUDED):
            import_all(found.name)


def import_user_package(package: str) -> None:
    """The same for a package of the user's, without its `__main__`; what fails here, a job will report."""
    with contextlib.suppress(Exception, SystemExit):
        module = importlib.import_module(package)
        for found in pkgutil.iter_modules(getattr(module, "__path__", []), f"{package}."):
            if not found.name.endswith(".__main__"):
                import_user_package(found.name)


with gc_paused():
    importlib.import_module("seqlab.training.train")  # Lightning first, as in a run
    import_all("seqlab")
    shipped_targets()
    add_cwd_to_path()
    for name in user_packages():
        import_user_package(name)
