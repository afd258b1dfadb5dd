"""What a config may name: the gate that every `_target_` passes, so that a config file alone can never run code."""

import importlib
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from seqlab.config.groups import shipped_targets
from seqlab.errors import UserError, did_you_mean

ALLOWED_PACKAGES: dict[str, tuple[str, ...]] = {
    "tokenizer": ("seqlab.tokenizers",),
    "model": ("seqlab.models", "torch.nn"),
    "adapter": ("seqlab.adapters",),
    "optimizer": ("torch.optim",),
    "schedule": ("seqlab.training.optim", "torch.optim.lr_scheduler"),
    "trainer": ("seqlab.callbacks", "lightning.pytorch"),
    "callbacks": ("seqlab.callbacks", "lightning.pytorch.callbacks"),
    "logger": ("seqlab.loggers", "lightning.pytorch.loggers"),
    "task": ("seqlab.tasks",),
    "data": ("seqlab.data",),
}
FUNCTION_GROUPS = ("adapter", "schedule")  # groups whose choices may be functions


def add_cwd_to_path() -> None:
    """Packages that the user allows may lie in the working folder, beside the command."""
    if os.environ.get("SEQLAB_ALLOW") and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def check_targets(config: dict[str, Any]) -> None:
    """Refuse every `_target_` that is not of its group's packages, before anything of it runs.

    Raises Mistake. Packages that the user allows come from `$SEQLAB_ALLOW` only (typed as `allow=[…]`), never from a
    config.
    """
    if "allow" in config:
        raise UserError("A config may not allow itself packages: type allow=[…] on the command line if you trust them.")
    for group, path, target in iter_targets(config):
        if group not in ALLOWED_PACKAGES:
            raise UserError(
                f"{path} names {target}, but nothing outside of {', '.join(ALLOWED_PACKAGES)} is built: take it out."
            )
        if (group, target) not in shipped_targets():  # ours need not be imported to be known
            resolve_target(target, group, path)


def iter_targets(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """All (group, dotted path, target) in a config."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield (path[0] if path else ""), ".".join(path) or "the config", str(node["_target_"])
        for key, value in node.items():
            yield from iter_targets(value, (*path, str(key)))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from iter_targets(value, (*path, str(number)))


def resolve_target(target: str, group: str, path: str = "") -> Callable[..., Any]:
    """The class or function that a target names. Raises Mistake for what lies outside of the group's packages.

    The name is checked before anything is imported; then the object's own module, so that a module's imports are no
    way out.
    """
    user = tuple(name for name in os.environ.get("SEQLAB_ALLOW", "").split(",") if name)
    packages = ALLOWED_PACKAGES[group] + user
    refusal = UserError(
        f"{path or group} names {target}, which lies outside of what {group} may be ({', '.join(packages)}): "
        "if you trust it, type allow=[<its package>]."
    )
    if not is_within(target, packages):
        raise refusal
    found = import_object(target)
    callable_kind = inspect.isclass(found) or (
        inspect.isfunction(found) and (group in FUNCTION_GROUPS or is_within(target, user))
    )
    if not callable_kind or not is_within(getattr(found, "__module__", ""), packages):
        raise refusal
    return found


def get_class(config: dict[str, Any], group: str) -> Any:
    """The class that a group's node names."""
    return resolve_target(config[group]["_target_"], group)


def is_within(name: str, packages: Iterable[str]) -> bool:
    """Whether a dotted name is one of these packages or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def import_object(target: str) -> Any:
    """Import the module part of a dotted name and look the rest up. Raises Mistake where there is no such thing."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                continue  # that part of the name is no module
            raise UserError(f"{target} needs {error.name}: pip install {error.name}.") from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                raise UserError(f"There is no {target}: {name} has no {part}.{did_you_mean(part, public_names(found))}")
            found = getattr(found, part)
        return found
    raise UserError(f"There is no {target}: {parts[0]} cannot be imported from here (is it on PYTHONPATH?).")


def public_names(module: Any) -> list[str]:
    """The names of a module's classes and functions."""
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters by name; `**kwargs` only where the target takes anything."""
    return dict(inspect.signature(target).parameters)


def required_parameters(target: Callable[..., Any]) -> list[str]:
    """The keywords that must be given."""
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [n for n, p in parameters(target).items() if p.default is p.empty and p.kind in plain]


def check_keywords(node: dict[str, Any], target: Callable[..., Any], path: str, given: tuple[str, ...] = ()) -> None:
    """Refuse keys that the target does not take, and values of another type. Raises Mistake.

    A key that others give as well (`given`) may be null: it follows them.
    """
    known = parameters(target)
    anything = any(p.kind is p.VAR_KEYWORD for p in known.values())
    owner = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(owner)
    except (NameError, TypeError):
        hints = {}
    for key, value in node.items():
        if key.startswith("_"):
            continue
        if key not in known and not anything:
            raise UserError(f"{path}.{key} is no keyword of {target.__qualname__}.{did_you_mean(key, known)}")
        if not matches_type(value, hints.get(key, Any)) and not (value is None and key in given):
            raise UserError(
                f"{path}.{key}={value} does not fit: {target.__qualname__} takes {format_type(hints[key])}."
            )


def matches_type(value: Any, hint: Any) -> bool:
    """Whether a plain value can be meant for a type; types of the library's own are not judged."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(value, dict):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(matches_type(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is not None:  # list[…], Sequence[…], tuple[…], Callable[…]
        return isinstance(value, list | tuple)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    return not inspect.isclass(hint) or isinstance(value, (hint, list, tuple))


def format_type(hint: Any) -> str:
    """A type as a user reads it."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(format_type(argument) for argument in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    return {float: "a number", int: "a whole number", type(None): "null"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )
