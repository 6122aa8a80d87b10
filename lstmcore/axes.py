"""Named axes: one small language for the shape and the layout of a weight.

``"input (gate unit)"`` reads: two axes; the first is the input features, the second holds the gates
side by side, each as wide as the units. From such a pattern follow the shape, and with a second
pattern the way from one layout to another. The names are free; ``gate`` alone has an order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import SpecError

Array = NDArray[Any]
_LINE = 64  # bytes that a processor reads at once


@lru_cache(maxsize=512)
def parse(pattern: str) -> tuple[tuple[str, ...], ...]:
    """``"input (gate unit)"`` -> ``(("input",), ("gate", "unit"))``.

    Raises SpecError for unbalanced or nested brackets and for a name used twice.
    """
    groups: list[tuple[str, ...]] = []
    open_group: list[str] | None = None
    for token in pattern.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(" and open_group is None:
            open_group = []
        elif token == ")" and open_group:
            groups.append(tuple(open_group))
            open_group = None
        elif token in "()":
            raise SpecError(f"axes {pattern!r}: brackets must be paired, not nested and not empty")
        elif open_group is None:
            groups.append((token,))
        else:
            open_group.append(token)
    names = [name for group in groups for name in group]
    if open_group is not None or len(set(names)) != len(names):
        raise SpecError(f"axes {pattern!r}: every bracket is closed and every name stands once")
    return tuple(groups)


def shape(pattern: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an array laid out as ``pattern``: ``sizes`` gives the length of each named axis."""
    return tuple(math.prod(sizes[name] for name in group) for group in parse(pattern))


def explain(pattern: str, sizes: Mapping[str, int]) -> str:
    """The same in words, for messages: ``"input 3 × (gate 4 × unit 4)"``."""
    words = []
    for group in parse(pattern):
        text = " × ".join(f"{name} {sizes[name]}" for name in group)
        words.append(f"({text})" if len(group) > 1 and len(parse(pattern)) > 1 else text)
    return " × ".join(words)


def contiguous(array: Array) -> Array:
    """The array row by row: itself, or a copy, which for a transposed matrix is made a few columns at a time.

    NumPy goes along the rows of the copy, and through all of the original for each: 5 times as long at 8192 x 2048.
    """
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.asarray(array, order="C")
    made = np.empty(array.shape, array.dtype)
    copy_columns(array, made)
    return made


def copy_columns(array: Array, target: Array) -> None:
    """Writes a matrix that lies transposed in memory into another, a few columns at a time; see `contiguous`."""
    step = max(_LINE // array.itemsize, 1)
    for start in range(0, array.shape[1], step):
        target[:, start : start + step] = array[:, start : start + step]


def relayout(
    array: Array,
    source: str,
    target: str,
    sizes: Mapping[str, int],
    gates: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Array:
    """Rearrange ``array`` from layout ``source`` to layout ``target``; exact, no arithmetic.

    ``gates`` is (order in source, order in target), e.g. ``("ifco", "iofc")``, and is needed where
    the pattern has an axis ``gate`` whose order changes. An axis of length 1 may appear or vanish.
    """
    given, wanted = parse(source), parse(target)
    if array.shape != shape(source, sizes):
        raise SpecError(
            f"array of shape {array.shape} is not laid out as {source!r}: "
            f"expected {shape(source, sizes)} = {explain(source, sizes)}"
        )
    flat = [name for group in given for name in group]
    order = [name for group in wanted for name in group]
    for name in set(flat) ^ set(order):
        if sizes[name] != 1:
            raise SpecError(f"axis {name!r} (length {sizes[name]}) is in only one of {source!r}, {target!r}")
    parts = array.reshape([sizes[name] for name in flat])
    parts = parts.squeeze(tuple(i for i, name in enumerate(flat) if name not in order))
    flat = [name for name in flat if name in order]
    extra = [name for name in order if name not in flat]
    parts = parts.reshape(parts.shape + (1,) * len(extra))
    flat += extra
    parts = parts.transpose([flat.index(name) for name in order])
    if gates is not None and "gate" in order and list(gates[0]) != list(gates[1]):
        parts = _sorted(parts, order.index("gate"), [list(gates[0]).index(gate) for gate in gates[1]])
    result: Array = parts.reshape(shape(target, sizes))
    return result


def _sorted(array: Array, axis: int, order: Sequence[int]) -> Array:
    """``np.take(array, order, axis)`` row by row; a matrix that lies transposed in memory by `copy_columns`."""
    made = np.empty(array.shape, array.dtype)
    given, wanted = np.moveaxis(array, axis, 0), np.moveaxis(made, axis, 0)
    for ours, theirs in enumerate(order):
        piece, place = given[theirs].squeeze(), wanted[ours].squeeze()
        if piece.ndim == 2 and abs(piece.strides[0]) < abs(piece.strides[1]):
            copy_columns(piece, place)
        else:
            place[...] = piece
    return made
