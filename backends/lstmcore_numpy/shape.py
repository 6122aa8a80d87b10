"""Numbers in other places, in NumPy: views where that can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops

Array = NDArray[Any]
Weights = Mapping[str, Array]


def reshape(op: ops.Reshape, w: Weights, x: Array) -> tuple[Array]:
    return (x.reshape(x.shape[0], *op.shape),)


def transpose(op: ops.Transpose, w: Weights, x: Array) -> tuple[Array]:
    return (x.transpose(op.axes),)


def reverse(op: ops.Reverse, w: Weights, x: Array) -> tuple[Array]:
    return (x[:, ::-1],)


def last(op: ops.Last, w: Weights, x: Array) -> tuple[Array]:
    return (x[:, -1],)


def concat(op: ops.Concat, w: Weights, *inputs: Array) -> tuple[Array]:
    return (np.concatenate(inputs, op.axis),)


def _part(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, slice(start, stop))


def slice_(op: ops.Slice, w: Weights, x: Array) -> tuple[Array]:
    return (x[_part(op.axis, op.start, op.stop)],)


def pad(op: ops.Pad, w: Weights, x: Array) -> tuple[Array]:
    length = x.shape[op.axis]
    y = np.zeros((*x.shape[: op.axis], op.before + length + op.after, *x.shape[op.axis + 1 :]), x.dtype)
    y[_part(op.axis, op.before, op.before + length)] = x
    return (y,)


def repeat(op: ops.Repeat, w: Weights, x: Array) -> tuple[Array]:
    return (np.repeat(x, op.times, op.axis),)


def fold(op: ops.Fold, w: Weights, x: Array) -> tuple[Array]:
    return (x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]),)


def unfold(op: ops.Unfold, w: Weights, x: Array, like: Array) -> tuple[Array]:
    return (x.reshape(*like.shape[:2], *x.shape[1:]),)
