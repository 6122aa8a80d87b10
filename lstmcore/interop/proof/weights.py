"""Which weights of two models are not the same to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.interop.proof.subject import Subject
from lstmcore.ops import Op

Array = NDArray[Any]


@dataclass(frozen=True)
class Different:
    """A weight that is not the same in both: by how much at most, in how many numbers; or its two shapes."""

    name: str
    other: str
    most: float | None
    count: int
    size: int
    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def __str__(self) -> str:
        called = self.name if self.name == self.other else f"{self.name} ({self.other})"
        if self.shapes:
            return f"{called} has shape {self.shapes[0]} and {self.shapes[1]}"
        far = "NaN" if self.most is None else f"{self.most:.3g}"
        return f"{called} differs in {self.count:,} of {self.size:,} numbers, by up to {far}"


@dataclass(frozen=True)
class WeightsFound:
    """Weights compared: how many had a partner, of how many; and those that differ."""

    total: int
    compared: int
    different: tuple[Different, ...]


def compare_weights(source: Subject, target: Subject) -> WeightsFound:
    """The weights by name where both models have it, else by their place: the k-th of the same kind of op."""
    ours, theirs = source.model.every_path(), target.model.every_path()
    places = dict(zip_places(source, target))
    found, compared = [], 0
    for name in source.program.weights:
        other = name if name in theirs else places.get(name)
        if other is None:
            continue
        compared += 1
        difference = _different(name, other, ours[name], theirs[other])
        found += [difference] if difference else []
    return WeightsFound(len(source.program.weights), compared, tuple(found))


def zip_places(source: Subject, target: Subject) -> Iterator[tuple[str, str]]:
    """Weights of nodes of the same op in the same order, where both have as many."""
    ours, theirs = _by_op(source), _by_op(target)
    for op, nodes in ours.items():
        others = theirs.get(op, [])
        if len(others) == len(nodes):
            for a, b in zip(nodes, others, strict=True):
                yield from ((path, b[port]) for port, path in a.items() if port in b)


def _by_op(subject: Subject) -> dict[type[Op], list[Mapping[str, str]]]:
    found: dict[type[Op], list[Mapping[str, str]]] = {}
    for node in subject.program.nodes:
        if node.weights and node.weights not in found.get(type(node.op), ()):
            found.setdefault(type(node.op), []).append(node.weights)
    return found


def _different(name: str, other: str, a: Array, b: Array) -> Different | None:
    if a.shape != b.shape:
        return Different(name, other, None, a.size, a.size, (a.shape, b.shape))
    if a.dtype == b.dtype and np.array_equal(_bits(a), _bits(b)):
        return None
    wrong = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(all="ignore"):
        far = np.abs(a.astype(np.float64) - b.astype(np.float64))
    count = int(wrong.sum()) or int((np.signbit(a) != np.signbit(b)).sum())
    most = float(np.nanmax(far)) if not np.isnan(far).all() else None
    return Different(name, other, most, count, a.size) if count else None


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
