"""Gives seqlab's sweeper and launchers to Hydra, which loads this at every start: nothing heavy is imported here.

Both run nothing. What a command asks for, the overrides of each job or what a search draws from, goes to the task function,
`seqlab.cli.compose.ComposeCollector`, and runs once Hydra has returned.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from seqlab.config.groups import COMMAND_KEYS
from seqlab.errors import UserError, did_you_mean

SWEEP_KEYS = (
    "blocks",
    "seeds",
    "resume",
    "use_saved_configs",
    "sampler",
    "trials",
    "pruner",
)  # of conf/sweep/none.yaml


@dataclass
class SweeperConf:
    """Grids, blocks, seeds, searches: what is swept is under `sweep:` of the config."""

    _target_: str = "hydra_plugins.seqlab_sweeps.SeqlabSweeper"


@dataclass
class LocalConf:
    """Jobs on this machine."""

    _target_: str = "hydra_plugins.seqlab_sweeps.SeqlabLauncher"
    jobs: int | None = None  # at once; null: one per GPU, else as many as the cores have threads for
    timeout_minutes: float | None = None  # of a job


@dataclass
class SlurmConf:
    """Jobs on a cluster, by submitit; `cluster: local` tries the same on this machine."""

    _target_: str = "hydra_plugins.seqlab_sweeps.SeqlabLauncher"
    cluster: str = "slurm"
    jobs: int | None = None  # at once; null: all
    timeout_minutes: float = 60  # of a job, as Slurm's limit
    partition: str | None = None
    cpus_per_task: int = 2
    mem_gb: float | None = None
    setup: list[str] | None = None  # shell lines before a job, such as module load cuda


for group, node in (("sweeper", SweeperConf), ("launcher", LocalConf)):
    ConfigStore.instance().store(group=f"hydra/{group}", name="seqlab", node=node, provider="seqlab")
ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmConf, provider="seqlab")


class SeqlabLauncher(Launcher):
    """Hands over what there is to launch, with its own settings."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Remember where to hand it over."""
        self.collect_launch = task_function.collect_launch

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Hand over the overrides of each job."""
        self.collect_launch([list(overrides) for overrides in job_overrides], self.settings)
        return []


class SeqlabSweeper(Sweeper):
    """Arguments and the blocks of a `sweep=` file -> the overrides of each job."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Make the launcher."""
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.node, self.collect_launch = config.sweep, task_function.collect_launch
        self.loader = hydra_context.config_loader

    def sweep(self, arguments: list[str]) -> Any:
        """Launch a grid; of a search, hand over fixed overrides and ranges, block by block."""
        sweep: Any = OmegaConf.to_container(self.node, resolve=True)
        check_sweep_node(sweep, arguments)
        typed = parse_job_overrides(arguments, self.loader)
        written = [{}] if sweep["blocks"] is None else sweep["blocks"]
        blocks = [
            parse_job_overrides(block_to_overrides(block), self.loader) | typed for block in written
        ]  # typed ones win
        if sweep["sampler"] is None:
            jobs = [job for block in blocks for job in expand_grid(block, sweep["seeds"])]
            distinct = [list(job) for job in dict.fromkeys(map(tuple, jobs))]  # seed=1,1,2 would count a seed twice
            if len(distinct) < len(jobs):
                print(f"{len(jobs) - len(distinct)} of {len(jobs)} jobs were typed twice, and run once.", flush=True)
            return self.launcher.launch(distinct, 0)
        if not isinstance(self.launcher, SeqlabLauncher):
            raise UserError("sweep.sampler needs hydra/launcher=seqlab or slurm: leave the other launcher out.")
        self.collect_launch([build_search_space(block) for block in blocks], self.launcher.settings, sweep)
        return []


