"""Writes configuration.md from the yaml files under conf/: python docs/generate_configuration.py"""

import re
from pathlib import Path
from typing import Any

import yaml

from seqlab.config.groups import CONF, group_options, header_comment, read_option
from seqlab.config.signatures import format_type, parameters, type_hints
from seqlab.config.targets import resolve_target

PAGE = Path(__file__).with_name("configuration.md")
INTRODUCTION = """# Configuration

<!-- Written by: python docs/generate_configuration.py -->

`seqlab train` composes `conf/train.yaml` with one option of each group. `group=option` chooses, `group.key=value` sets a value,
`+group.key=value` adds a key that a yaml leaves to its default, `-m group=a,b` sweeps. The defaults are composed in the order of
this page, so what stands later sets values over what stands before, and the command line wins. `seqlab train … explain=true`
shows which yaml set each value, `seqlab train --help` lists the options.
"""
DEVICE_TEXT = (
    "The keys of a device are those of `trainer`: `accelerator`, `devices`, `num_nodes`, `strategy`, `precision`."
)
SWEEP_TEXT = "The keys of a sweep, given with `-m`; a sweep has no target."


def key_comments(file: Path) -> dict[str, str]:
    """The comment behind each key of a yaml."""
    lines = file.read_text().splitlines()
    found = (re.match(r"\s*([\w]+):.*?\s#\s(.*)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def describe_keys(node: dict[str, Any], group: str, comments: dict[str, str]) -> list[str]:
    """A table of a node's keys: default, what it may be, comment."""
    hints = type_hints(resolve_target(node["_target_"], group)) if "_target_" in node else {}
    known = parameters(resolve_target(node["_target_"], group)) if "_target_" in node else {}
    rows = [(key, value) for key, value in node.items() if not key.startswith("_")]
    has_types = any(key in known for key, _ in rows)
    lines = ["| key | value | may be | |", "|---|---|---|---|"] if has_types else ["| key | value | |", "|---|---|---|"]
    for key, value in rows:
        known_type = key in hints and hints[key] is not Any
        hint = f" {format_type(hints[key])} |" if known_type else " |" if has_types else ""
        text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
        lines.append(f"| `{key}` | `{text}` |{hint} {comments.get(key, '').replace('|', chr(92) + '|')} |")
    return lines if rows else []


def describe_group(group: str) -> list[str]:
    """A section for a group: its options, and the keys of each that has a target."""
    lines = [f"## {group}", "", "| option | | command |", "|---|---|---|"]
    for option in group_options()[group]:
        description, command = header_comment(CONF / group / f"{option}.yaml")
        lines.append(f"| `{option}` | {description} | {f'`{command}`' if command else ''} |")
    lines.append("")
    tables: dict[str, tuple[int, list[str]]] = {}  # by target: how many keys have a comment, the table of that option
    for option in group_options()[group]:
        node, comments = read_option(group, option), key_comments(CONF / group / f"{option}.yaml")
        nodes = (
            {group: node} if "_target_" in node else {f"{group}.{k}": v for k, v in node.items() if isinstance(v, dict)}
        )
        for path, part in nodes.items():
            keys = describe_keys(part, group, comments) if "_target_" in part else []
            count = len(comments.keys() & part.keys())
            if keys and count > tables.get(part["_target_"], (-1, []))[0]:
                title = f"`{path}`, a `{part['_target_']}`, with the values of `{option}`:"
                tables[part["_target_"]] = (count, [title, "", *keys, ""])
    for _, table in tables.values():
        lines += table
    if group == "device":
        lines += [DEVICE_TEXT, ""]
    if group == "sweep":
        comments = key_comments(CONF / "sweep" / "none.yaml")
        lines += [SWEEP_TEXT, "", *describe_keys(read_option("sweep", "none"), "sweep", comments), ""]
    return lines


def describe_top_level() -> list[str]:
    """The keys of train.yaml itself."""
    content = yaml.safe_load((CONF / "train.yaml").read_text())
    rows = {key: value for key, value in content.items() if key not in ("defaults", "hydra")}
    return ["## Top level", "", *describe_keys(rows, "", key_comments(CONF / "train.yaml")), ""]


def generate() -> str:
    """The page."""
    lines = [INTRODUCTION, *describe_top_level()]
    for group in group_options():
        lines += describe_group(group)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(generate())
