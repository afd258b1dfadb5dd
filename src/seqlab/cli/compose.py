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

from seqlab.cli.overrides import apart, config_folders, is_multirun, quoted, runs_folder, take_allow, value_of
from seqlab.config.groups import CONF, groups
from seqlab.config.validate import GIVEN
from seqlab.errors import Mistake, did_you_mean
from seqlab.launch.create import Composed
from seqlab.weights import sources


@dataclass
class HandOut:
    """Hydra's task function. It keeps what was composed, to be run once Hydra has returned.

    seqlab's launcher composes nothing: it says what there is to launch. Jobs of another launcher are run as they come.
    """

    words: list[str]
    command: str
    run_now: Callable[[Composed], Any] | None = None
    jobs: list[Composed] = field(default_factory=list)
    launch: list[Any] | None = None  # of each job the words; of a search the words and ranges of each block
    settings: dict[str, Any] = field(default_factory=dict)  # of the launcher
    search: dict[str, Any] | None = None  # the node `sweep` of one that draws
    mistake: Mistake | None = None

    def __call__(self, config: DictConfig) -> None:
        """Keep a composed config."""
        known = HydraConfig.get()
        multirun = known.mode == RunMode.MULTIRUN
        words = list(known.overrides.task) if multirun else self.words
        try:
            job = Composed(plain(config), choices_of(known), words, self.command)
        except Mistake as mistake:  # raised here, Hydra would say something too
            self.mistake = mistake
            return
        if multirun and self.run_now:
            self.run_now(job)
        else:
            self.jobs.append(job)

    def receive(self, launch: list[Any], settings: dict[str, Any], search: dict[str, Any] | None = None) -> None:
        """Keep what there is to launch."""
        self.launch, self.settings, self.search = launch, settings, search


def compose(verb: str, words: list[str], run_now: Callable[[Composed], Any] | None = None) -> HandOut:
    """What a command composes: one config, a sweep, or nothing where Hydra only shows something (`--cfg job`)."""
    words = quoted(take_allow(words))
    for word, before in zip(words, ["", *words], strict=False):
        if "=" not in word and not word.startswith(("-", "~")) and not before.startswith("-"):
            raise Mistake(f"{word} is no key=value, and all arguments are: seqlab {verb} --help lists what there is.")
        group, _, key = word[1:].partition(".")
        if word.startswith("~") and not (key and group in ("model", *GIVEN) and group != "trainer"):
            raise Mistake(f"{word} takes away what every run needs: leave it out, or set another value.")
    folders = config_folders(words)
    options, overrides = apart(words)
    hand_out = HandOut(overrides, typed(), run_now)
    with tempfile.TemporaryDirectory() as nowhere, said_by_hydra(verb, words, folders):
        sweep = [f"hydra.sweep.dir={nowhere}"] if is_multirun(words) else []  # where Hydra writes its multirun.yaml
        sys.argv = ["seqlab", *options, *overrides, *sweep]  # argparse wants the options together
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=verb)(hand_out)()
    if hand_out.mistake:
        raise hand_out.mistake
    return hand_out


def compose_one(verb: str, words: list[str]) -> dict[str, Any] | None:
    """The config of a command that does one thing; None where Hydra only shows something. Raises Mistake."""
    if is_multirun(words):
        raise Mistake(f"{verb} does one thing at a time: leave -m out.")
    jobs = compose(verb, words).jobs
    return jobs[0].config if jobs else None


def typed() -> str:
    """The command as it was typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


Known = dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]]


def compose_jobs(
    jobs: list[list[str]], folders: list[Path], command: str, known: Known, elsewhere: bool = False
) -> list[Composed]:
    """The jobs of a sweep; one that cannot be composed says why in `refused`.

    Hydra composes each set of choices once and for all that share `known`, since that takes it a tenth of a second, and
    so that a yaml is not read again; values are then set as Hydra sets them.
    """
    found = []
    for words in jobs:
        overrides = OverridesParser.create().parse_overrides(words)
        values = [o for o in overrides if o.key_or_group not in groups() and o.type is OverrideType.CHANGE]
        choices = tuple(o.input_line or "" for o in overrides if o not in values)
        try:
            with said_by_hydra("train", words, folders):
                if choices not in known:
                    known[choices] = chosen(list(choices), folders)
                try:
                    config = changed(known[choices][0], values)
                except OmegaConfBaseException:  # Hydra says it better
                    config, _ = chosen(words, folders)
                chosen_now = dict(known[choices][1])
                found.append(Composed(plain(config), chosen_now, words, command, elsewhere=elsewhere))
        except Mistake as mistake:
            found.append(Composed({}, {}, words, command, refused=str(mistake)))
    return found


def chosen(words: list[str], folders: list[Path]) -> tuple[DictConfig, dict[str, str]]:
    """A config, not resolved, and its choices."""
    config = composed("train", words, folders, return_hydra_config=True)
    choices = choices_of(config.hydra)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    return config, choices


def changed(config: DictConfig, values: list[Override]) -> DictConfig:
    """A copy with other values of keys that it has. Raises OmegaConf's errors for others."""
    config = copy.deepcopy(config)
    for override in values:
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return config


