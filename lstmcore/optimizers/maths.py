"""The few functions, besides Python's operators, with which the optimisers are written.

An engine lends its own; `NUMPY` are NumPy's, the core's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

Tensor = Any  # an engine's


class Maths(Protocol):
    """Functions on an engine's tensors; each keeps the dtype that it is given."""

    def sqrt(self, x: Tensor, /) -> Tensor:
        """The square root of each entry."""

    def absolute(self, x: Tensor, /) -> Tensor:
        """|x| of each entry."""

    def maximum(self, x: Tensor, y: Tensor, /) -> Tensor:
        """The larger of each two entries, NaN where either is; broadcasts."""

    def sum(self, x: Tensor, /) -> Tensor:
        """The sum of all entries: a 0-d tensor."""

    def sum_along(self, x: Tensor, axes: tuple[int, ...], /) -> Tensor:
        """The sum over these axes, which keep length 1; axes may be negative."""

    def clip(self, x: Tensor, low: float, high: float, /) -> Tensor:
        """min(max(x, low), high) of each entry, NaN where x is."""

    def where(self, condition: Tensor, x: Tensor, y: Tensor, /) -> Tensor:
        """x where the condition holds, else y; broadcasts."""


class NumpyMaths:
    """`Maths` for NumPy arrays."""

    def sqrt(self, x: Tensor, /) -> Tensor:
        return np.sqrt(x)

    def absolute(self, x: Tensor, /) -> Tensor:
        return np.abs(x)

    def maximum(self, x: Tensor, y: Tensor, /) -> Tensor:
        return np.maximum(x, y)

    def sum(self, x: Tensor, /) -> Tensor:
        return np.sum(x)

    def sum_along(self, x: Tensor, axes: tuple[int, ...], /) -> Tensor:
        return np.sum(x, axes, keepdims=True)

    def clip(self, x: Tensor, low: float, high: float, /) -> Tensor:
        return np.clip(x, low, high)

    def where(self, condition: Tensor, x: Tensor, y: Tensor, /) -> Tensor:
        return np.where(condition, x, y)


NUMPY = NumpyMaths()


def numpy_scalars(scalars: Mapping[str, float], dtype: Any) -> dict[str, Tensor]:
    """What `Optimizer.scalars` gives, as 0-d arrays of `dtype`."""
    return {name: np.asarray(value, dtype) for name, value in scalars.items()}
