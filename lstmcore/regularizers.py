"""Keras' regularisers: what a weight, or an output, adds to the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from lstmcore import configs, ops
from lstmcore.errors import SpecError
from lstmcore.formulas import Term
from lstmcore.naming import snake
from lstmcore.program import Builder, Value


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

    def lower(self, build: Builder, x: Value) -> Value:
        """The formula's number for a weight or an output, shape (); an output's the layer divides by the batch size."""
        return self.penalty(Term(build, x)).value

    def penalty(self, x: Term) -> Term:
        """The formula."""
        raise NotImplementedError


@dataclass(frozen=True)
class L1(Regularizer):
    """l1 Σ |w|"""

    l1: float = 0.01

    def penalty(self, x: Term) -> Term:
        return float(self.l1) * abs(x).total()


@dataclass(frozen=True)
class L2(Regularizer):
    """l2 Σ w²"""

    l2: float = 0.01

    def penalty(self, x: Term) -> Term:
        return float(self.l2) * x.unary("square").total()


@dataclass(frozen=True)
class L1L2(Regularizer):
    """l1 Σ |w| + l2 Σ w². By name (``"l1_l2"``) both factors are 0.01, as in Keras 2; Keras 3.15 has no such name."""

    l1: float = 0.0
    l2: float = 0.0

    def penalty(self, x: Term) -> Term:
        parts = [L1(self.l1).penalty(x)] if self.l1 or not self.l2 else []
        parts += [L2(self.l2).penalty(x)] if self.l2 else []
        return parts[0] + parts[1] if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class OrthogonalRegularizer(Regularizer):
    """factor times the mean of |cos| between different rows, or columns, of a matrix.

    A length below 1e-7 counts as 1e-7. Of a single row or column it is 0; Keras 3.15 gives NaN.
    """

    factor: float = 0.01
    mode: str = "rows"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("rows", "columns"):
            raise SpecError(f"OrthogonalRegularizer: mode is {self.mode!r}; expected 'rows' or 'columns'")

    def penalty(self, x: Term) -> Term:
        if x.rank != 2:
            raise SpecError(f"OrthogonalRegularizer: given shape {x.value.shape}; expected a matrix")
        row = "ab" if self.mode == "rows" else "ba"
        count = x.value.shape[row.index("a")]
        if count is None:
            raise SpecError(f"OrthogonalRegularizer: the {self.mode} of shape {x.value.shape} must be a known number")
        inverse = x.apply(ops.Einsum(f"{row},{row}->a"), x).maximum(1e-14).unary("rsqrt")
        products = x.apply(ops.Einsum(f"{row},{row.replace('a', 'c')}->ac"), x)
        cosines = abs(products.apply(ops.Einsum("ac,a->ac"), inverse) * inverse)
        later = cosines.term(0.0).where(cosines.apply(ops.Causal()), cosines)  # each pair once, and none with itself
        return float(self.factor) / max(count * (count - 1) / 2, 1.0) * later.total()


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
