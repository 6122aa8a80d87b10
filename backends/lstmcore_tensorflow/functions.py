"""The activation functions in TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from lstmcore.activations import Function

Tensor = Any  # tensorflow ships no type information


def relu(x: Tensor, negative_slope: float, max_value: float | None, threshold: float) -> Tensor:
    below = negative_slope * (x - threshold) if negative_slope else tf.zeros_like(x)
    y = tf.where(x <= threshold, below, x)
    return y if max_value is None else tf.minimum(y, max_value)


def gelu(x: Tensor, approximate: bool) -> Tensor:
    # tf.nn.gelu computes with constants of float32, in float64 too (2.21, measured).
    if approximate:
        return x / 2 * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    # At ±6 erf is ±1 to the last place; at infinity tf.math.erf is NaN in float64 (2.21, measured).
    return x / 2 * (1 + tf.math.erf(tf.clip_by_value(x / math.sqrt(2), -6, 6)))


def softmax(x: Tensor, axis: int) -> Tensor:
    # tf.nn.softmax turns a NaN into zeros (2.21, measured).
    powers = tf.exp(x - tf.reduce_max(x, axis, keepdims=True))
    return powers / tf.reduce_sum(powers, axis, keepdims=True)


def log_softmax(x: Tensor, axis: int) -> Tensor:
    shifted = x - tf.reduce_max(x, axis, keepdims=True)
    return shifted - tf.math.log(tf.reduce_sum(tf.exp(shifted), axis, keepdims=True))


def glu(x: Tensor, axis: int) -> Tensor:
    value, gate = tf.split(x, 2, axis)
    return value * tf.sigmoid(gate)


def sparsemax(x: Tensor, axis: int) -> Tensor:
    rank = x.shape.rank
    swap = [*range(rank)]
    swap[axis], swap[-1] = swap[-1], swap[axis]
    z = tf.transpose(x, swap)
    ordered = tf.sort(z, direction="DESCENDING")
    excess = tf.cumsum(ordered, -1) - 1
    places = tf.range(1, tf.shape(z)[-1] + 1)
    inside = tf.cast(ordered * tf.cast(places, x.dtype) > excess, tf.int32)
    support = tf.maximum(tf.reduce_sum(inside, -1, keepdims=True), 1)
    tau = tf.gather(excess, support - 1, batch_dims=rank - 1) / tf.cast(support, x.dtype)
    return tf.transpose(tf.maximum(z - tau, 0), swap)


def zero_where(condition: Tensor, x: Tensor) -> Tensor:
    return tf.where(condition, tf.zeros_like(x), x)


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "celu": lambda x, alpha: tf.where(x >= 0, x, alpha * tf.math.expm1(tf.minimum(x, 0) / alpha)),
        "elu": lambda x, alpha: tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0))),
        "exponential": tf.exp,
        "gelu": gelu,
        "glu": glu,
        "hard_shrink": lambda x, threshold: zero_where(tf.abs(x) <= threshold, x),
        # tf.clip_by_value passes the gradient on at its bounds, tf.nn.relu6 does not.
        "hard_sigmoid": lambda x: tf.nn.relu6(x + 3) / 6,
        "hard_sigmoid_0_2": lambda x: tf.clip_by_value(0.2 * x + 0.5, 0, 1),
        "hard_silu": lambda x: x * tf.nn.relu6(x + 3) / 6,
        "hard_tanh": lambda x: tf.clip_by_value(x, -1, 1),
        "leaky_relu": lambda x, negative_slope: tf.where(x > 0, x, negative_slope * x),
        "linear": lambda x: x,
        "log_sigmoid": tf.math.log_sigmoid,
        "log_softmax": log_softmax,
        "mish": lambda x: x * tf.tanh(tf.math.softplus(x)),
        "relu": relu,
        "relu6": tf.nn.relu6,
        "selu": tf.nn.selu,
        "sigmoid": tf.sigmoid,
        "silu": lambda x: x * tf.sigmoid(x),
        "soft_shrink": lambda x, threshold: x - tf.clip_by_value(x, -threshold, threshold),
        "softmax": softmax,
        "softplus": tf.math.softplus,
        "softsign": tf.nn.softsign,
        "sparse_plus": lambda x: tf.where(x >= 1, x, tf.square(tf.maximum(x, -1) + 1) / 4),
        "sparse_sigmoid": lambda x: tf.where(tf.abs(x) < 1, x + 1, tf.sign(x) + 1) / 2,
        "sparsemax": sparsemax,
        "squareplus": lambda x, b: (x + tf.sqrt(tf.square(x) + b)) / 2,
        "tanh": tf.tanh,
        "tanh_shrink": lambda x: x - tf.tanh(x),
        "threshold": lambda x, threshold, default_value: tf.where(
            x <= threshold, tf.fill(tf.shape(x), tf.constant(default_value, x.dtype)), x
        ),
    }
)


def apply(function: Function, x: Tensor) -> Tensor:
    return FUNCTIONS[function.name](x, **function.parameters)