def check_sweep_node(sweep: dict[str, Any], arguments: list[str]) -> None:
    """Refuse what would be ignored, or is not a block. Raises UserError."""
    for key in sweep:
        if key not in SWEEP_KEYS:
            raise UserError(f"There is no sweep.{key}.{did_you_mean(key, SWEEP_KEYS)}")
    for override in OverridesParser.create().parse_overrides(arguments):
        if override.key_or_group in ("sweep.trials", "sweep.pruner") and sweep["sampler"] is None:
            raise UserError(f"{override.input_line} is for a search: give sweep.sampler=random or tpe, too.")
        if override.key_or_group.split(".")[0] in COMMAND_KEYS and override.is_sweep_override():
            raise UserError(
                f"{override.input_line} says how to sweep, and cannot be swept over itself: give one value."
            )
    blocks = sweep["blocks"]
    if blocks is not None and not (isinstance(blocks, list) and all(isinstance(block, dict) for block in blocks)):
        raise UserError(f"sweep.blocks={blocks} is not a list of blocks: write [{{model: rnn, seed: '1,2'}}, …].")
    for key in (key for block in blocks or [] for key in block):
        if key.split(".")[0] in COMMAND_KEYS:
            raise UserError(f"{key} says how to sweep, and has no place in a block: write it beside blocks.")


def parse_job_overrides(overrides: list[str], loader: Any) -> dict[str, Override]:
    """Key -> override, the last one of a key; `sweep.…` is not for the jobs. `loader` knows what `glob(*)` may name."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides)
    return {
        override.get_key_element(): override for override in parsed if not override.key_or_group.startswith("sweep.")
    }


def block_to_overrides(block: dict[str, Any]) -> list[str]:
    """A block of a yaml as overrides."""
    return [f"{key}={format_yaml_value(value)}" for key, value in block.items()]


def format_yaml_value(value: Any) -> str:
    """A value of a yaml in Hydra's grammar; text is left as it is."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value).replace("'", "") if isinstance(value, list) else str(value)


def expand_grid(block: dict[str, Override], seeds: int | None) -> list[list[str]]:
    """All combinations of a block, the last key fastest; with `seeds` each of them for so many seeds, from `seed` on."""
    choices = {key: sweep_values(override) for key, override in block.items()}
    if seeds is not None:
        first = choices.pop("seed", ["0"])
        if len(first) > 1 or not first[0].lstrip("-").isdigit() or type(seeds) is not int or seeds < 1:
            raise UserError(
                f"sweep.seeds={seeds} counts up from one seed=<number>: give a number of 1 or more, and no list of seeds."
            )
        choices["seed"] = [str(int(first[0]) + number) for number in range(seeds)]
    jobs = itertools.product(*choices.values())
    return [[f"{key}={value}" for key, value in zip(choices, job, strict=True)] for job in jobs]


def sweep_values(override: Override) -> list[str]:
    """The values that an override goes through."""
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line} has no end of values: draw from it with sweep.sampler=random or tpe.")
    return list(override.sweep_string_iterator())


def build_search_space(block: dict[str, Override]) -> dict[str, Any]:
    """`{"overrides": fixed ones, "ranges": key -> what a sampler draws from}`, as plain data."""
    ranges = {key: build_range(override) for key, override in block.items() if override.is_sweep_override()}
    fixed = [f"{key}={sweep_values(override)[0]}" for key, override in block.items() if key not in ranges]
    return {"overrides": fixed, "ranges": ranges}


def build_range(override: Override) -> dict[str, Any]:
    """What a sampler draws from: choices, or the ends of a range with its step, or on a logarithmic scale."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        if not all(math.isfinite(end or 0) for end in (value.start, value.end)):
            raise UserError(f"{override.input_line} has no end: give two numbers.")
        return {"low": value.start, "high": value.end, "log": "log" in value.tags}
    if isinstance(value, RangeSweep) and isinstance(value.start, int) and isinstance(value.step, int):
        numbers = list(value.range())
        if not numbers:
            raise UserError(f"{override.input_line} is an empty range: its end is not part of it.")
        if "log" in value.tags:
            raise UserError(f"{override.input_line}: a range has steps and no logarithm; use tag(log,interval(…)).")
        return {"low": value.start, "high": numbers[-1], "step": value.step}
    return {"choices": sweep_values(override)}
