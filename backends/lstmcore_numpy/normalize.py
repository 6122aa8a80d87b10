"""Normalization in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops

Array = NDArray[Any]
Weights = Mapping[str, Array]


def batch_normalize(op: ops.BatchNormalize, w: Weights, x: Array) -> tuple[Array]:
    factor = 1 / np.sqrt(w["moving_variance"] + op.epsilon)
    if op.scale:
        factor *= w["gamma"]
    y = x - w["moving_mean"]
    y *= factor
    if op.center:
        y += w["beta"]
    return (y,)


def layer_normalize(op: ops.LayerNormalize, w: Weights, x: Array) -> tuple[Array]:
    # The variance from what is left of x without its mean: E[x²] - E[x]² would cancel.
    y = x - x.mean(op.axes, keepdims=True)
    y /= np.sqrt(np.square(y).mean(op.axes, keepdims=True) + op.epsilon)
    lengths = [n if axis in op.axes else 1 for axis, n in enumerate(x.shape)]
    if op.scale:
        y *= w["gamma"].reshape(lengths)
    if op.center:
        y += w["beta"].reshape(lengths)
    return (y,)
