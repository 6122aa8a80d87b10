"""Values from nowhere, and from ids, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore_numpy.gradients import Vjp, nothing, pulling

Array = NDArray[Any]
Weights = Mapping[str, Array]


def constant(op: ops.Constant, w: Weights, like: Array) -> tuple[Array]:
    return (np.array(op.values, like.dtype).reshape(op.shape),)


pull_constant = pulling(constant, nothing)


def parameter(op: ops.Parameter, w: Weights) -> tuple[Array]:
    return (w["value"],)


def pull_parameter(op: ops.Parameter, w: Weights) -> tuple[tuple[Array], Vjp]:
    return parameter(op, w), lambda dy: ({"value": dy}, ())


def zeros(op: ops.Zeros, w: Weights, like: Array) -> tuple[Array]:
    return (np.zeros((like.shape[0], *op.shape), like.dtype),)


pull_zeros = pulling(zeros, nothing)


def one_hot(op: ops.OneHot, w: Weights, x: Array, like: Array) -> tuple[Array]:
    return ((x[..., None] == np.arange(op.depth)).astype(like.dtype),)


pull_one_hot = pulling(one_hot, nothing)
