"""Keras' constraints: the set onto which a weight is projected after each training step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from lstmcore import configs
from lstmcore.errors import SpecError
from lstmcore.naming import snake

if TYPE_CHECKING:
    from lstmcore.optimizers.maths import Maths, Tensor

Axes = int | list[int] | tuple[int, ...] | None
EPSILON = 1e-7  # keras.config.epsilon()


@dataclass(frozen=True)
class Constraint:
    """Base of the constraints. Norms are those over ``axis``, one or several, None for all: √Σ w².

    A constraint of your own is a frozen dataclass with `project`.
    """

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "axis":
                if value is not None and not all(type(axis) is int for axis in _several(value)):
                    raise SpecError(f"{type(self).__name__}: axis is {value!r}; expected an axis, or a list of them")
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise SpecError(f"{type(self).__name__}: {f.name} is {value!r}; expected a number >= 0")

    def project(self, maths: Maths, weight: Tensor) -> Tensor:
        """What the weight becomes: an engine's tensors, in Python's operators and `maths`."""
        raise NotImplementedError

    def check(self, called: str, shape: tuple[int, ...]) -> None:
        """SpecError where a weight of that shape has not the axes that norms are taken over."""
        axis = getattr(self, "axis", None)
        rank = len(shape)
        axes = [] if axis is None else _several(axis)
        if not all(-rank <= k < rank for k in axes) or len({k % rank for k in axes}) < len(axes):
            raise SpecError(f"{called} is {self}; expected different axes of the weight's shape {shape}")

    def _norms(self, maths: Maths, weight: Tensor) -> Tensor:
        axis: Axes = getattr(self, "axis")  # noqa: B009  those that have norms have the option
        axes = range(len(weight.shape)) if axis is None else _several(axis)
        return maths.sqrt(maths.sum_along(weight * weight, tuple(axes)))


def _several(axis: Any) -> tuple[Any, ...]:
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


@dataclass(frozen=True)
class MaxNorm(Constraint):
    """Norms are at most ``max_value``: ``w min(norm, max_value) / (norm + 1e-7)``."""

    max_value: float = 2
    axis: Axes = 0

    def project(self, maths: Maths, weight: Tensor) -> Tensor:
        norms = self._norms(maths, weight)
        return weight * (maths.clip(norms, 0.0, float(self.max_value)) / (norms + EPSILON))


@dataclass(frozen=True)
class NonNeg(Constraint):
    """No entry is negative: ``max(w, 0)``."""

    def project(self, maths: Maths, weight: Tensor) -> Tensor:
        return maths.clip(weight, 0.0, float("inf"))


@dataclass(frozen=True)
class UnitNorm(Constraint):
    """Norms are 1: ``w / (norm + 1e-7)``."""

    axis: Axes = 0

    def project(self, maths: Maths, weight: Tensor) -> Tensor:
        return weight / (self._norms(maths, weight) + EPSILON)


@dataclass(frozen=True)
class MinMaxNorm(Constraint):
    """Norms move by ``rate`` of the way into [min_value, max_value].

    ``w (rate clip(norm, min_value, max_value) + (1 - rate) norm) / (norm + 1e-7)``
    """

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: Axes = 0

    def project(self, maths: Maths, weight: Tensor) -> Tensor:
        norms = self._norms(maths, weight)
        clipped = maths.clip(norms, float(self.min_value), float(self.max_value))
        return weight * ((clipped * float(self.rate) + norms * (1.0 - self.rate)) / (norms + EPSILON))


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
