"""The run folder as a format. `seqlab.runs(…)` itself lists runs: the package is callable."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """Lets notebooks call `seqlab.runs(status="done")`, whose name this package has."""

    def __call__(self, below: str | Path = "runs", **filters: Any) -> list[dict[str, Any]]:
        """All runs below a folder as flat dictionaries, which pandas takes; the filters are those of `seqlab runs`."""
        return import_module("seqlab.report.listing").list_runs(below, **filters)


sys.modules[__name__].__class__ = CallablePackage
