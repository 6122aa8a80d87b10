"""Keras' regularisers: what a weight, or an output, adds to the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from lstmcore import configs
from lstmcore.errors import SpecError
from lstmcore.naming import snake


@dataclass(frozen=True)
class Regularizer:
    """Base of the regularisers; every number is a finite, non-negative factor."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type != "float":
                continue
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


@dataclass(frozen=True)
class OrthogonalRegularizer(Regularizer):
    """factor times the mean of |cos| between different rows, or columns, of a matrix."""

    factor: float = 0.01
    mode: str = "rows"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("rows", "columns"):
            raise SpecError(f"OrthogonalRegularizer: mode is {self.mode!r}; expected 'rows' or 'columns'")


_CLASSES: tuple[type[Regularizer], ...] = (L1, L2, L1L2, OrthogonalRegularizer)
REGULARIZERS: dict[str, type[Regularizer]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{snake(cls.__name__): cls for cls in _CLASSES},
}


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
