"""The ops that only move numbers, in TensorFlow; open lengths are read when the graph runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from lstmcore import ops

Tensor = Any
Weights = Mapping[str, Tensor]


def lengths(x: Tensor) -> list[Any]:
    """The length of each axis: a number where it is known, else a tensor."""
    dynamic = tf.shape(x)
    return [dynamic[axis] if n is None else n for axis, n in enumerate(x.shape)]


def reshape(op: ops.Reshape, w: Weights, x: Tensor) -> tuple[Tensor]:
    entries = x.shape[1:].num_elements()  # None where a length is open
    target = list(op.shape)
    if entries is not None and -1 in target:
        target[target.index(-1)] = entries // math.prod(n for n in target if n != -1)
    return (tf.reshape(x, (tf.shape(x)[0], *target)),)


def transpose(op: ops.Transpose, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (tf.transpose(x, op.axes),)


def reverse(op: ops.Reverse, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (tf.reverse(x, (1,)),)


def last(op: ops.Last, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x[:, -1],)


def concat(op: ops.Concat, w: Weights, *parts: Tensor) -> tuple[Tensor]:
    return (tf.concat(parts, op.axis),)


def cut(op: ops.Slice, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x[(slice(None),) * op.axis + (slice(op.start, op.stop),)],)


def pad(op: ops.Pad, w: Weights, x: Tensor) -> tuple[Tensor]:
    around = [(op.before, op.after) if axis == op.axis else (0, 0) for axis in range(x.shape.rank)]
    return (tf.pad(x, around, constant_values=False if x.dtype == tf.bool else 0),)


def repeat(op: ops.Repeat, w: Weights, x: Tensor) -> tuple[Tensor]:
    known = x.shape.as_list()
    known[op.axis] = known[op.axis] and known[op.axis] * op.times
    return (tf.ensure_shape(tf.repeat(x, op.times, op.axis), known),)


def fold(op: ops.Fold, w: Weights, x: Tensor) -> tuple[Tensor]:
    batch, steps, *rest = lengths(x)
    return (tf.reshape(x, (batch * steps, *rest)),)


def unfold(op: ops.Unfold, w: Weights, x: Tensor, like: Tensor) -> tuple[Tensor]:
    return (tf.reshape(x, (*lengths(like)[:2], *lengths(x)[1:])),)
