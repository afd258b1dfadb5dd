"""Words -> composed configs, by Hydra. Its errors become sentences."""

import logging
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from seqlab.choices import CONF, groups
from seqlab.cli.words import config_folders, is_multirun, quoted, take_allow
from seqlab.freeze import Composed
from seqlab.mistakes import Mistake, did_you_mean


def compose(verb: str, words: list[str]) -> list[Composed]:
    """What a command composes: one config, a sweep's many, or none where Hydra only shows something (`--cfg job`)."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    words = quoted(take_allow(words))
    for word, before in zip(words, ["", *words], strict=False):
        if "=" not in word and not word.startswith(("-", "~")) and not before.startswith("-"):
            raise Mistake(f"{word} is no key=value, and all arguments are: seqlab {verb} --help lists what there is.")
    folders = config_folders(words)
    handed_out: list[tuple[DictConfig, dict[str, str], list[str]]] = []

    def hand_out(config: DictConfig) -> None:
        known = HydraConfig.get()
        chosen = {group: choice for group, choice in known.runtime.choices.items() if "hydra" not in group}
        handed_out.append((config, chosen, list(known.overrides.task)))

    with tempfile.TemporaryDirectory() as nowhere, said_by_hydra(verb, words, folders):
        sweep = [f"hydra.sweep.dir={nowhere}"] if is_multirun(words) else []  # where Hydra writes its multirun.yaml
        options = [word for word in words if word.startswith("-") or "=" not in word]
        overrides = [word for word in words if word not in options]
        sys.argv = ["seqlab", *options, *overrides, *sweep]  # argparse wants the options together
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=verb)(hand_out)()
        return [Composed(plain(config), chosen, overrides, command) for config, chosen, overrides in handed_out]


def plain(config: DictConfig) -> dict[str, Any]:
    """Everything resolved, paths made absolute so that a run can be read from anywhere."""
    if "paths" in config:
        for key, value in config.paths.items():
            config.paths[key] = absolute(value) if isinstance(value, str) else [absolute(path) for path in value]
    path = config.data.get("path") if "data" in config and not OmegaConf.is_missing(config.data, "path") else None
    if isinstance(path, str) and Path(path).expanduser().exists():
        config.data.path = absolute(path)
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except MissingMandatoryValue as error:
        raise Mistake(f"{error.full_key} is missing: give it with {error.full_key}=….") from error


def absolute(path: str) -> str:
    """A path from the root."""
    return str(Path(path).expanduser().resolve())


def compose_data(words: list[str], folders: list[Path]) -> dict[str, Any]:
    """The data node of train.yaml under these words."""
    with said_by_hydra("train", words, folders):
        return plain(composed("train", words, folders))["data"]


def composed(verb: str, words: list[str], folders: list[Path]) -> DictConfig:
    """A config composed without a Hydra application around it."""
    search = [f"hydra.searchpath=[{','.join(f'file://{folder.resolve()}' for folder in folders)}]"] if folders else []
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(verb, [*words, *search])


def offer(group: str, name: str, node: dict[str, Any]) -> None:
    """Add a choice that exists for this command only."""
    ConfigStore.instance().store(group=group, name=name, node=node)


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
    first = " ".join(line for line in text.splitlines() if line.strip() and "hydra.cc" not in line)
    return f"{first[:300]} (a value with a comma, a bracket or a quote needs quotes of its own: key='\"a, b\"')."


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
