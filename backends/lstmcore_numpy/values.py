"""Values from nowhere, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops

Array = NDArray[Any]
Weights = Mapping[str, Array]


def constant(op: ops.Constant, w: Weights, like: Array) -> tuple[Array]:
    return (np.array(op.values, like.dtype).reshape(op.shape),)


def parameter(op: ops.Parameter, w: Weights) -> tuple[Array]:
    return (w["value"],)


def zeros(op: ops.Zeros, w: Weights, like: Array) -> tuple[Array]:
    return (np.zeros((like.shape[0], *op.shape), like.dtype),)
