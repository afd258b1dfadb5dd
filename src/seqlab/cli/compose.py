"""Overrides -> composed configs, by Hydra."""

import copy
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqlab.cli.hydra_api import compose_config, compose_groups, register_option, selected_options, to_plain_dict
from seqlab.cli.hydra_errors import list_known_keys, translate_hydra_errors
from seqlab.cli.overrides import (
    get_config_folders,
    get_override,
    get_runs_folder,
    is_multirun,
    pop_allow,
    quote_overrides,
    split_flags,
)
from seqlab.config.groups import COMMAND_KEYS, CONF, group_options
from seqlab.config.validate import INJECTED_ARGS, MULTI_NODE_GROUPS
from seqlab.errors import UserError, did_you_mean
from seqlab.files import expand_path, read_yaml
from seqlab.launch.create import ComposedRun
from seqlab.weights.sources import resolve_init_from

HYDRA_KEYS = (
    "hydra/launcher",
    "hydra.launcher.",
    "hydra/sweeper",
    "hydra.sweeper.",
    "hydra.searchpath",
)  # others are refused
FOLDER_REMEDY = "A run's folder is <paths.runs>/<date>/<time>-<name>: set paths.runs=<folder> and name=<name>."
HYDRA_REMEDIES = {
    "hydra.run.dir": FOLDER_REMEDY,
    "hydra.sweep.dir": FOLDER_REMEDY,
    "hydra.sweep.subdir": FOLDER_REMEDY,
    "hydra.job.name": FOLDER_REMEDY,
    "hydra.mode": "A sweep is -m.",
    "hydra.verbose": "HYDRA_FULL_ERROR=1 prints tracebacks.",
}
SINGLE_GROUPS = {"model", "device", *INJECTED_ARGS} - set(MULTI_NODE_GROUPS)
ComposeCache = dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]]  # options -> config and choices


@dataclass
class ComposeCollector:
    """Hydra's task function. It keeps what was composed, to be run once Hydra has returned.

    seqlab's launcher composes nothing: it hands over what there is to launch. Jobs of another launcher run at once.
    """

    overrides: list[str]
    command: str
    run_now: Callable[[ComposedRun], Any] | None = None
    jobs: list[ComposedRun] = field(default_factory=list)
    launch: list[Any] | None = (
        None  # of a grid the overrides of each job; of a search those and the ranges of each block
    )
    settings: dict[str, Any] = field(default_factory=dict)  # of the launcher
    search: dict[str, Any] | None = None  # the node `sweep` of a search
    error: Exception | None = None

    def __call__(self, config: DictConfig) -> None:
        """Keep a composed config."""
        hydra_config = HydraConfig.get()
        is_sweep = hydra_config.mode == RunMode.MULTIRUN
        overrides = list(hydra_config.overrides.task) if is_sweep else self.overrides
        try:
            job = ComposedRun(to_plain_dict(config), selected_options(hydra_config), overrides, self.command)
        except (UserError, OmegaConfBaseException) as error:  # raised here, Hydra would print something too
            self.error = error
            return
        if is_sweep and self.run_now:
            self.run_now(job)
        else:
            self.jobs.append(job)

    def collect_launch(self, launch: list[Any], settings: dict[str, Any], search: dict[str, Any] | None = None) -> None:
        """Keep what there is to launch."""
        self.launch, self.settings, self.search = launch, settings, search


def compose(verb: str, args: list[str], run_now: Callable[[ComposedRun], Any] | None = None) -> ComposeCollector:
    """Compose what a command asks for: one config, a sweep, or nothing if Hydra only prints something (`--cfg job`)."""
    args = quote_overrides(pop_allow(args))
    check_command_line(verb, args)
    folders = get_config_folders(args)
    flags, overrides = split_flags(args)
    collector = ComposeCollector(overrides, command_line(), run_now)
    with tempfile.TemporaryDirectory() as scratch, translate_hydra_errors(verb, args, folders):
        sweep = [f"hydra.sweep.dir={scratch}"] if is_multirun(args) else []  # where Hydra writes its multirun.yaml
        sys.argv = ["seqlab", *flags, *overrides, *sweep]  # argparse needs the flags together
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=verb)(collector)()
        if collector.error:
            raise collector.error
    return collector


def check_command_line(verb: str, args: list[str]) -> None:
    """Refuse arguments that are neither flags nor key=value, and those that remove what a run needs. Raises UserError."""
    for arg, before in zip(args, ["", *args], strict=False):
        if "=" not in arg and not arg.startswith(("-", "~")) and not before.startswith("-"):
            raise UserError(
                f"{arg} is not key=value, and all arguments are, without spaces around = and after commas: "
                f"{suggest_override(verb, arg)}."
            )
        name, _, value = arg.lstrip("+~").partition("=")
        if verb == "train" and value.startswith("[") and name in SINGLE_GROUPS:
            raise UserError(
                f"{arg} is a list, and a run has one {name}: give one, or type -m and {name}=a,b for several runs."
            )
        if name.startswith("hydra") and not name.startswith(HYDRA_KEYS):
            raise UserError(
                f"{arg} has no effect: seqlab runs nothing in Hydra's folders. {HYDRA_REMEDIES.get(name, 'Leave it out.')}"
            )
        group, _, key = name.partition(".")
        if arg.startswith("+") and group in MULTI_NODE_GROUPS and value == "null":
            raise UserError(f"{arg} adds nothing: {name}=null, without +, switches off one that is there.")
        if arg.startswith("~") and not (key and group in ("model", *INJECTED_ARGS) and group != "trainer"):
            raise UserError(f"{arg} removes what every run needs: leave it out, or set another value.")


