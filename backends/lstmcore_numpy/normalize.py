"""Normalization in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore_numpy.gradients import Vjp, column_sums

Array = NDArray[Any]
Weights = Mapping[str, Array]


def batch_normalize(op: ops.BatchNormalize, w: Weights, x: Array) -> tuple[Array]:
    factor = _factor(op, w)
    y = x - w["moving_mean"]
    y *= factor
    if op.center:
        y += w["beta"]
    return (y,)


def _factor(op: ops.BatchNormalize, w: Weights) -> Array:
    factor = 1 / np.sqrt(w["moving_variance"] + op.epsilon)
    if op.scale:
        factor *= w["gamma"]
    return np.asarray(factor)


def pull_batch_normalize(op: ops.BatchNormalize, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    """The moving statistics are gathered, not trained: they have no gradient."""

    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[Array]]:
        rows, found = dy.reshape(-1, dy.shape[-1]), {}
        if op.scale:
            found["gamma"] = column_sums(rows * (x - w["moving_mean"]).reshape(rows.shape))
            found["gamma"] /= np.sqrt(w["moving_variance"] + op.epsilon)
        if op.center:
            found["beta"] = column_sums(rows)
        return found, (dy * _factor(op, w),)

    return batch_normalize(op, w, x), vjp


def layer_normalize(op: ops.LayerNormalize, w: Weights, x: Array) -> tuple[Array]:
    return (_scaled(op, w, _normalized(op, x)[0]),)


def _normalized(op: ops.LayerNormalize, x: Array) -> tuple[Array, Array]:
    """(x with mean 0 and variance 1, the deviation by which it was divided)."""
    # The variance from what is left of x without its mean: E[x²] - E[x]² would cancel.
    y = x - x.mean(op.axes, keepdims=True)
    deviation = np.sqrt(np.square(y).mean(op.axes, keepdims=True) + op.epsilon)
    y /= deviation
    return y, deviation


def _scaled(op: ops.LayerNormalize, w: Weights, y: Array) -> Array:
    """y, written over where there is something to do, times gamma plus beta."""
    lengths = _lengths(op, y)
    if op.scale:
        y *= w["gamma"].reshape(lengths)
    if op.center:
        y += w["beta"].reshape(lengths)
    return y


def _lengths(op: ops.LayerNormalize, y: Array) -> list[int]:
    return [n if axis in op.axes else 1 for axis, n in enumerate(y.shape)]


def pull_layer_normalize(op: ops.LayerNormalize, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    """::

    dn = dy ⊙ gamma        dx = (dn - mean(dn) - n mean(dn ⊙ n)) / deviation        n = (x - mean) / deviation
    """
    normal, deviation = _normalized(op, x)
    others = tuple(axis for axis in range(x.ndim) if axis not in op.axes)

    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[Array]]:
        found = {}
        if op.scale:
            found["gamma"] = (dy * normal).sum(others)
        if op.center:
            found["beta"] = dy.sum(others)
        dn = dy * w["gamma"].reshape(_lengths(op, dy)) if op.scale else dy
        dx = dn - dn.mean(op.axes, keepdims=True)
        dx -= normal * (dn * normal).mean(op.axes, keepdims=True)
        dx /= deviation
        return found, (dx,)

    return (_scaled(op, w, normal.copy()),), vjp
