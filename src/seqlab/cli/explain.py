"""explain=true: the composed config, and beside every value the yaml or the override that set it and what it replaced."""

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from seqlab.cli.hydra_api import searchpath_override
from seqlab.config.groups import CONF
from seqlab.config.nodes import flatten
from seqlab.launch.create import ComposedRun, check_run

History = dict[str, list[tuple[str, Any]]]  # key -> (where from, value), the last one holds


def explain_config(job: ComposedRun, folders: list[Path]) -> None:
    """Print a config as YAML with comments. Raises UserError if it is refused."""
    history = trace_values(job.overrides, folders)
    composed = flatten(job.config)
    check_run(job)
    for key, value in flatten(job.config).items():
        if value != composed.get(key):
            history.setdefault(key, []).append(("seqlab, on this machine and with these data", value))
    lines = format_lines(job.config, history)
    print("\n".join(map(break_line, lines) if sys.stdout.isatty() else lines))


def break_line(line: str) -> str:
    """A line for a terminal: a comment for which there is no room stands below its value, broken between words."""
    value, mark, comment = line.partition("  # ")
    width, indent = shutil.get_terminal_size().columns, " " * (len(line) - len(line.lstrip()) + 2) + "# "
    if len(line) <= width:
        return line
    below = textwrap.fill(comment, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
    return f"{value.rstrip()}\n{below}" if mark else line


def trace_values(overrides: list[str], folders: list[Path]) -> History:
    """What each yaml, in the order of composition, and then each override sets."""
    history: History = {}
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        all_overrides = [*overrides, *searchpath_override(folders)]
        for default in loader.compute_defaults_list("train", all_overrides, RunMode.RUN).defaults:
            path = f"{default.config_path}.yaml"
            file = next((folder / path for folder in (CONF, *folders) if (folder / path).exists()), None)
            if file is None or path.startswith("hydra"):
                continue
            content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            content.pop("defaults", None)
            add_history(history, content, default.package or "", path if file.is_relative_to(CONF) else str(file))
        groups = set(loader.list_groups(""))
    GlobalHydra.instance().clear()
    values = [override for override in overrides if override.split("=")[0].lstrip("+") not in groups]
    for parsed in OverridesParser.create().parse_overrides(values):
        add_history(history, {parsed.key_or_group: parsed.value()}, "", "command line")
    return history


def add_history(history: History, content: dict[str, Any], package: str, where: str) -> None:
    """Add what a yaml or an override sets."""
    for key, value in flatten(content, f"{package}." if package else "").items():
        history.setdefault(key, []).append((where, value))


def format_lines(node: dict[str, Any], history: History, prefix: str = "", depth: int = 0) -> list[str]:
    """YAML with a comment, a line for each key."""
    lines = []
    for key, value in node.items():
        indent = "  " * depth
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", *format_lines(value, history, f"{prefix}{key}.", depth + 1)]
        else:
            origin = format_origin(history.get(prefix + key, []), value)
            lines.append(f"{indent}{key}: {format_yaml(value)}".ljust(40) + f"  # {origin}")
    return lines


def format_origin(steps: list[tuple[str, Any]], value: Any) -> str:
    """Where a value comes from, and what it replaced."""
    if not steps:
        return "the option none" if value == {} else "the base, or a default that follows another value"
    *before, (where, written) = steps
    text = f"{where}, as {written}" if isinstance(written, str) and "${" in written else where
    replaced = [f"{format_yaml(old)} of {place}" for place, old in reversed(before) if place != where or old != written]
    return text + (f"; replaces {', '.join(replaced)}" if replaced else "")


def format_yaml(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()