def suggest_override(verb: str, arg: str) -> str:
    """What to type instead of an argument that is not key=value."""
    if arg.endswith((".yaml", ".yml")):
        name = Path(arg).stem
        return f"put a yaml of your own at mine/experiment/{name}.yaml, and type experiment={name} --config-dir mine"
    groups = [group for group, options in group_options().items() if arg in options]
    if verb == "train" and groups:
        return f"did you mean {groups[0]}={arg}"
    has_run = verb != "train" and "run" in read_yaml(CONF / f"{verb}.yaml")
    return f"did you mean run={arg}" if has_run else f"seqlab {verb} --help lists them"


def compose_one(verb: str, args: list[str]) -> dict[str, Any] | None:
    """The config of a command that does one thing; None if Hydra only prints something. Raises UserError."""
    if is_multirun(args):
        raise UserError(f"{verb} does one thing at a time: leave -m out.")
    check_added_keys(verb, args)
    jobs = compose(verb, args).jobs
    if not jobs:
        return None
    config = jobs[0].config
    run = config.get("run", "last")
    if not isinstance(run, str if verb != "serve" else str | list):
        shown = "null" if run is None else f"[{','.join(map(str, run))}]" if isinstance(run, list) else run
        raise UserError(f"run={shown} does not name a run: give a folder or a name, last, or best.")
    return config


def check_added_keys(verb: str, args: list[str]) -> None:
    """Refuse keys that Hydra would add to a verb, where they do nothing. Raises UserError."""
    added = [arg.lstrip("+").partition("=")[0] for arg in args if arg.startswith("+")]
    known = list_known_keys(verb, [], []) if added else []
    for key in added:
        if key not in known and not key.startswith("hydra") and not ("trainer" in known and key.startswith("trainer.")):
            raise UserError(f"There is no {key} to set.{did_you_mean(key, known)}")


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def compose_jobs(
    jobs: list[list[str]], folders: list[Path], command: str, cache: ComposeCache, remote: bool = False
) -> list[ComposedRun]:
    """Compose the jobs of a sweep; one that cannot be composed has an `error`.

    Hydra composes each set of options once for all calls that share a `cache`, since that takes it a tenth of a second,
    and so that a yaml is not read again; values are then set as Hydra sets them.
    """
    return [compose_job(job, folders, command, cache, remote) for job in jobs]


def compose_job(
    overrides: list[str], folders: list[Path], command: str, cache: ComposeCache, remote: bool = False
) -> ComposedRun:
    """Compose one job; if it cannot be composed, it has an `error`."""
    try:
        with translate_hydra_errors("train", overrides, folders):
            parsed = OverridesParser.create().parse_overrides(overrides)
            values = [o for o in parsed if o.key_or_group not in group_options() and o.type is OverrideType.CHANGE]
            options = tuple(o.input_line or "" for o in parsed if o not in values)
            if options not in cache:
                cache[options] = compose_groups(list(options), folders)
            try:
                config = apply_overrides(cache[options][0], values)
            except OmegaConfBaseException:  # Hydra explains it better
                config, _ = compose_groups(overrides, folders)
            return ComposedRun(to_plain_dict(config), dict(cache[options][1]), overrides, command, remote=remote)
    except UserError as error:
        return ComposedRun({}, {}, overrides, command, error=str(error))


def apply_overrides(config: DictConfig, values: list[Override]) -> DictConfig:
    """A copy with other values of keys that it has. Raises OmegaConf's errors for other keys."""
    config = copy.deepcopy(config)
    for override in values:
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return config


def compose_data(overrides: list[str], folders: list[Path]) -> dict[str, Any]:
    """The data node of train.yaml under these overrides."""
    with translate_hydra_errors("train", overrides, folders):
        return to_plain_dict(compose_config("train", overrides, folders))["data"]


def add_source_options(args: list[str]) -> list[str]:
    """With `init_from`, offer the base's model and tokenizer as options, and choose them unless others are typed."""
    init_from = get_override(args, "init_from")
    if not init_from:
        return args
    if is_multirun(args) and "," in init_from and not expand_path(init_from).exists():
        raise UserError(f"init_from={init_from} names several bases, and a sweep has one: start a sweep for each.")
    source = resolve_init_from(init_from, get_runs_folder(args))
    args = [arg for arg in args if not arg.startswith("init_from=")] + [f"init_from={source.path}"]
    for group, node in (("model", source.model), ("tokenizer", source.tokenizer)):
        if node:
            register_option(group, "base", node)
            if not any(arg.startswith(f"{group}=") for arg in args):
                args.append(f"{group}=base")
    return args


def pop_switches(job: ComposedRun) -> dict[str, Any]:
    """Remove command-only keys (start, plan, explain, sweep) from the config. Raises UserError for a wrong value."""
    switches = {key: job.config.pop(key) for key in COMMAND_KEYS if key in job.config}
    for key, value in switches.items():
        if key != "sweep" and not isinstance(value, bool):
            raise UserError(f"{key}={value} is neither true nor false: type {key}=true or {key}=false.")
    return switches