def choices_of(known: Any) -> dict[str, str]:
    """The choice of each group."""
    return {group: choice for group, choice in known.runtime.choices.items() if "hydra" not in group}


def plain(config: DictConfig) -> dict[str, Any]:
    """Everything resolved, paths made absolute so that a run can be read from anywhere."""
    if config.get("paths"):
        for key, value in config.paths.items():
            if value:
                config.paths[key] = absolute(value) if isinstance(value, str) else [absolute(path) for path in value]
    path = config.data.get("path") if "data" in config and not OmegaConf.is_missing(config.data, "path") else None
    if isinstance(path, str) and Path(path).expanduser().exists():
        config.data.path = absolute(path)
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]  # a dictionary
    except MissingMandatoryValue as error:
        raise Mistake(f"{error.full_key} is missing: give it with {error.full_key}=….") from error


def absolute(path: str) -> str:
    """A path from the root."""
    return str(Path(path).expanduser().resolve())


def compose_data(words: list[str], folders: list[Path]) -> dict[str, Any]:
    """The data node of train.yaml under these words."""
    with said_by_hydra("train", words, folders):
        return plain(composed("train", words, folders))["data"]


def composed(verb: str, words: list[str], folders: list[Path], **options: bool) -> DictConfig:
    """A config composed without a Hydra application around it."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(verb, [*words, *searched(folders)], **options)


def searched(folders: list[Path]) -> list[str]:
    """The word that adds folders of configs, where there are any."""
    quoted_paths = ["'file://" + str(folder.resolve()).replace("'", r"\'") + "'" for folder in folders]
    return [f"hydra.searchpath=[{','.join(quoted_paths)}]"] if folders else []


def offer(group: str, name: str, node: dict[str, Any]) -> None:
    """Add a choice that exists for this command only."""
    ConfigStore.instance().store(group=group, name=name, node=node)


def with_base(words: list[str]) -> list[str]:
    """With `init_from`, the base's model and tokenizer become choices, and are chosen unless others are typed."""
    init_from = value_of(words, "init_from")
    if not init_from:
        return words
    base = sources.find(init_from, runs_folder(words))
    words = [word for word in words if not word.startswith("init_from=")] + [f"init_from={base.path}"]
    for group, node in (("model", base.model), ("tokenizer", base.tokenizer)):
        if node:
            offer(group, "base", node)
            if not any(word.startswith(f"{group}=") for word in words):
                words.append(f"{group}=base")
    return words


@contextmanager
def said_by_hydra(verb: str, words: list[str], folders: list[Path]) -> Iterator[None]:
    """Turn Hydra's errors into Mistakes with the nearest choices and keys."""
    before, argv = os.environ.get("HYDRA_FULL_ERROR"), sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise instead of printing
    logging.getLogger("hydra").setLevel(logging.ERROR)
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise Mistake(explain(error, verb, words, folders)) from error
    except ValueError as error:
        if str(error).startswith("Config group override must be"):
            raise Mistake(no_choice(words)) from error
        raise
    finally:
        sys.argv = argv
        GlobalHydra.instance().clear()
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def explain(error: Exception, verb: str, words: list[str], folders: list[Path]) -> str:
    """One sentence for an error of Hydra's."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"There is no {group}={choice}.{did_you_mean(choice, error.options or groups().get(group, []))}"
    unknown = re.search(r"Could not override '([^'@]+)'", text) or re.search(r"full_key: (\S+)", text)
    if unknown and unknown[1] not in groups():
        return f"There is no {unknown[1]} to set.{did_you_mean(unknown[1], known_keys(verb, words, folders))}"
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", text):
        return f"{several[1]} is several values: {'type -m to train with each of them' if verb == 'train' else 'give one'}."
    if isinstance(error, OverrideParseException):
        text = f"{error.override} cannot be read"
    first = " ".join(line for line in text.splitlines() if line.strip() and "hydra.cc" not in line)
    return f"{first[:300]} (a value with a comma, a bracket or a quote needs quotes of its own: key='\"a, b\"')."


def no_choice(words: list[str]) -> str:
    """One sentence for a choice that is no name, such as null."""
    for word in OverridesParser.create().parse_overrides([word for word in words if "=" in word and word[0] != "-"]):
        if word.key_or_group in groups() and not isinstance(word.value(), str | list):
            return f"{word.input_line} is no choice.{did_you_mean('', groups()[word.key_or_group])}"
    return "A choice must be a name."


def known_keys(verb: str, words: list[str], folders: list[Path]) -> list[str]:
    """The keys that this command could have meant: those composed from its choices alone, and the groups."""
    names = groups() if verb == "train" else {"device": []}
    chosen = [word for word in words if word.split("=")[0] in names and "," not in word]
    try:
        config = OmegaConf.to_container(composed(verb, chosen, folders), resolve=False)
    except (HydraException, OmegaConfBaseException):
        return list(names)
    return [*names, *dotted(config)]


def dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a nested dictionary."""
    for key, value in node.items():
        if not str(key).startswith("_"):
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from dotted(value, f"{prefix}{key}.")
