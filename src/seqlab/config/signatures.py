"""What a target takes: its keywords, and their types and ranges as its signature says them."""

import inspect
import json
import types
import typing
from collections.abc import Callable, Collection, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from seqlab.config.remedies import suggest_alias
from seqlab.errors import UserError, did_you_mean

NODE_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_")  # Hydra's
SCHEDULE_KEYS = ("interval", "monitor")  # of a schedule's node: when it steps
TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "null",
}


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The target's parameters by name."""
    return dict(inspect.signature(target).parameters)


def required_parameters(target: Callable[..., Any]) -> list[str]:
    """The keywords without a default."""
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [n for n, p in parameters(target).items() if p.default is p.empty and p.kind in by_keyword]


def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The types of the target's parameters, with their ranges; empty if its annotations cannot be evaluated."""
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def check_arguments(
    node: dict[str, Any], target: Callable[..., Any], path: str, injected: Collection[str] = ()
) -> None:
    """Refuse keywords that the target does not take, values that do not fit, and required keywords that are missing.

    Keywords that seqlab itself gives (`injected`) may be missing or null. Raises UserError.
    """
    known, hints = parameters(target), type_hints(target)
    prefix = f"{path}." if path else ""
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for key, value in node.items():
        if key in NODE_KEYS:
            check_node_key(f"{prefix}{key}", key, value)
            continue
        if key not in known and not takes_any:
            alias = suggest_alias(f"{prefix}{key}") if path.startswith("callbacks") else ""
            remedy = alias or did_you_mean(key, known.keys() - injected)
            raise UserError(f"{prefix}{key} is not a keyword of {target.__qualname__}.{remedy}")
        if value is not None or key not in injected:
            check_value(f"{prefix}{key}", value, hints.get(key, Any))
    for keyword in required_parameters(target):
        if keyword not in node and keyword not in injected:
            known_elsewhere = did_you_mean(keyword, injected)  # a misspelt name of what seqlab gives
            remedy = known_elsewhere if known_elsewhere.startswith(" Did") else ""
            raise UserError(f"{path or target.__name__} needs {keyword}: set {prefix}{keyword}=….{remedy}")


def check_node_key(path: str, key: str, value: Any) -> None:
    """Refuse a key of Hydra's in a node that would have no effect, since seqlab builds nodes itself. Raises UserError."""
    if key != "_target_" and (key, value) != ("_partial_", True):
        raise UserError(f"{path}={value} has no effect: seqlab builds what a config names itself; leave it out.")


def checked_keywords(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: an argument of a call that the function does not take, or whose value does not fit, is a UserError."""

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        given = dict(zip(parameters(function), args, strict=False)) | keywords
        check_arguments(given, function, "")
        return function(*args, **keywords)

    return call


def check_value(path: str, value: Any, hint: Any) -> None:
    """Raises UserError for a value that does not fit its type or lies outside its range."""
    if not matches_type(value, hint):
        shown = "null" if value is None else value
        if isinstance(value, float) and value.is_integer() and matches_type(int(value), hint):
            raise UserError(f"{path}={shown} must be a whole number: write {int(value)}.")
        as_list = f": write {path}=[{shown}]" if isinstance(value, str) and matches_type([value], hint) else ""
        raise UserError(f"{path}={shown} does not fit: it must be {format_type(hint)}{as_list}.")


def matches_type(value: Any, hint: Any) -> bool:
    """True if a plain value of a config fits a type. What is built from a `_target_`, and a type that pydantic cannot
    check, is not judged."""
    adapter = type_adapter(hint)
    inner = value if isinstance(value, list) else [value]
    if adapter is None or any(isinstance(node, dict) and "_target_" in node for node in inner):
        return True
    try:
        adapter.validate_json(
            json.dumps(value, default=str), strict=True
        )  # strict, but as in JSON a list may become a tuple
    except ValidationError:
        return False
    return True


@cache
def type_adapter(hint: Any) -> TypeAdapter[Any] | None:
    """What checks a value against a type; None for a type that pydantic does not know."""
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))
    except PydanticUserError:
        return None


def format_type(hint: Any) -> str:
    """A type as a user reads it: `PositiveInt | None` is 'a whole number of at least 1 or null'."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return f"{format_type(arguments[0])}{format_range(arguments[1:])}"
    if origin in (typing.Union, types.UnionType):
        plain = [argument for argument in arguments if argument in TYPE_NAMES or typing.get_origin(argument)]
        return " or ".join(dict.fromkeys(format_type(argument) for argument in plain or arguments))
    if origin is typing.Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)}, each {format_type(arguments[0])}"
    if origin is not None:
        return "a dictionary" if issubclass(origin, Mapping) else "a list"
    return TYPE_NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def format_range(constraints: tuple[Any, ...]) -> str:
    """Constraints as a user reads them: ' of at least 1', ' from 0 to below 1'."""
    low = next((c for c in constraints if isinstance(c, Ge | Gt)), None)
    high = next((c for c in constraints if isinstance(c, Le | Lt)), None)
    bottom = f"of at least {low.ge}" if isinstance(low, Ge) else f"above {low.gt}" if low else ""
    top = f"at most {high.le}" if isinstance(high, Le) else f"below {high.lt}" if high else ""
    words = " and ".join(filter(None, (bottom, top)))
    return f" {words}" if words else ""
