"""Numbers for goldens: made from a seed, exact in float16, each kept once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

MASKS = ("none", "right", "left", "holes", "first", "full")


def numbers(shape: Sequence[int], k: int = 0) -> np.ndarray:
    """Normal, in 64ths: the same in every dtype. ``k`` tells arrays of one shape apart."""
    random = np.random.default_rng([len(shape), *shape, k])
    return (np.round(random.normal(size=shape) * 64) / 64).astype(np.float16)


def weight(name: str, shape: Sequence[int], k: int) -> np.ndarray:
    values = numbers(shape, 1000 + k)
    return np.abs(values) + np.float16(0.25) if name == "moving_variance" else values / 2


def mask(pattern: str, samples: int = 4, time: int = 6) -> np.ndarray | None:
    """One row of it is masked in another way than the next; ``first`` masks the first step of all."""
    if pattern == "none":
        return None
    step, row = np.arange(time), np.arange(samples)[:, None]
    masks = {
        "right": step < np.maximum(time - 2 * row, 1),
        "left": step >= np.minimum(row + (row > 1), time - 1),
        "holes": (step * 5 + row * 3) % 7 % 3 > 0,
        "first": (step > 0) & (step > row - 1),
        "full": (step < time - row) & (row != 2),
    }
    return masks[pattern]


def cover(strength: int, **table: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows in which every combination of values of any ``strength`` of the options occurs (greedy)."""
    keys = list(table)
    wanted = {
        tuple(zip(some, values, strict=True))
        for some in itertools.combinations(range(len(keys)), strength)
        for values in itertools.product(*(range(len(table[keys[i]])) for i in some))
    }
    rows: list[tuple[int, ...]] = []
    while wanted:
        fixed = dict(min(wanted))
        for i in range(len(keys)):
            if i not in fixed:
                fixed[i] = max(range(len(table[keys[i]])), key=lambda v, i=i: (gain(wanted, {**fixed, i: v}, i), -v))
        row = tuple(fixed[i] for i in range(len(keys)))
        wanted = {one for one in wanted if any(row[i] != v for i, v in one)}
        rows.append(row)
    return [{key: table[key][v] for key, v in zip(keys, row, strict=True)} for row in rows]


def gain(wanted: set[Any], fixed: Mapping[int, int], i: int) -> int:
    """How many wanted combinations with ``i`` the values fixed so far complete."""
    return sum((i, fixed[i]) in one and all(fixed.get(j) == v for j, v in one) for one in wanted)


class Pool:
    """Arrays by number, equal ones once."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.seen: dict[Any, str] = {}

    def keep(self, array: Any) -> str:
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.seen:
            self.seen[key] = f"@{len(self.arrays)}"
            self.arrays[str(len(self.arrays))] = array
        return self.seen[key]


def mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    """The tree of lists and mappings with ``change`` applied to its leaves; tuples become lists."""
    if isinstance(tree, Mapping):
        return {key: mapped(change, value) for key, value in tree.items()}
    return [mapped(change, value) for value in tree] if isinstance(tree, (list, tuple)) else change(tree)
