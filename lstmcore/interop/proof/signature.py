"""Which input of one model is which of another, and the data of one as those of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import SpecError
from lstmcore.interop.proof.subject import Subject
from lstmcore.program import Value

Array = NDArray[Any]
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Pairing:
    """The entering and the leaving values of two models, each with its partner's name: source -> target."""

    source: Subject
    target: Subject
    entering: Mapping[str, str]
    leaving: Mapping[str, str]

    def shapes(self) -> dict[str, Shape]:
        """The shapes that the source's entering values have in both."""
        found = {}
        for name, other in self.entering.items():
            ours = self.source.program.values[name].shape
            theirs = _seen(self.target.program.values[other].shape, len(ours))
            found[name] = tuple(b if a is None else a for a, b in zip(ours, theirs, strict=True))
        return found

    def limits(self) -> dict[str, int]:
        """How many tokens an input may name in both."""
        ours, theirs = self.source.program.limits, self.target.program.limits
        found = dict(ours)
        for name, other in self.entering.items():
            if other in theirs:
                found[name] = min(theirs[other], ours.get(name, theirs[other]))
        return found

    def given(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The source's entering values as the target's."""
        return {
            other: _fitted(values[name], self.target.program.values[other].shape)
            for name, other in self.entering.items()
        }

    def made(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The target's leaving values as the source's."""
        program = self.source.program
        return {name: _unfitted(values[other], len(program.values[name].shape)) for name, other in self.leaving.items()}


def pairing(source: Subject, target: Subject, names: tuple[str, str]) -> Pairing:
    """Which value of the one is which of the other: by name where these are the same, else in order.

    SpecError where they take, or give, different things; ``names`` are what the two are called in it.
    """
    entering = _pairs(source, target, source.entering, target.entering, "takes", names)
    leaving = _pairs(source, target, source.leaving, target.leaving, "gives", names)
    return Pairing(source, target, entering, leaving)


def _pairs(
    source: Subject, target: Subject, ours: Sequence[str], theirs: Sequence[str], verb: str, names: tuple[str, str]
) -> dict[str, str]:
    outside = {_outside(target, name): name for name in theirs}
    same = len(outside) == len(theirs) and set(outside) == {_outside(source, name) for name in ours}
    found = {
        name: outside[_outside(source, name)] if same else other for name, other in zip(ours, theirs, strict=False)
    }
    fits = len(ours) == len(theirs) and all(
        _fit(source.program.values[a], target.program.values[b]) for a, b in found.items()
    )
    if not fits:
        raise SpecError(
            f"{names[0]} {verb} {_told(source, ours)}, and {names[1]} {_told(target, theirs)}: "
            "they cannot compute the same"
        )
    return found


def _outside(subject: Subject, name: str) -> str:
    return subject.called.get(name, name)


def _told(subject: Subject, names: Sequence[str]) -> str:
    words = []
    for name in names:
        value = subject.program.values[name]
        lengths = [
            "batch" if k == 0 and n is None else "any" if n is None else str(n) for k, n in enumerate(value.shape)
        ]
        if subject.one_call:
            lengths = lengths[1:]
        words.append(f"{_outside(subject, name)} {value.kind} ({', '.join(lengths)})")
    return ", ".join(words)


def _fit(ours: Value, theirs: Value) -> bool:
    kinds = {ours.kind, theirs.kind}
    a, b = ours.shape, _seen(theirs.shape, len(ours.shape))
    same = len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))
    return same and (len(kinds) == 1 or kinds == {"int", "float"})


def _seen(shape: Shape, rank: int) -> Shape:
    """A shape of that rank: of a model that takes one call at a time, calls are the samples where a call has one."""
    if len(shape) == rank + 1:
        return (shape[0] if shape[1] == 1 else shape[1], *shape[2:])
    if len(shape) == rank - 1:
        return (shape[0], 1, *shape[1:])
    return shape


def _fitted(array: Array, shape: Shape) -> Array:
    if len(shape) == array.ndim + 1:
        return array[:, None] if shape[1] == 1 else array[None]
    if len(shape) == array.ndim - 1:
        return array[:, 0]
    return array


def _unfitted(array: Array, rank: int) -> Array:
    if array.ndim == rank + 1:
        return array[:, 0] if array.shape[1] == 1 else array[0]
    if array.ndim == rank - 1:
        return np.asarray(array[:, None])
    return array
