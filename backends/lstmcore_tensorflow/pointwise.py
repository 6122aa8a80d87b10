"""The pointwise ops in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from lstmcore import ops
from lstmcore_tensorflow.functions import apply

Tensor = Any
Weights = Mapping[str, Tensor]

UNARY: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "abs": tf.abs,
        "cos": tf.cos,
        "exp": tf.exp,
        "log": tf.math.log,
        "negative": tf.negative,
        "not": tf.logical_not,
        "reciprocal": tf.math.reciprocal,
        "rsqrt": tf.math.rsqrt,
        "sin": tf.sin,
        "sqrt": tf.sqrt,
        "square": tf.square,
    }
)
BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "add": tf.add,
        "and": tf.logical_and,
        "divide": tf.divide,
        "equal": tf.equal,
        "less": tf.less,
        "less_equal": tf.less_equal,
        "maximum": tf.maximum,
        "minimum": tf.minimum,
        "multiply": tf.multiply,
        "or": tf.logical_or,
        "power": tf.pow,
        "subtract": tf.subtract,
    }
)


def activate(op: ops.Activate, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (apply(op.function, x),)


def unary(op: ops.Unary, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (UNARY[op.function](x),)


def binary(op: ops.Binary, w: Weights, x: Tensor, other: Tensor) -> tuple[Tensor]:
    return (BINARY[op.function](x, other),)


def select(op: ops.Select, w: Weights, condition: Tensor, x: Tensor, other: Tensor) -> tuple[Tensor]:
    return (tf.where(condition, x, other),)


def not_equal(op: ops.NotEqual, w: Weights, x: Tensor) -> tuple[Tensor]:
    # An integer tensor takes no float beside it.
    return (tf.not_equal(x, op.value if x.dtype.is_floating else int(op.value)),)


def cast(op: ops.Cast, w: Weights, x: Tensor, like: Tensor) -> tuple[Tensor]:
    return (tf.cast(x, like.dtype),)
