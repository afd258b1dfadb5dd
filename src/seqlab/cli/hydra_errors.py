"""Hydra's errors as sentences, with the nearest options and keys."""

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqlab.cli.hydra_api import compose_config, dotted_keys
from seqlab.cli.overrides import quote_overrides
from seqlab.config.groups import group_options, verb_groups
from seqlab.config.remedies import suggest_alias
from seqlab.config.signatures import parameters
from seqlab.config.targets import resolve_target
from seqlab.errors import UserError, did_you_mean

MAX_CHARACTERS = 300  # of a message of Hydra's own


@contextmanager
def translate_hydra_errors(verb: str, args: list[str], folders: list[Path]) -> Iterator[None]:
    """Raise Hydra's and OmegaConf's errors as UserErrors; restore what Hydra leaves changed."""
    before, argv = os.environ.get("HYDRA_FULL_ERROR"), sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise errors instead of printing them
    logging.getLogger("hydra").setLevel(logging.ERROR)
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(format_hydra_error(error, verb, args, folders)) from error
    except yaml.YAMLError as error:  # of a yaml that another one's defaults name
        raise UserError(f"A yaml of yours is not YAML: {' '.join(str(error).split())}.") from error
    except RecursionError as error:
        raise UserError(
            "The defaults of a yaml of yours lead back to itself: take that out of its defaults."
        ) from error
    except (ValueError, TypeError) as error:  # of an option that is a number, and of a list of such
        if str(error).startswith("Config group override must be") or "defaults_list.py" in innermost_file(error):
            raise UserError(format_bad_option(args)) from error
        raise
    finally:
        sys.argv = argv
        GlobalHydra.instance().clear()
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def innermost_file(error: BaseException) -> str:
    """The file in which an error was raised."""
    return traceback.extract_tb(error.__traceback__)[-1].filename


def parse_overrides(args: list[str]) -> list[Override]:
    """Parse key=value arguments by Hydra's grammar. Raises UserError."""
    try:
        return OverridesParser.create().parse_overrides(quote_overrides(args))
    except OverrideParseException as error:
        raise UserError(format_hydra_error(error, "train", args, [])) from error


def format_hydra_error(error: Exception, verb: str, args: list[str], folders: list[Path]) -> str:
    """One sentence for an error of Hydra's."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if (group, option) == ("device", "gpu"):
            return "There is no device=gpu. Did you mean cuda or auto?"
        return f"There is no {group}={option}.{did_you_mean(option, error.options or group_options().get(group, []))}"
    if missing := re.search(r"(Environment variable|Interpolation key) '(.*?)' not found", text):
        key = re.search(r"full_key: (\S+)", text)
        remedy = "export it" if missing[1].startswith("Env") else "name a key that there is"
        return f"{key[1] if key else 'A value'} refers to {missing[2]}, which there is not: {remedy}, or give a value."
    unknown = re.search(r"Could not override '([^'@]+)'", text) or re.search(r"full_key: (\S+)", text)
    if unknown and unknown[1] not in verb_groups(verb):
        return f"There is no {unknown[1]} to set.{suggest_key(unknown[1], verb, args, folders)}"
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", text):
        remedy = "type -m to train with each of them" if verb == "train" else "give one"
        return f"{several[1]} has several values: {remedy}."
    if isinstance(error, OverrideParseException):
        text = f"{error.override} cannot be read"
    first = " ".join(line for line in text.splitlines() if line.strip() and "hydra.cc" not in line)
    return f"{first[:MAX_CHARACTERS]} (quote a value with a comma, a bracket or a quote in it: key='\"a, b\"')."


def format_bad_option(args: list[str]) -> str:
    """One sentence for an option that is not a name, such as null."""
    overrides = [arg for arg in args if "=" in arg and arg[0] != "-"]
    for override in OverridesParser.create().parse_overrides(overrides):
        value = override.value()
        names = value if isinstance(value, list) else [value]
        if override.key_or_group in group_options() and not all(isinstance(name, str) for name in names):
            return f"{override.input_line} is not an option.{did_you_mean('', group_options()[override.key_or_group])}"
    return "An option must be a name."


def suggest_key(key: str, verb: str, args: list[str], folders: list[Path]) -> str:
    """' Did you mean …?', or how to add a keyword that the yaml leaves to its default."""
    group, _, keyword = key.rpartition(".")
    try:
        node = OmegaConf.select(compose_config(verb, select_options(verb, args), folders), group) if group else None
        target = (
            resolve_target(node["_target_"], group.split(".")[0])
            if isinstance(node, DictConfig) and "_target_" in node
            else None
        )
    except (HydraException, OmegaConfBaseException, UserError):
        target = None
    if target and keyword in parameters(target):
        value = next((arg.split("=", 1)[1] for arg in args if arg.startswith(f"{key}=")), "…")
        return f" It is a keyword of {target.__name__} that the yaml leaves out: add it with +{key}={value}."
    return suggest_alias(key) or did_you_mean(key, list_known_keys(verb, args, folders))


def select_options(verb: str, args: list[str]) -> list[str]:
    """The arguments that choose one option of a group."""
    return [arg for arg in args if arg.split("=")[0] in verb_groups(verb) and "," not in arg]


def list_known_keys(verb: str, args: list[str], folders: list[Path]) -> list[str]:
    """The keys that could have been meant: those composed from the command's options alone, and the groups."""
    groups = verb_groups(verb)
    try:
        config = OmegaConf.to_container(compose_config(verb, select_options(verb, args), folders), resolve=False)
    except (HydraException, OmegaConfBaseException):
        return groups
    return [*groups, *dotted_keys(config)]
