"""Thin functions over Hydra's compose API."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from seqlab.config.groups import COMMAND_KEYS, CONF
from seqlab.config.nodes import DATA_PATHS
from seqlab.config.validate import RUN_KEYS
from seqlab.errors import UserError, did_you_mean
from seqlab.files import expand_path


def compose_config(verb: str, overrides: list[str], folders: list[Path], **options: bool) -> DictConfig:
    """Compose a verb's config without a Hydra application around it; `folders` are searched as well."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(verb, [*overrides, *searchpath_override(folders)], **options)


def compose_groups(overrides: list[str], folders: list[Path]) -> tuple[DictConfig, dict[str, str]]:
    """A config of `seqlab train`, not resolved, and the option of each group."""
    config = compose_config("train", overrides, folders, return_hydra_config=True)
    choices = selected_options(config.hydra)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    return config, choices


def searchpath_override(folders: list[Path]) -> list[str]:
    """The override that adds folders of configs, if there are any."""
    paths = ["'file://" + str(folder.resolve()).replace("'", r"\'") + "'" for folder in folders]
    return [f"hydra.searchpath=[{','.join(paths)}]"] if paths else []


def register_option(group: str, name: str, node: dict[str, Any]) -> None:
    """Add an option that exists for this command only."""
    ConfigStore.instance().store(group=group, name=name, node=escape_interpolations(node))


def selected_options(hydra_config: Any) -> dict[str, str]:
    """The option of each group."""
    return {group: option for group, option in hydra_config.runtime.choices.items() if "hydra" not in group}


def to_plain_dict(config: DictConfig) -> dict[str, Any]:
    """Resolve everything; make paths absolute, so that a run can be read from anywhere. Raises UserError.

    A key of a user's own that others refer to, as in `${width}`, has done its work then, and is left out.
    """
    helpers = [key for key in config if key not in RUN_KEYS and key not in COMMAND_KEYS] if "model" in config else []
    text = OmegaConf.to_yaml(config) if helpers else ""
    helpers = [key for key in helpers if re.search(rf"\$\{{[^}}]*\b{re.escape(str(key))}\b", text)]
    if "paths" in config and not isinstance(config.paths, DictConfig):
        raise UserError(f"paths={config.paths} has no meaning: set paths.runs=<folder> or paths.data=[<folder>].")
    if config.get("paths"):
        runs = config.paths.get("runs", "")
        if not isinstance(runs, str):
            shown = "null" if runs is None else runs
            raise UserError(f"paths.runs={shown} has no meaning: give a folder, or leave it out.")
        for key, value in config.paths.items():
            if key not in ("runs", "data"):
                raise UserError(f"There is no paths.{key}.{did_you_mean(str(key), ('runs', 'data'))}")
            if value:
                is_one = isinstance(value, str)
                if not is_one and not all(isinstance(path, str) for path in value):
                    raise UserError(f"paths.{key}={value} has no meaning: give a list of folders.")
                paths = absolute_path(value) if is_one else [absolute_path(path) for path in value]
                config.paths[key] = escape_interpolations(paths)
    for key in DATA_PATHS:
        if "data" in config and not OmegaConf.is_missing(config.data, key) and (path := config.data.get(key)):
            located = [locate_data(one) for one in path] if isinstance(path, ListConfig) else locate_data(path)
            config.data[key] = escape_interpolations(located)
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is missing: give it with {error.full_key}=….") from error
    return {key: value for key, value in plain.items() if key not in helpers}  # type: ignore[misc,union-attr]  # a dictionary


def absolute_path(path: str) -> str:
    """A path from the root."""
    return str(expand_path(path).resolve())


def locate_data(path: Any) -> Any:
    """The path of data from the root, if there is such a file or folder here, or files that match a pattern; else as it is."""
    if not isinstance(path, str):
        return path
    if expand_path(path).exists():
        return absolute_path(path)
    matches = glob.iglob(str(expand_path(path)), recursive=True) if glob.has_magic(path) else ()  # noqa: PTH207  # of any root
    return str(Path.cwd() / expand_path(path)) if any(matches) else path


def escape_interpolations(value: Any) -> Any:
    """Resolved plain data, so that OmegaConf takes a `${` in a text as it is."""
    if isinstance(value, dict):
        return {key: escape_interpolations(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [escape_interpolations(inner) for inner in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


def dotted_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a nested dictionary, inner ones included."""
    for key, value in node.items():
        if not str(key).startswith("_"):
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from dotted_keys(value, f"{prefix}{key}.")
