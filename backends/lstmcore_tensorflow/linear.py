"""Products with weights and with each other in TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from lstmcore import ops
from lstmcore.contract import Facts

Tensor = Any  # tensorflow ships no type information
Weights = Mapping[str, Tensor]


def affine(op: ops.Affine, w: Weights, x: Tensor) -> tuple[Tensor]:
    y = tf.tensordot(x, w["kernel"], 1)
    return (y + w["bias"] if op.use_bias else y,)


def embed(op: ops.Embed, w: Weights, ids: Tensor) -> tuple[Tensor]:
    return (tf.gather(w["embeddings"], ids),)


def einsum(op: ops.Einsum, w: Weights, x: Tensor, other: Tensor) -> tuple[Tensor]:
    return (tf.einsum(op.equation, x, other),)


def dense_window(op: ops.Conv, facts: Facts) -> bool:
    """groups 1 and dilation 1"""
    return op.groups == 1 and op.dilation == 1


def conv(op: ops.Conv, w: Weights, x: Tensor) -> tuple[Tensor]:
    # Its groups and dilations have no gradient on the CPU (2.21, measured).
    if op.padding == "causal":
        x = tf.pad(x, ((0, 0), (op.size - 1, 0), (0, 0)))
    y = tf.nn.conv1d(x, w["kernel"], op.strides, "SAME" if op.padding == "same" else "VALID")
    return (tf.nn.bias_add(y, w["bias"]) if op.use_bias else y,)


def conv_by_taps(op: ops.Conv, w: Weights, x: Tensor) -> tuple[Tensor]:
    """The sum over the taps k: the steps that tap k meets, times ``kernel[k]``, group by group."""
    steps = x.shape[1] or tf.shape(x)[1]
    reach = op.dilation * (op.size - 1)
    count, left = (steps + (reach if op.padding == "causal" else 0) - reach - 1) // op.strides + 1, 0
    if op.padding == "causal":
        left = reach
    elif op.padding == "same":
        count = -(-steps // op.strides)
        left = tf.maximum((count - 1) * op.strides + reach + 1 - steps, 0) // 2
    span = (count - 1) * op.strides + 1
    # Zeros enough for every padding: the slices below end where the last window does.
    x = tf.pad(x, ((0, 0), (left, reach), (0, 0)))
    kernel = tf.reshape(w["kernel"], (op.size, -1, op.groups, op.filters // op.groups))
    y = 0
    for k in range(op.size):
        met = x[:, k * op.dilation : k * op.dilation + span : op.strides]
        apart = tf.reshape(met, (tf.shape(met)[0], count, op.groups, kernel.shape[1]))
        y += tf.einsum("btgi,igo->btgo", apart, kernel[k])
    y = tf.reshape(y, (tf.shape(x)[0], count, op.filters))
    return (y + w["bias"] if op.use_bias else y,)
