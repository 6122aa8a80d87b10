"""Nested lists, tuples and dicts of leaves: what models and layers are called with and return.

The entries of a dict come in the order of their sorted keys, as in Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def leaves(structure: Any) -> Iterator[Any]:
    """The leaves from left to right."""
    if isinstance(structure, (list, tuple)):
        for entry in structure:
            yield from leaves(entry)
    elif isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from leaves(structure[key])
    else:
        yield structure


def transform(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same structure with ``function(leaf)`` for each leaf; tuples become lists."""
    if isinstance(structure, (list, tuple)):
        return [transform(function, entry) for entry in structure]
    if isinstance(structure, Mapping):
        made = {key: transform(function, structure[key]) for key in sorted(structure)}
        return {key: made[key] for key in structure}
    return function(structure)


def fill(structure: Any, values: Iterator[Any]) -> Any:
    """The same structure, its leaves taken from ``values`` in order."""
    return transform(lambda _: next(values), structure)


def matched(structure: Any, x: Any) -> Iterator[Any]:
    """What stands in ``x`` where ``structure`` has its leaves, in order; ValueError where they do not nest alike."""
    if isinstance(structure, (list, tuple)):
        if not isinstance(x, (list, tuple)) or len(x) != len(structure):
            raise ValueError(f"expected a list of {len(structure)}")
        for inner, entry in zip(structure, x, strict=True):
            yield from matched(inner, entry)
    elif isinstance(structure, Mapping):
        if not isinstance(x, Mapping) or set(x) != set(structure):
            raise ValueError(f"expected a dict with the keys {sorted(structure)}")
        for key in sorted(structure):
            yield from matched(structure[key], x[key])
    else:
        yield x


def alike(a: Any, b: Any) -> bool:
    """Whether two structures nest in the same way."""
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and sorted(a) == sorted(b) and all(alike(a[key], b[key]) for key in a)
    return not isinstance(b, (list, tuple, Mapping))
