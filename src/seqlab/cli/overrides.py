"""The arguments of a command: flags and overrides, quoted as Hydra's grammar needs them."""

import os
import re
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from seqlab.config.nodes import DATA_PATHS
from seqlab.config.remedies import suggest_alias
from seqlab.config.targets import allow_packages, parse_allow
from seqlab.errors import UserError, did_you_mean
from seqlab.files import YamlLoader, expand_path

QUOTED_KEYS = (
    r"(prompt|prompts|text|file|input|system|stop|run|resume|sweep\.resume|init_from|out|paths\.\w+{text})=(.*)"
)
MULTIRUN_FLAGS = ("-m", "--multirun")
CONFIG_DIR_FLAGS = ("--config-dir", "-cd")
PRINT_FLAGS = ("--cfg", "-c")
# Keys that other tools take as flags.
DASHED_KEYS = set("resume seed device model data name init_from run out prompt prompts".split())
FLAGS_WITHOUT_VALUE = ("--resolve", "--run", "-r", *MULTIRUN_FLAGS)
# Those of Hydra's flags that are passed on. Others read pickles or replace seqlab's configs, and may be abbreviated.
ALLOWED_FLAGS = (*CONFIG_DIR_FLAGS, "--cfg", "-c", "--package", "-p", *FLAGS_WITHOUT_VALUE)
LIST_KEYS = ("run", "stop", *(f"data.{name}" for name in DATA_PATHS))  # whose value may be a list, quoted or not


def quote_overrides(args: list[str]) -> list[str]:
    """Take text and paths as they are typed; leave null, lists and what is quoted already alone."""
    pattern = re.compile(
        QUOTED_KEYS.format(
            text=""
            if is_multirun(args)
            else r"|data\.(?:val_|test_)?path|data\.system_prompt|callbacks\.samples\.prompt"
        ),
        re.DOTALL,
    )
    return [quote_value(match[1], match[2]) if (match := pattern.fullmatch(arg)) else arg for arg in args]


def quote_value(key: str, value: str) -> str:
    """One override with its value quoted for Hydra."""
    is_list = value.startswith("[") and (
        key.startswith("paths.") or (key in LIST_KEYS and value.endswith("]") and not expand_path(value).exists())
    )
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if value == "null" or is_list or is_quoted:
        return f"{key}={value}"
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", value)  # backslashes count before a quote only
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    escaped = escaped + "\\" * trailing
    return f"{key}='{escaped.replace('${', chr(92) + '${')}'"


def is_multirun(args: list[str]) -> bool:
    """True if this is a sweep."""
    return any(arg in MULTIRUN_FLAGS for arg in args)


def get_override(args: list[str], key: str) -> str | None:
    """The last value typed for a key, unquoted; None if it was not typed, or typed as null."""
    values = [arg.split("=", 1)[1] for arg in args if arg.startswith(f"{key}=")]
    return None if not values or values[-1] in ("null", "") else values[-1].strip("'\"")


def get_runs_folder(args: list[str]) -> Path:
    """The folder of the runs."""
    return expand_path(get_override(args, "paths.runs") or "runs")


def pop_allow(args: list[str]) -> list[str]:
    """Move `allow=[package, …]` from the arguments to `$SEQLAB_ALLOW`."""
    allow_packages(parse_allow(get_override(args, "allow") or ""))
    return [arg for arg in args if not arg.startswith("allow=")]


