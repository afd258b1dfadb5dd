"""Which classes a config may name: every `_target_` is checked here, so that a config file alone can never run code."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from seqlab.config.groups import shipped_targets
from seqlab.errors import UserError, did_you_mean

ALLOWED_PACKAGES: dict[str, tuple[str, ...]] = {
    "tokenizer": ("seqlab.tokenizers",),
    "model": ("seqlab.models", "torch.nn"),
    "adapter": ("seqlab.adapters",),
    "optimizer": ("seqlab.training.optim", "torch.optim"),
    "schedule": ("seqlab.training.optim", "torch.optim.lr_scheduler"),
    "trainer": ("seqlab.training.trainer", "lightning.pytorch.profilers"),
    "callbacks": ("seqlab.callbacks", "lightning.pytorch.callbacks"),
    "logger": ("seqlab.loggers", "lightning.pytorch.loggers"),
    "task": ("seqlab.tasks",),
    "data": ("seqlab.data",),
}
FUNCTION_GROUPS = ("optimizer", "schedule", "trainer")  # groups whose targets may be functions of seqlab's


def user_packages() -> tuple[str, ...]:
    """The packages that the user allows, from `$SEQLAB_ALLOW` (typed as `allow=[…]`)."""
    return tuple(name for name in os.environ.get("SEQLAB_ALLOW", "").split(",") if name)


def allow_packages(names: Iterable[str]) -> None:
    """Add to the packages that the user allows; jobs and ranks inherit them."""
    if packages := dict.fromkeys([*user_packages(), *names]):
        os.environ["SEQLAB_ALLOW"] = ",".join(packages)
    add_cwd_to_path()


def allow_words() -> str:
    """What a command has to say to allow the same: ` allow=[package]`, or nothing."""
    return f" allow=[{','.join(user_packages())}]" if user_packages() else ""


def parse_allow(value: str) -> list[str]:
    """The packages in `[package, …]`."""
    return [name.strip() for name in value.strip("[]'\"").split(",") if name.strip()]


def add_cwd_to_path() -> None:
    """Let allowed packages lie in the working folder."""
    if user_packages() and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def check_targets(config: dict[str, Any]) -> None:
    """Refuse every `_target_` outside its group's packages, before anything of it is imported.

    Raises UserError. A config cannot allow packages: only the user can, on the command line or in the environment.
    """
    if "allow" in config:
        raise UserError("A config may not allow packages itself: type allow=[…] on the command line if you trust them.")
    for group, path, target in iter_targets(config):
        if group not in ALLOWED_PACKAGES:
            raise UserError(f"{path} names {target}, but only {', '.join(ALLOWED_PACKAGES)} may name one: remove it.")
        if (group, target) not in shipped_targets():  # seqlab's own need not be imported for this check
            resolve_target(target, group, path)


def iter_targets(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """All (group, dotted path, target) of a config."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield (path[0] if path else ""), ".".join(path) or "the config", str(node["_target_"])
        for key, value in node.items():
            yield from iter_targets(value, (*path, str(key)))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from iter_targets(value, (*path, str(number)))


def resolve_target(target: str, group: str, path: str = "") -> Any:
    """The class or function that a target names. Raises UserError if it lies outside the group's packages.

    The name is checked before anything is imported, then the module in which the object was defined, so that what a
    module has imported cannot be reached through it.
    """
    packages = ALLOWED_PACKAGES[group] + user_packages()
    refusal = UserError(
        f"{path or group} names {target}, which is outside the packages for {group} ({', '.join(packages)}): if you trust "
        f"it, type allow=[{target.split('.')[0]}], or set SEQLAB_ALLOW={target.split('.')[0]}."
    )
    if not is_within(target, packages) or "._" in target:
        raise refusal
    found = import_object(target)
    is_ours = group in FUNCTION_GROUPS and is_within(target, ("seqlab",))
    may_be_function = is_ours or is_within(target, user_packages())  # a library's might load what runs code
    is_callable = inspect.isclass(found) or (inspect.isfunction(found) and may_be_function)
    if not is_callable or not is_within(getattr(found, "__module__", ""), packages):
        raise refusal
    return found


def get_class(config: dict[str, Any], group: str) -> Any:
    """The class that a group's node names."""
    return resolve_target(config[group]["_target_"], group)


def is_user_code(target: Callable[..., Any]) -> bool:
    """True if the target lies in a package that the user allowed."""
    return is_within(target.__module__, user_packages())


def takes_injection(target: Callable[..., Any]) -> bool:
    """True if the target may be given what its signature names: seqlab's and the user's code, never a library's."""
    return is_within(target.__module__, ("seqlab", *user_packages()))


def is_within(name: str, packages: Iterable[str]) -> bool:
    """True if a dotted name is one of these packages or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def import_object(target: str) -> Any:
    """Import the module part of a dotted name and get the rest from it. Raises UserError if there is no such object."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                continue  # that part of the name is not a module
            raise UserError(f"{target} needs {error.name}: pip install {error.name}.") from error
        except SyntaxError as error:
            raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}; fix it there.") from error
        except SystemExit as error:
            raise UserError(
                f"{name} ends Python when it is imported (sys.exit({error.code!r})): put what it runs as a script below "
                'if __name__ == "__main__".'
            ) from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                raise UserError(f"There is no {target}: {name} has no {part}.{did_you_mean(part, public_names(found))}")
            found = getattr(found, part)
        return found
    raise UserError(f"There is no {target}: {parts[0]} cannot be imported from here (is it on PYTHONPATH?).")


def public_names(module: Any) -> list[str]:
    """The names of a module's classes and functions."""
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
