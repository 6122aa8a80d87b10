"""Numbers in other places, in NumPy: views where that can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore_numpy.gradients import pulling

Array = NDArray[Any]
Weights = Mapping[str, Array]


def reshape(op: ops.Reshape, w: Weights, x: Array) -> tuple[Array]:
    return (x.reshape(x.shape[0], *op.shape),)


pull_reshape = pulling(reshape, lambda op, dy, x: (dy.reshape(x.shape),))


def transpose(op: ops.Transpose, w: Weights, x: Array) -> tuple[Array]:
    return (x.transpose(op.axes),)


pull_transpose = pulling(transpose, lambda op, dy, x: (dy.transpose(np.argsort(op.axes)),))


def reverse(op: ops.Reverse, w: Weights, x: Array) -> tuple[Array]:
    return (x[:, ::-1],)


pull_reverse = pulling(reverse, lambda op, dy, x: (dy[:, ::-1],))


def last(op: ops.Last, w: Weights, x: Array) -> tuple[Array]:
    return (x[:, -1],)


def _put(dy: Array, x: Array, part: tuple[Any, ...]) -> Array:
    """The gradient of x where ``x[part]`` was taken."""
    dx = np.zeros(x.shape, dy.dtype)
    dx[part] = dy
    return dx


pull_last = pulling(last, lambda op, dy, x: (_put(dy, x, (slice(None), -1)),))


def concat(op: ops.Concat, w: Weights, *inputs: Array) -> tuple[Array]:
    return (np.concatenate(inputs, op.axis),)


def _apart(op: ops.Concat, dy: Array, *inputs: Array) -> tuple[Array, ...]:
    ends = np.cumsum([x.shape[op.axis] for x in inputs])[:-1]
    return tuple(np.split(dy, ends, op.axis))


pull_concat = pulling(concat, _apart)


def _part(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, slice(start, stop))


def slice_(op: ops.Slice, w: Weights, x: Array) -> tuple[Array]:
    return (x[_part(op.axis, op.start, op.stop)],)


pull_slice = pulling(slice_, lambda op, dy, x: (_put(dy, x, _part(op.axis, op.start, op.stop)),))


def pad(op: ops.Pad, w: Weights, x: Array) -> tuple[Array]:
    length = x.shape[op.axis]
    y = np.zeros((*x.shape[: op.axis], op.before + length + op.after, *x.shape[op.axis + 1 :]), x.dtype)
    y[_part(op.axis, op.before, op.before + length)] = x
    return (y,)


pull_pad = pulling(pad, lambda op, dy, x: (dy[_part(op.axis, op.before, op.before + x.shape[op.axis])],))


def repeat(op: ops.Repeat, w: Weights, x: Array) -> tuple[Array]:
    return (np.repeat(x, op.times, op.axis),)


def _gathered(op: ops.Repeat, dy: Array, x: Array) -> tuple[Array]:
    return (dy.reshape(*x.shape[: op.axis + 1], op.times, *x.shape[op.axis + 1 :]).sum(op.axis + 1),)


pull_repeat = pulling(repeat, _gathered)


def fold(op: ops.Fold, w: Weights, x: Array) -> tuple[Array]:
    return (x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]),)


pull_fold = pulling(fold, lambda op, dy, x: (dy.reshape(x.shape),))


def unfold(op: ops.Unfold, w: Weights, x: Array, like: Array) -> tuple[Array]:
    return (x.reshape(*like.shape[:2], *x.shape[1:]),)


pull_unfold = pulling(unfold, lambda op, dy, x, like: (dy.reshape(x.shape), None))
