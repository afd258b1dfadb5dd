"""The words of a command: what is typed, as Hydra's grammar wants it."""

import os
import re
from pathlib import Path

import yaml

from seqlab.config.targets import add_cwd_to_path
from seqlab.errors import UserError, did_you_mean

QUOTED_KEYS = r"(prompt|input|run|resume|sweep\.resume|init_from|out|paths\.\w+{text})=(.*)"
MULTIRUN_FLAGS = ("-m", "--multirun")
FLAGS_WITHOUT_VALUE = ("--resolve", "--run", "-r")  # flags that take no value
# Hydra's flags that are passed on. It has others that read pickles or replace seqlab's configs, and takes abbreviations.
ALLOWED_FLAGS = (
    "--config-dir",
    "-cd",
    "--cfg",
    "-c",
    "--resolve",
    "--package",
    "-p",
    "--info",
    "-i",
    "--run",
    "-r",
    *MULTIRUN_FLAGS,
)


def quote_overrides(words: list[str]) -> list[str]:
    """Text and paths are taken as they are typed; null, a list and what is quoted already are left alone."""
    pattern = re.compile(QUOTED_KEYS.format(text="" if is_multirun(words) else r"|data\.path"), re.DOTALL)
    return [quote_value(match[1], match[2]) if (match := pattern.fullmatch(word)) else word for word in words]


def quote_value(key: str, value: str) -> str:
    """One word with its value quoted for Hydra."""
    is_list = key.startswith("paths.") and value.startswith("[")
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if value == "null" or is_list or is_quoted:
        return f"{key}={value}"
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", value)  # backslashes count before a quote only
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    escaped = escaped + "\\" * trailing
    return f"{key}='{escaped.replace('${', chr(92) + '${')}'"


def is_multirun(words: list[str]) -> bool:
    """Whether this is a sweep."""
    return any(word in MULTIRUN_FLAGS for word in words)


def get_override(words: list[str], key: str) -> str | None:
    """The last value typed for a key, unquoted; None where it was not typed, or typed as null."""
    values = [word.split("=", 1)[1] for word in words if word.startswith(f"{key}=")]
    return None if not values or values[-1] in ("null", "") else values[-1].strip("'\"")


def get_runs_folder(words: list[str]) -> Path:
    """Where runs lie."""
    return Path(get_override(words, "paths.runs") or "runs")


def pop_allow(words: list[str]) -> list[str]:
    """Take `allow=[package, …]` out of the words into `$SEQLAB_ALLOW`, which jobs and ranks inherit."""
    allowed = get_override(words, "allow")
    if allowed:
        packages = [name.strip() for name in allowed.strip("[]").split(",") if name.strip()]
        os.environ["SEQLAB_ALLOW"] = ",".join([*filter(None, [os.environ.get("SEQLAB_ALLOW")]), *packages])
        add_cwd_to_path()
    return [word for word in words if not word.startswith("allow=")]


def get_config_folders(words: list[str]) -> list[Path]:
    """The folders that `--config-dir` (and Hydra's other ways) add. Raises Mistake for a yaml there that touches Hydra.

    Hydra would instantiate what a yaml puts under `hydra:` by itself, before seqlab sees it.
    """
    folders = []
    for number, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in ("--config-dir", "-cd"):
            if not value and number + 1 == len(words):
                raise UserError(f"{name} names no folder: give one with model/, data/ … in it.")
            folders.append(Path(value or words[number + 1]))
        elif name.startswith("-") and name not in ALLOWED_FLAGS:
            raise UserError(
                f"seqlab has no option {name}.{did_you_mean(name, ALLOWED_FLAGS)} A folder of yours comes by --config-dir <folder>."
            )
        elif name.lstrip("+~") == "hydra.searchpath":
            raise UserError(f"{word} would add configs unseen: add a folder of yours with --config-dir <folder>.")
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--config-dir {folder} is no folder: give one with model/, data/ … in it.")
        for file in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml"))):
            check_no_hydra_keys(file, folder)
    return folders


def check_no_hydra_keys(file: Path, folder: Path) -> None:
    """Raises Mistake for a yaml that sets or chooses anything of Hydra itself."""
    refusal = UserError(f"{file} touches Hydra's own configuration (hydra:), which could run code: take that out.")
    text = file.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML: {str(error).splitlines()[0]}.") from error
    header = re.search(r"^\s*#\s*@package\s+(.*)", text, re.MULTILINE)
    if file.relative_to(folder).parts[0].startswith("hydra") or (header and "hydra" in header[1]):
        raise refusal
    if isinstance(content, dict):
        if any(str(key).startswith("hydra") for key in content) or "hydra" in str(content.get("defaults", "")):
            raise refusal


def split_flags(words: list[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the overrides."""
    options: list[str] = []
    overrides: list[str] = []
    for word, before in zip(words, ["", *words], strict=False):
        is_value = (
            before.startswith("-")
            and "=" not in before
            and before not in MULTIRUN_FLAGS
            and before not in FLAGS_WITHOUT_VALUE
        )
        (options if word.startswith("-") or is_value else overrides).append(word)
    return options, overrides
