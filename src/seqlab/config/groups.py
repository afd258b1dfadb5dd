"""Config groups and their options: the yaml files under conf/, read without Hydra."""

import re
from collections.abc import Callable
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"  # in a wheel, in a checkout

COMMAND_KEYS = ("start", "plan", "explain", "sweep")  # keys of train.yaml for the command only, not for the run

TARGET_PATTERN = re.compile(r"_target_: ([\w.]+)")


@cache
def default_options() -> dict[str, str]:
    """Group -> the option that train.yaml chooses."""
    defaults = yaml.safe_load((CONF / "train.yaml").read_text(encoding="utf-8"))["defaults"]
    return {group: option for entry in defaults if isinstance(entry, dict) for group, option in entry.items()}


@cache
def group_options() -> dict[str, list[str]]:
    """Group -> its options, in the order in which train.yaml composes the groups."""
    groups = [group for group in default_options() if "hydra" not in group]
    return {group: sorted(file.stem for file in (CONF / group).glob("*.yaml")) for group in groups}


def verb_groups(verb: str) -> list[str]:
    """The groups that a verb composes, or the verb that it takes its config from."""
    defaults = yaml.safe_load((CONF / f"{verb}.yaml").read_text(encoding="utf-8")).get("defaults", [])
    inherited = [verb_groups(entry) for entry in defaults if isinstance(entry, str) and entry != "_self_"]
    own = [name for entry in defaults if isinstance(entry, dict) for name in entry if "hydra" not in name]
    return list(chain(*inherited, own))


def header_comment(file: Path) -> tuple[str, str]:
    """The description and the command in a yaml's first comment, `# description: seqlab …`; either may be missing."""
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next((line for line in lines if line.startswith("# ") and "@package" not in line), "# ")
    description, _, command = first[2:].partition("seqlab ")
    return description.rstrip(": "), f"seqlab {command}" if command else ""


def read_option(group: str, option: str) -> dict[str, Any]:
    """The node of an option, merged with the options of its group that it inherits from."""
    content = yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8")) or {}
    parents = [name for name in content.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    merged: dict[str, Any] = {}
    for parent in parents:
        merged |= read_option(group, parent)
    return merged | (content.get(group) or content)  # a global yaml has its node under the group's name


@cache
def shipped_targets() -> frozenset[tuple[str, str]]:
    """(group, target) of everything that seqlab's own yaml files name."""
    files = CONF.glob("*/*.yaml")
    return frozenset(
        (file.parent.name, name) for file in files for name in TARGET_PATTERN.findall(file.read_text(encoding="utf-8"))
    )


def compatible_options(group: str, is_compatible: Callable[[str], bool]) -> list[str]:
    """The options of a group whose `_target_` passes a test."""
    return [option for option in group_options()[group] if is_compatible(read_option(group, option)["_target_"])]
