"""Keras' constraints: the set onto which a weight is projected after each training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lstmcore import configs
from lstmcore.naming import snake

Axes = int | list[int] | tuple[int, ...]


@dataclass(frozen=True)
class Constraint:
    """Base of the constraints."""


@dataclass(frozen=True)
class MaxNorm(Constraint):
    """Norms over ``axis`` are at most ``max_value``."""

    max_value: float = 2
    axis: Axes = 0


@dataclass(frozen=True)
class NonNeg(Constraint):
    """No entry is negative."""


@dataclass(frozen=True)
class UnitNorm(Constraint):
    """Norms over ``axis`` are 1."""

    axis: Axes = 0


@dataclass(frozen=True)
class MinMaxNorm(Constraint):
    """Norms over ``axis`` move by ``rate`` of the way into [min_value, max_value]."""

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: Axes = 0


_CLASSES: tuple[type[Constraint], ...] = (MaxNorm, NonNeg, UnitNorm, MinMaxNorm)
CONSTRAINTS: dict[str, type[Constraint]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{snake(cls.__name__): cls for cls in _CLASSES},
}


def get(identifier: object) -> Constraint | None:
    """A constraint from None, an object, a name or Keras' serialized form."""
    return None if identifier is None else configs.read(identifier, CONSTRAINTS, "constraint")


def serialize(constraint: Constraint | None) -> dict[str, Any] | None:
    """Keras' serialized form."""
    return None if constraint is None else configs.write("keras.constraints", constraint)
