"""Keras' regularisers: what a weight, or an output, adds to the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from lstmcore import configs
from lstmcore.errors import SpecError


@dataclass(frozen=True)
class Regularizer:
    """Base of the regularisers; every argument is a finite, non-negative factor."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise SpecError(f"{type(self).__name__}: {f.name} is {value!r}; expected a number >= 0")


@dataclass(frozen=True)
class L1(Regularizer):
    """l1 Σ |w|"""

    l1: float = 0.01


@dataclass(frozen=True)
class L2(Regularizer):
    """l2 Σ w²"""

    l2: float = 0.01


@dataclass(frozen=True)
class L1L2(Regularizer):
    """l1 Σ |w| + l2 Σ w². By name (``"l1_l2"``) both factors are 0.01, as in Keras."""

    l1: float = 0.0
    l2: float = 0.0


REGULARIZERS: dict[str, type[Regularizer]] = {"L1": L1, "l1": L1, "L2": L2, "l2": L2, "L1L2": L1L2}


def get(identifier: object) -> Regularizer | None:
    """A regulariser from None, an object, a name or Keras' serialized form."""
    if identifier is None:
        return None
    if identifier == "l1_l2":
        return L1L2(0.01, 0.01)
    return configs.read(identifier, REGULARIZERS, "regularizer")


def serialize(regularizer: Regularizer | None) -> dict[str, Any] | None:
    """Keras' serialized form."""
    return None if regularizer is None else configs.write("keras.regularizers", regularizer)
