"""What `seqlab.compose` and `seqlab.train` do: the verb train without a command line."""

import re
import signal
import subprocess
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqlab.cli.compose import add_source_options, check_command_line, compose_job, pop_switches
from seqlab.cli.overrides import get_config_folders, pop_allow, quote_overrides
from seqlab.config.nodes import flatten
from seqlab.config.validate import check_required_groups
from seqlab.errors import UserError
from seqlab.launch.create import ComposedRun, check_run, create_run
from seqlab.launch.run import check_multi_node, launch_command, needs_subprocesses, run_folder
from seqlab.serving.engine import LoadedRun, load_run

COMMAND = "seqlab.train(config)"


class RunConfig(dict[str, Any]):
    """A config, as a plain dictionary, that remembers the option of each group and the overrides it came from."""

    def __init__(self, config: dict[str, Any], choices: dict[str, str], overrides: list[str]) -> None:
        super().__init__(config)
        self.choices, self.overrides = choices, overrides


def compose_run(overrides: Iterable[str], config_dir: str | Path | None = None) -> RunConfig:
    """Compose a config and check it, as `seqlab train` would. Raises UserError."""
    given: list[Any] = list(overrides) if isinstance(overrides, Iterable) and not isinstance(overrides, str) else [None]
    if not all(isinstance(override, str) for override in given):
        raise UserError(f'compose({overrides!r}): give a list of overrides, such as ["model=gru", "seed=1"].')
    check_command_line("train", given)
    for override in given:
        if re.match(r"-|[+~]*(resume|plan|explain|start|sweep|hydra)[=./]", override):
            raise UserError(f"{override} is for the command line, and compose gives one config: leave it out.")
    overrides = quote_overrides(add_source_options(pop_allow(given)))
    folders = get_config_folders([f"--config-dir={config_dir}"] if config_dir else [])
    job = compose_job(overrides, folders, COMMAND, cache={})
    if job.error:
        raise UserError(job.error)
    pop_switches(job)
    check_run(job)
    return RunConfig(job.config, job.choices, overrides)


def train_run(config: dict[str, Any]) -> LoadedRun:
    """Train in a new run folder. Raises UserError for a config that cannot work; other errors end the run as failed."""
    if not isinstance(config, dict):
        raise UserError(f"train({config!r}): a config is a dictionary, such as seqlab.compose([...]) gives.")
    choices = config.choices if isinstance(config, RunConfig) else name_targets(config)
    overrides = config.overrides if isinstance(config, RunConfig) else []
    check_required_groups(config)
    plain = {key: to_plain(value, key) for key, value in config.items()}
    check_multi_node(plain)
    run = create_run(ComposedRun(plain, choices, overrides, COMMAND))
    if needs_subprocesses(config):
        if subprocess.run(launch_command(run), check=False).returncode:
            raise UserError(f"{run} did not finish: what it printed says why, and its run.json if there is one.")
    else:
        with restore_process():
            run_folder(run)
    return load_run(run)


def to_plain(value: Any, path: str) -> Any:
    """Plain data as YAML has them: NumPy's numbers, paths and tuples are taken as what they stand for. Raises UserError."""
    if isinstance(value, dict):
        return {str(key): to_plain(inner, f"{path}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner, path) for inner in value]
    if isinstance(value, str | Path):  # subclasses too, as of NumPy
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # of NumPy, or a tensor of one number
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    raise UserError(f"{path} is {type(value).__name__}, and a config holds numbers, texts, lists and dictionaries.")


@contextmanager
def restore_process() -> Iterator[None]:
    """Leave threads, warnings and the handling of signals as they were, for what the notebook does next."""
    import torch

    threads = torch.get_num_threads()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)


def name_targets(config: dict[str, Any]) -> dict[str, str]:
    """The lower-case class names of a config whose options are unknown, such as one read from config.yaml."""
    targets = {
        key.removesuffix("._target_"): value for key, value in flatten(config).items() if key.endswith("._target_")
    }
    return {group: str(target).rsplit(".", 1)[-1].lower() for group, target in targets.items() if "." not in group}
