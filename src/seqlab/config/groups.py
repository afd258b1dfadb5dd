"""What can be chosen: the groups and choices under conf/, read without Hydra."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"  # in a wheel, in a checkout

COMMAND_KEYS = ("start", "plan", "explain", "sweep")  # keys of train.yaml for the command, and not for the run

TARGET_PATTERN = re.compile(r"_target_: ([\w.]+)")


@cache
def group_options() -> dict[str, list[str]]:
    """Group -> its choices, in the order in which train.yaml composes them."""
    primary = yaml.safe_load((CONF / "train.yaml").read_text())["defaults"]
    names = [name for entry in primary if isinstance(entry, dict) for name in entry if "hydra" not in name]
    return {name: sorted(file.stem for file in (CONF / name).glob("*.yaml")) for name in names}


def header_comment(file: Path) -> tuple[str, str]:
    """What a yaml's first comment says it is for, and the command that uses it."""
    first = next(line for line in file.read_text().splitlines() if line.startswith("# ") and "@package" not in line)
    text, _, command = first[2:].rpartition(": ") if ": " in first else (first[2:], "", "")
    return text, command


def read_option(group: str, choice: str) -> dict[str, Any]:
    """The content of a choice, with what it inherits from others of its group."""
    content = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text()) or {}
    parents = [name for name in content.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    merged: dict[str, Any] = {}
    for parent in parents:
        merged |= read_option(group, parent)
    merged |= content
    return merged.get(group, merged)  # a global yaml has its node under the group's name


@cache
def shipped_targets() -> frozenset[tuple[str, str]]:
    """(group, target) of everything that seqlab's own yamls name."""
    found = (
        (file.parent.name, name) for file in CONF.glob("*/*.yaml") for name in TARGET_PATTERN.findall(file.read_text())
    )
    return frozenset(found)


def compatible_options(group: str, fits: Any) -> list[str]:
    """The choices of a group whose `_target_` passes a test."""
    return [choice for choice in group_options()[group] if fits(read_option(group, choice)["_target_"])]
