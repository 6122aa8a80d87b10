"""Normalization in TensorFlow; tf.nn.batch_normalization takes the mean off last, which cancels badly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from lstmcore import ops

Tensor = Any
Weights = Mapping[str, Tensor]


def batch_normalize(op: ops.BatchNormalize, w: Weights, x: Tensor) -> tuple[Tensor]:
    y = (x - w["moving_mean"]) / tf.sqrt(w["moving_variance"] + op.epsilon)
    if op.scale:
        y *= w["gamma"]
    return (y + w["beta"] if op.center else y,)


def layer_normalize(op: ops.LayerNormalize, w: Weights, x: Tensor) -> tuple[Tensor]:
    centered = x - tf.reduce_mean(x, op.axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(centered), op.axes, keepdims=True)
    y = centered * tf.math.rsqrt(variance + op.epsilon)
    onto = [n if axis in op.axes else 1 for axis, n in enumerate(x.shape)]
    if op.scale:
        y *= tf.reshape(w["gamma"], onto)
    return (y + tf.reshape(w["beta"], onto) if op.center else y,)
