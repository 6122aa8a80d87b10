"""Many numbers to fewer, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore_numpy.linear import fitting

Array = NDArray[Any]
Weights = Mapping[str, Array]

REDUCE: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {"all": np.all, "any": np.any, "max": np.max, "mean": np.mean, "min": np.min, "sum": np.sum}
)

# What padding must be to have no influence, and how two windows' entries meet.
POOL: Mapping[str, tuple[float, np.ufunc]] = MappingProxyType({"max": (-np.inf, np.maximum), "mean": (0, np.add)})


def reduce(op: ops.Reduce, w: Weights, x: Array) -> tuple[Array]:
    return (np.asarray(REDUCE[op.function](x, op.axes, keepdims=op.keepdims)),)


def pool(op: ops.Pool, w: Weights, x: Array) -> tuple[Array]:
    neutral, meet = POOL[op.function]
    batch, time, channels = x.shape
    steps, left, right = fitting(op, time)
    if left or right:
        padded = np.full((batch, left + time + right, channels), neutral, x.dtype)
        padded[:, left : left + time] = x
        x = padded
    span = (steps - 1) * op.strides + 1
    y = x[:, : span : op.strides].copy()
    for k in range(1, op.size):
        meet(y, x[:, k : k + span : op.strides], out=y)
    if op.function == "mean":
        starts = np.arange(steps) * op.strides - left
        y /= (np.minimum(starts + op.size, time) - np.maximum(starts, 0)).astype(x.dtype)[:, None]
    return (y,)


def causal(op: ops.Causal, w: Weights, x: Array) -> tuple[Array]:
    queries, keys = x.shape[-2:]
    return (np.broadcast_to(np.arange(keys) <= np.arange(queries)[:, None], x.shape),)
