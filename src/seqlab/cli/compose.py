"""Words -> composed configs, by Hydra. Its errors become sentences."""

import copy
import logging
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from seqlab.cli.overrides import (
    get_config_folders,
    get_override,
    get_runs_folder,
    is_multirun,
    pop_allow,
    quote_overrides,
    split_flags,
)
from seqlab.config.groups import CONF, group_options
from seqlab.config.validate import INJECTED_ARGS
from seqlab.errors import UserError, did_you_mean
from seqlab.launch.create import ComposedRun
from seqlab.weights import sources


@dataclass
class ComposeCollector:
    """Hydra's task function. It keeps what was composed, to be run once Hydra has returned.

    seqlab's launcher composes nothing: it says what there is to launch. Jobs of another launcher are run as they come.
    """

    words: list[str]
    command: str
    run_now: Callable[[ComposedRun], Any] | None = None
    jobs: list[ComposedRun] = field(default_factory=list)
    launch: list[Any] | None = None  # of each job the words; of a search the words and ranges of each block
    settings: dict[str, Any] = field(default_factory=dict)  # of the launcher
    search: dict[str, Any] | None = None  # the node `sweep` of one that draws
    mistake: UserError | None = None

    def __call__(self, config: DictConfig) -> None:
        """Keep a composed config."""
        known = HydraConfig.get()
        multirun = known.mode == RunMode.MULTIRUN
        words = list(known.overrides.task) if multirun else self.words
        try:
            job = ComposedRun(to_plain_dict(config), selected_options(known), words, self.command)
        except UserError as mistake:  # raised here, Hydra would say something too
            self.mistake = mistake
            return
        if multirun and self.run_now:
            self.run_now(job)
        else:
            self.jobs.append(job)

    def collect_launch(self, launch: list[Any], settings: dict[str, Any], search: dict[str, Any] | None = None) -> None:
        """Keep what there is to launch."""
        self.launch, self.settings, self.search = launch, settings, search


def compose(verb: str, words: list[str], run_now: Callable[[ComposedRun], Any] | None = None) -> ComposeCollector:
    """What a command composes: one config, a sweep, or nothing where Hydra only shows something (`--cfg job`)."""
    words = quote_overrides(pop_allow(words))
    for word, before in zip(words, ["", *words], strict=False):
        if "=" not in word and not word.startswith(("-", "~")) and not before.startswith("-"):
            raise UserError(f"{word} is no key=value, and all arguments are: seqlab {verb} --help lists what there is.")
        group, _, key = word[1:].partition(".")
        if word.startswith("~") and not (key and group in ("model", *INJECTED_ARGS) and group != "trainer"):
            raise UserError(f"{word} takes away what every run needs: leave it out, or set another value.")
    folders = get_config_folders(words)
    options, overrides = split_flags(words)
    hand_out = ComposeCollector(overrides, command_line(), run_now)
    with tempfile.TemporaryDirectory() as nowhere, translate_hydra_errors(verb, words, folders):
        sweep = [f"hydra.sweep.dir={nowhere}"] if is_multirun(words) else []  # where Hydra writes its multirun.yaml
        sys.argv = ["seqlab", *options, *overrides, *sweep]  # argparse wants the options together
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=verb)(hand_out)()
    if hand_out.mistake:
        raise hand_out.mistake
    return hand_out


def compose_one(verb: str, words: list[str]) -> dict[str, Any] | None:
    """The config of a command that does one thing; None where Hydra only shows something. Raises Mistake."""
    if is_multirun(words):
        raise UserError(f"{verb} does one thing at a time: leave -m out.")
    jobs = compose(verb, words).jobs
    return jobs[0].config if jobs else None


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


ComposeCache = dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]]


def compose_jobs(
    jobs: list[list[str]], folders: list[Path], command: str, known: ComposeCache, remote: bool = False
) -> list[ComposedRun]:
    """The jobs of a sweep; one that cannot be composed says why in `refused`.

    Hydra composes each set of choices once and for all that share `known`, since that takes it a tenth of a second, and
    so that a yaml is not read again; values are then set as Hydra sets them.
    """
    found = []
    for words in jobs:
        overrides = OverridesParser.create().parse_overrides(words)
        values = [o for o in overrides if o.key_or_group not in group_options() and o.type is OverrideType.CHANGE]
        choices = tuple(o.input_line or "" for o in overrides if o not in values)
        try:
            with translate_hydra_errors("train", words, folders):
                if choices not in known:
                    known[choices] = compose_groups(list(choices), folders)
                try:
                    config = apply_overrides(known[choices][0], values)
                except OmegaConfBaseException:  # Hydra says it better
                    config, _ = compose_groups(words, folders)
                chosen_now = dict(known[choices][1])
                found.append(ComposedRun(to_plain_dict(config), chosen_now, words, command, remote=remote))
        except UserError as mistake:
            found.append(ComposedRun({}, {}, words, command, error=str(mistake)))
    return found


def compose_groups(words: list[str], folders: list[Path]) -> tuple[DictConfig, dict[str, str]]:
    """A config, not resolved, and its choices."""
    config = compose_config("train", words, folders, return_hydra_config=True)
    choices = selected_options(config.hydra)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    return config, choices


