"""Nested dictionaries of a config as flat ones, and what differs between two."""

from collections.abc import Iterator
from typing import Any


def flatten(node: dict[str, Any], prefix: str = "", between: str = ".") -> dict[str, Any]:
    """The leaves of a nested dictionary by their joined keys; an empty dictionary is a leaf."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        nested = isinstance(value, dict) and value
        found |= flatten(value, f"{prefix}{key}{between}", between) if nested else {f"{prefix}{key}": value}
    return found


def find_differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(name, before, now) of what is not the same; what is not a number equals itself."""
    for name in before | now:
        one, other = before.get(name), now.get(name)
        if one != other and not (one != one and other != other):
            yield name, one, other