def get_config_folders(args: list[str]) -> list[Path]:
    """The folders that `--config-dir` adds. Raises UserError for a yaml there that touches Hydra, and for other flags.

    Hydra would instantiate what a yaml puts under `hydra:` by itself, before seqlab sees it.
    """
    folders = []
    for number, arg in enumerate(args):
        name, _, value = arg.partition("=")
        if name in CONFIG_DIR_FLAGS:
            if not value and number + 1 == len(args):
                raise UserError(f"{name} names no folder: give one with model/, data/ … in it.")
            folders.append(Path(value or args[number + 1]))
        elif name.startswith("-") and name not in ALLOWED_FLAGS:
            key = name.lstrip("-").replace("-", "_")
            known = (
                f" Did you mean {key}=…?"
                if key in DASHED_KEYS
                else suggest_alias(key) or did_you_mean(name, ALLOWED_FLAGS)
            )
            raise UserError(f"seqlab has no option {name}: arguments are key=value, without dashes.{known}")
        elif name.lstrip("+~") == "hydra.searchpath":
            raise UserError(f"{arg} would add configs unseen: add a folder of your own with --config-dir <folder>.")
        elif name in PRINT_FLAGS and (value or next(iter(args[number + 1 :]), "")) not in ("job", "hydra", "all"):
            raise UserError(f"{name} prints a config: type {name} job, for what would run.")
    flags = {arg.partition("=")[0] for arg in args if arg.startswith("-")}
    prints = flags & set(PRINT_FLAGS)
    if prints and flags & set(MULTIRUN_FLAGS):
        raise UserError("--cfg prints one config: leave -m out.")
    for flag in flags & {"--resolve", "--package", "-p"}:
        if not prints:
            raise UserError(f"{flag} says how --cfg job prints a config: type both, or neither.")
    if len(folders) > 1:
        raise UserError(
            f"--config-dir takes one folder, and {folders[0]} and {folders[1]} are two: put the groups into one."
        )
    for folder in folders:
        check_config_folder(folder, args)
    return folders


def check_config_folder(folder: Path, args: list[str]) -> None:
    """Raises UserError for a missing folder, and for a yaml in it that touches Hydra."""
    if not folder.is_dir():
        raise UserError(f"--config-dir {folder} is not a folder: give one with model/, data/ … in it.")
    for parent, _, names in os.walk(folder, followlinks=True):  # as Hydra does
        for name in names:
            if name.endswith((".yaml", ".yml")):
                check_no_hydra_keys(Path(parent, name), folder, args)


def can_hydra_read(file: Path) -> bool:
    """True if OmegaConf reads a yaml, such as one with tags that no SafeLoader knows."""
    try:
        OmegaConf.load(file)
    except Exception:  # of YAML and of OmegaConf
        return False
    return True


def is_chosen(file: Path, args: list[str]) -> bool:
    """True if arguments name an option of a group that a yaml is."""
    chosen = [arg.split("=", 1)[1] for arg in args if arg.startswith(f"{file.parent.name}=")]
    return any(file.stem in re.split(r"[\[\],]", value) for value in chosen)


def check_no_hydra_keys(file: Path, folder: Path, args: list[str]) -> None:
    """Raises UserError for a yaml that sets or chooses anything of Hydra itself."""
    refusal = UserError(f"{file} touches Hydra's own configuration (hydra:), which could run code: remove that.")
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.load(text, YamlLoader)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        if not can_hydra_read(file) and not is_chosen(file, args):
            return  # it stops only those who choose it
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{file} is not YAML: {str(error).splitlines()[0]}{place} (indent with spaces).") from error
    headers = re.findall(r"#\s*@package(.*)", text)
    if file.relative_to(folder).parts[0].startswith("hydra") or any("hydra" in header for header in headers):
        raise refusal
    if isinstance(content, dict):
        if any(str(key).startswith("hydra") for key in content) or "hydra" in str(content.get("defaults", "")):
            raise refusal


def split_flags(args: list[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    for arg, before in zip(args, ["", *args], strict=False):
        is_value = before.startswith("-") and "=" not in before and before not in FLAGS_WITHOUT_VALUE
        (flags if arg.startswith("-") or is_value else overrides).append(arg)
    return flags, overrides


def get_config_dir_args(args: list[str]) -> list[str]:
    """The flags that composing a job of a sweep needs besides its overrides: folders of configs."""
    pairs = zip(args, [*args[1:], ""], strict=True)
    return [
        part
        for arg, after in pairs
        if arg.split("=")[0] in CONFIG_DIR_FLAGS
        for part in ((arg,) if "=" in arg else (arg, after))
    ]