def apply_overrides(config: DictConfig, values: list[Override]) -> DictConfig:
    """A copy with other values of keys that it has. Raises OmegaConf's errors for others."""
    config = copy.deepcopy(config)
    for override in values:
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return config


def selected_options(known: Any) -> dict[str, str]:
    """The choice of each group."""
    return {group: choice for group, choice in known.runtime.choices.items() if "hydra" not in group}


def to_plain_dict(config: DictConfig) -> dict[str, Any]:
    """Everything resolved, paths made absolute so that a run can be read from anywhere."""
    if config.get("paths"):
        for key, value in config.paths.items():
            if value:
                config.paths[key] = (
                    absolute_path(value) if isinstance(value, str) else [absolute_path(path) for path in value]
                )
    path = config.data.get("path") if "data" in config and not OmegaConf.is_missing(config.data, "path") else None
    if isinstance(path, str) and Path(path).expanduser().exists():
        config.data.path = absolute_path(path)
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]  # a dictionary
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is missing: give it with {error.full_key}=….") from error


def absolute_path(path: str) -> str:
    """A path from the root."""
    return str(Path(path).expanduser().resolve())


def compose_data(words: list[str], folders: list[Path]) -> dict[str, Any]:
    """The data node of train.yaml under these words."""
    with translate_hydra_errors("train", words, folders):
        return to_plain_dict(compose_config("train", words, folders))["data"]


def compose_config(verb: str, words: list[str], folders: list[Path], **options: bool) -> DictConfig:
    """A config composed without a Hydra application around it."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(verb, [*words, *searchpath_override(folders)], **options)


def searchpath_override(folders: list[Path]) -> list[str]:
    """The word that adds folders of configs, where there are any."""
    quoted_paths = ["'file://" + str(folder.resolve()).replace("'", r"\'") + "'" for folder in folders]
    return [f"hydra.searchpath=[{','.join(quoted_paths)}]"] if folders else []


def register_option(group: str, name: str, node: dict[str, Any]) -> None:
    """Add a choice that exists for this command only."""
    ConfigStore.instance().store(group=group, name=name, node=node)


def add_source_options(words: list[str]) -> list[str]:
    """With `init_from`, the base's model and tokenizer become choices, and are chosen unless others are typed."""
    init_from = get_override(words, "init_from")
    if not init_from:
        return words
    base = sources.resolve_init_from(init_from, get_runs_folder(words))
    words = [word for word in words if not word.startswith("init_from=")] + [f"init_from={base.path}"]
    for group, node in (("model", base.model), ("tokenizer", base.tokenizer)):
        if node:
            register_option(group, "base", node)
            if not any(word.startswith(f"{group}=") for word in words):
                words.append(f"{group}=base")
    return words


@contextmanager
def translate_hydra_errors(verb: str, words: list[str], folders: list[Path]) -> Iterator[None]:
    """Turn Hydra's errors into Mistakes with the nearest choices and keys."""
    before, argv = os.environ.get("HYDRA_FULL_ERROR"), sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise instead of printing
    logging.getLogger("hydra").setLevel(logging.ERROR)
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(format_hydra_error(error, verb, words, folders)) from error
    except ValueError as error:
        if str(error).startswith("Config group override must be"):
            raise UserError(format_bad_option(words)) from error
        raise
    finally:
        sys.argv = argv
        GlobalHydra.instance().clear()
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def format_hydra_error(error: Exception, verb: str, words: list[str], folders: list[Path]) -> str:
    """One sentence for an error of Hydra's."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"There is no {group}={choice}.{did_you_mean(choice, error.options or group_options().get(group, []))}"
    unknown = re.search(r"Could not override '([^'@]+)'", text) or re.search(r"full_key: (\S+)", text)
    if unknown and unknown[1] not in group_options():
        return f"There is no {unknown[1]} to set.{did_you_mean(unknown[1], suggest_keys(verb, words, folders))}"
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", text):
        return f"{several[1]} is several values: {'type -m to train with each of them' if verb == 'train' else 'give one'}."
    if isinstance(error, OverrideParseException):
        text = f"{error.override} cannot be read"
    first = " ".join(line for line in text.splitlines() if line.strip() and "hydra.cc" not in line)
    return f"{first[:300]} (a value with a comma, a bracket or a quote needs quotes of its own: key='\"a, b\"')."


def format_bad_option(words: list[str]) -> str:
    """One sentence for a choice that is no name, such as null."""
    for word in OverridesParser.create().parse_overrides([word for word in words if "=" in word and word[0] != "-"]):
        if word.key_or_group in group_options() and not isinstance(word.value(), str | list):
            return f"{word.input_line} is no choice.{did_you_mean('', group_options()[word.key_or_group])}"
    return "A choice must be a name."


def suggest_keys(verb: str, words: list[str], folders: list[Path]) -> list[str]:
    """The keys that this command could have meant: those composed from its choices alone, and the groups."""
    names = group_options() if verb == "train" else {"device": []}
    chosen = [word for word in words if word.split("=")[0] in names and "," not in word]
    try:
        config = OmegaConf.to_container(compose_config(verb, chosen, folders), resolve=False)
    except (HydraException, OmegaConfBaseException):
        return list(names)
    return [*names, *dotted_keys(config)]


def dotted_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a nested dictionary."""
    for key, value in node.items():
        if not str(key).startswith("_"):
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from dotted_keys(value, f"{prefix}{key}.")
