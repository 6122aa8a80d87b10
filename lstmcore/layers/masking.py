"""Masking: arguments and numbers of Keras 3.15."""

from __future__ import annotations

from typing import Any

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.program import Builder, Value


@spec
class Masking(Layer):
    """Masks the steps whose features all are ``mask_value``, and makes them 0: (batch, ..., features) -> the same.

    ``mask = any(x != mask_value)`` over the last axis, shape (batch, ...); ``y = x`` where mask, else 0. The new
    mask replaces the one before it. NaN differs from every value (Keras 3.15, measured). ``mask_value`` is rounded
    to the dtype of x; Keras on TensorFlow rounds it to float32 even where x is float64 (measured).
    """

    mask_value: float = option(options.FINITE, default=0.0)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        last = len(x.shape) - 1
        if last < 1:
            raise SpecError(f"the input has shape {x.shape}; expected (batch, ..., features)")
        (differs,) = build.op(ops.NotEqual(self.mask_value), x, name="differs")
        (mask,) = build.op(ops.Reduce("any", (last,)), differs, name="mask")
        (counts,) = build.op(ops.Reduce("any", (last,), keepdims=True), differs, name="counts")
        (zero,) = build.op(ops.Constant((0.0,), ()), x, name="zero")
        return build.op(ops.Select(), counts, x, zero), mask
