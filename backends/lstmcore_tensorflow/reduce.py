"""The ops that take many numbers together, and the causal mask, in TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from lstmcore import ops

Tensor = Any
Weights = Mapping[str, Tensor]

REDUCTIONS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "all": tf.reduce_all,
        "any": tf.reduce_any,
        "max": tf.reduce_max,
        "mean": tf.reduce_mean,
        "min": tf.reduce_min,
        "sum": tf.reduce_sum,
    }
)


def reduce(op: ops.Reduce, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (REDUCTIONS[op.function](x, op.axes, op.keepdims),)


def total(op: ops.Total, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (REDUCTIONS[op.function](x, tuple(range(len(x.shape) - op.kept))),)


def pool(op: ops.Pool, w: Weights, x: Tensor) -> tuple[Tensor]:
    padding = op.padding.upper()
    if op.function == "mean":
        return (tf.nn.avg_pool1d(x, op.size, op.strides, padding),)
    # tf.nn.max_pool1d passes over a NaN, and makes -inf the least finite number (2.21, measured).
    steps = x.shape[1] or tf.shape(x)[1]
    count = (steps - op.size) // op.strides + 1
    if op.padding == "same":
        count = -(-steps // op.strides)
        missing = tf.maximum((count - 1) * op.strides + op.size - steps, 0)
        around = ((0, 0), (missing // 2, missing - missing // 2), (0, 0))
        x = tf.pad(x, around, constant_values=-math.inf)
    windows = tf.range(count)[:, None] * op.strides + tf.range(op.size)
    return (tf.reduce_max(tf.gather(x, windows, axis=1), 2),)


def causal(op: ops.Causal, w: Weights, x: Tensor) -> tuple[Tensor]:
    shape = tf.shape(x)
    q, k = tf.range(shape[-2]), tf.range(shape[-1])
    return (tf.ensure_shape(tf.broadcast_to(k <= q[:, None], shape), x.shape),)
