"""Many numbers to fewer, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore_numpy.gradients import Vjp, column_sums, nothing, pulling
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


def pull_reduce(op: ops.Reduce, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    """Where several entries are the max or the min, they share the gradient evenly (TensorFlow, measured)."""
    (y,) = reduce(op, w, x)

    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[Array | None]]:
        kept = [1 if axis in op.axes else n for axis, n in enumerate(x.shape)]
        dy = dy.reshape(kept)
        if op.function in ("any", "all"):
            return {}, (None,)
        if op.function == "mean":
            dy = dy * x.dtype.type(y.size / x.size)
        if op.function in ("max", "min"):
            found = x == y.reshape(kept)
            return {}, (found * (dy / found.sum(op.axes, keepdims=True, dtype=x.dtype)),)
        return {}, (np.broadcast_to(dy, x.shape),)

    return (y,), vjp


def total(op: ops.Total, w: Weights, x: Array) -> tuple[Array]:
    if not op.kept:
        return (np.asarray(REDUCE[op.function](x)),)
    shape = x.shape[x.ndim - op.kept :]
    rows = x.reshape(-1, math.prod(shape))
    sums = column_sums(rows).reshape(shape)
    return (sums / x.dtype.type(len(rows)) if op.function == "mean" else sums,)


def pull_total(op: ops.Total, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[Array]]:
        share = dy / x.dtype.type(x.size // dy.size) if op.function == "mean" else dy
        return {}, (np.broadcast_to(share, x.shape),)

    return total(op, w, x), vjp


def pool(op: ops.Pool, w: Weights, x: Array) -> tuple[Array]:
    meet = POOL[op.function][1]
    seen, span, _ = _windows(op, x)
    y = seen[:, : span : op.strides].copy()
    for k in range(1, op.size):
        meet(y, seen[:, k : k + span : op.strides], out=y)
    if op.function == "mean":
        y /= _counts(op, x)
    return (y,)


def _windows(op: ops.Pool, x: Array) -> tuple[Array, int, int]:
    """(x padded, how far its windows' first entries reach, how much of the padding comes first)."""
    batch, time, channels = x.shape
    steps, left, right = fitting(op, time)
    if left or right:
        padded = np.full((batch, left + time + right, channels), POOL[op.function][0], x.dtype)
        padded[:, left : left + time] = x
        x = padded
    return x, (steps - 1) * op.strides + 1, left


def _counts(op: ops.Pool, x: Array) -> Array:
    """How many entries within x each window has, (T', 1)."""
    time = x.shape[1]
    steps, left, _ = fitting(op, time)
    starts = np.arange(steps) * op.strides - left
    inside = np.minimum(starts + op.size, time) - np.maximum(starts, 0)
    return np.asarray(inside.astype(x.dtype)[:, None])


def pull_pool(op: ops.Pool, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    """Of several entries that are a window's max, the first has the gradient (TensorFlow, measured)."""
    (y,) = pool(op, w, x)

    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[Array]]:
        seen, span, left = _windows(op, x)
        dx = np.zeros(seen.shape, dy.dtype)
        share = dy / _counts(op, x) if op.function == "mean" else dy
        open_ = np.ones(y.shape, bool)  # windows whose max has not come yet
        for k in range(op.size):
            part = (slice(None), slice(k, k + span, op.strides))
            if op.function == "max":
                hit = open_ & (seen[part] == y)
                open_ &= ~hit
                share = np.where(hit, dy, np.zeros_like(dy))
            dx[part] += share
        return {}, (dx[:, left : left + x.shape[1]],)

    return (y,), vjp


def causal(op: ops.Causal, w: Weights, x: Array) -> tuple[Array]:
    queries, keys = x.shape[-2:]
    return (np.broadcast_to(np.arange(keys) <= np.arange(queries)[:, None], x.shape),)


pull_causal = pulling(causal, nothing)
