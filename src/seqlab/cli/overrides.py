"""The words of a command: what is typed, as Hydra's grammar wants it."""

import os
import re
from pathlib import Path

import yaml

from seqlab.config.targets import allow_here
from seqlab.errors import Mistake, did_you_mean

VERBATIM = r"(prompt|input|run|resume|sweep\.resume|init_from|out|paths\.\w+{text})=(.*)"
MULTIRUN = ("-m", "--multirun")
ALONE = ("--resolve", "--run", "-r")  # flags that take no value
# Hydra's flags that are passed on. It has others that read pickles or replace seqlab's configs, and takes abbreviations.
FLAGS = ("--config-dir", "-cd", "--cfg", "-c", "--resolve", "--package", "-p", "--info", "-i", "--run", "-r", *MULTIRUN)


def quoted(words: list[str]) -> list[str]:
    """Text and paths are taken as they are typed; null, a list and what is quoted already are left alone."""
    pattern = re.compile(VERBATIM.format(text="" if is_multirun(words) else r"|data\.path"), re.DOTALL)
    return [quote(match[1], match[2]) if (match := pattern.fullmatch(word)) else word for word in words]


def quote(key: str, value: str) -> str:
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
    return any(word in MULTIRUN for word in words)


def value_of(words: list[str], key: str) -> str | None:
    """The last value typed for a key, unquoted; None where it was not typed, or typed as null."""
    values = [word.split("=", 1)[1] for word in words if word.startswith(f"{key}=")]
    return None if not values or values[-1] in ("null", "") else values[-1].strip("'\"")


def runs_folder(words: list[str]) -> Path:
    """Where runs lie."""
    return Path(value_of(words, "paths.runs") or "runs")


def take_allow(words: list[str]) -> list[str]:
    """Take `allow=[package, …]` out of the words into `$SEQLAB_ALLOW`, which jobs and ranks inherit."""
    allowed = value_of(words, "allow")
    if allowed:
        packages = [name.strip() for name in allowed.strip("[]").split(",") if name.strip()]
        os.environ["SEQLAB_ALLOW"] = ",".join([*filter(None, [os.environ.get("SEQLAB_ALLOW")]), *packages])
        allow_here()
    return [word for word in words if not word.startswith("allow=")]


def config_folders(words: list[str]) -> list[Path]:
    """The folders that `--config-dir` (and Hydra's other ways) add. Raises Mistake for a yaml there that touches Hydra.

    Hydra would instantiate what a yaml puts under `hydra:` by itself, before seqlab sees it.
    """
    folders = []
    for number, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in ("--config-dir", "-cd"):
            if not value and number + 1 == len(words):
                raise Mistake(f"{name} names no folder: give one with model/, data/ … in it.")
            folders.append(Path(value or words[number + 1]))
        elif name.startswith("-") and name not in FLAGS:
            raise Mistake(
                f"seqlab has no option {name}.{did_you_mean(name, FLAGS)} A folder of yours comes by --config-dir <folder>."
            )
        elif name.lstrip("+~") == "hydra.searchpath":
            raise Mistake(f"{word} would add configs unseen: add a folder of yours with --config-dir <folder>.")
    for folder in folders:
        if not folder.is_dir():
            raise Mistake(f"--config-dir {folder} is no folder: give one with model/, data/ … in it.")
        for file in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml"))):
            refuse_hydra(file, folder)
    return folders


def refuse_hydra(file: Path, folder: Path) -> None:
    """Raises Mistake for a yaml that sets or chooses anything of Hydra itself."""
    refusal = Mistake(f"{file} touches Hydra's own configuration (hydra:), which could run code: take that out.")
    text = file.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Mistake(f"{file} is no YAML: {str(error).splitlines()[0]}.") from error
    header = re.search(r"^\s*#\s*@package\s+(.*)", text, re.MULTILINE)
    if file.relative_to(folder).parts[0].startswith("hydra") or (header and "hydra" in header[1]):
        raise refusal
    if isinstance(content, dict):
        if any(str(key).startswith("hydra") for key in content) or "hydra" in str(content.get("defaults", "")):
            raise refusal


def apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the overrides."""
    options: list[str] = []
    overrides: list[str] = []
    for word, before in zip(words, ["", *words], strict=False):
        is_value = before.startswith("-") and "=" not in before and before not in MULTIRUN and before not in ALONE
        (options if word.startswith("-") or is_value else overrides).append(word)
    return options, overrides
