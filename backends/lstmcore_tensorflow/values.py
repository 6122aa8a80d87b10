"""Values that come from no input, in TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from lstmcore import ops

Tensor = Any
Weights = Mapping[str, Tensor]


def constant(op: ops.Constant, w: Weights, like: Tensor) -> tuple[Tensor]:
    # Through NumPy: tf.cast would round the numbers to float32 on the way to float64.
    return (tf.constant(np.array(op.values, np.float64).reshape(op.shape), like.dtype),)


def parameter(op: ops.Parameter, w: Weights) -> tuple[Tensor]:
    return (w["value"],)


def zeros(op: ops.Zeros, w: Weights, like: Tensor) -> tuple[Tensor]:
    return (tf.zeros((tf.shape(like)[0], *op.shape), like.dtype),)


def one_hot(op: ops.OneHot, w: Weights, x: Tensor, like: Tensor) -> tuple[Tensor]:
    return (tf.one_hot(x, op.depth, dtype=like.dtype),)
