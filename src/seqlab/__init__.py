"""seqlab: an experiment framework for sequence models, composed by Hydra and trained by Lightning.

In a notebook: `compose(["model=gru"])` gives a config, `train(config)` a finished run, `load("last")` a trained one, and
`runs()` a list of all. What they need is imported when they are called.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqlab.cli.notebook import RunConfig
    from seqlab.serving.engine import LoadedRun

__version__ = "0.1.0"


def compose(overrides: Iterable[str] = (), config_dir: str | Path | None = None) -> RunConfig:
    """The config that `seqlab train <overrides>` would run: a dictionary, to be changed at will.

    `config_dir` is a folder of your own groups. Raises UserError, as the command would.
    """
    return import_module("seqlab.cli.notebook").compose_run(overrides, config_dir)


def train(config: dict[str, Any]) -> LoadedRun:
    """Train what a config says in a new run folder; return the run, with its `folder`, `metrics` and `model`."""
    return import_module("seqlab.cli.notebook").train_run(config)


def load(run: str | Path, **options: Any) -> LoadedRun:
    """Load a run (its folder, or `last`) or a Hugging Face folder.

    Options: checkpoint, accelerator, dtype, runs, allow."""
    return import_module("seqlab.serving.engine").load_run(run, **options)


def __dir__() -> list[str]:
    return ["__version__", "compose", "load", "runs", "train"]


def __getattr__(name: str) -> Any:
    if name == "runs":  # a callable package
        return import_module("seqlab.runs")
    raise AttributeError(f"module 'seqlab' has no attribute {name!r}")
