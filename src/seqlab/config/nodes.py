"""Nested dictionaries as flat ones, the differences between two, and the keys of data that name files."""

from collections.abc import Iterator
from typing import Any

DATA_PATHS = ("path", "val_path", "test_path")  # keys of data that name files


def flatten(node: dict[str, Any], prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """The leaves of a nested dictionary by their joined keys; an empty dictionary is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict) and value:
            leaves |= flatten(value, f"{prefix}{key}{separator}", separator)
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def find_differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(key, before, after) of each value that differs; NaN equals NaN."""
    for key in before | after:
        one, other = before.get(key), after.get(key)
        if one != other and not (one != one and other != other):
            yield key, one, other
