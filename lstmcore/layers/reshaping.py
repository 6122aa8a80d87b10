"""Layers that move numbers and change none: arguments of Keras 3.15. They end a mask, as in Keras."""

from __future__ import annotations

from typing import Any, ClassVar

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.layers.shapes import ends_mask, need_axes
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Value


@spec
class Flatten(Layer):
    """(batch, a, b, ...) -> (batch, a b ...), row by row; it ends a mask."""

    input_kind: ClassVar[Kind | None] = None

    data_format: Any = option(options.DATA_FORMAT, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        rank = len(x.shape)
        if self.data_format == "channels_first" and rank > 2:
            (x,) = build.op(ops.Transpose((0, *range(2, rank), 1)), x, name="channels_last")
        (y,) = build.op(ops.Reshape((-1,) if None in x.shape[1:] else (_count(x.shape[1:]),)), x)
        ends_mask(build, mask)
        return (y,), None


def _count(shape: Shape) -> int:
    count = 1
    for length in shape:
        count *= length or 0
    return count


@spec
class Reshape(Layer):
    """(batch, ...) -> (batch, *target_shape), row by row; one length may be -1 and takes what is left."""

    input_kind: ClassVar[Kind | None] = None

    target_shape: Any = option(options.TARGET_SHAPE)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        ends_mask(build, mask)
        return build.op(ops.Reshape(self.target_shape), x), None


@spec
class Permute(Layer):
    """Reorders the axes after the batch, counted from 1: ``Permute((2, 1))`` swaps time and features."""

    input_kind: ClassVar[Kind | None] = None

    dims: Any = option(options.LENGTHS)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def check(self) -> None:
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise SpecError(f"{self.called()}: dims is {self.dims}; expected 1 to {len(self.dims)} in some order")

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        ends_mask(build, mask)
        return build.op(ops.Transpose((0, *self.dims)), x), None


@spec
class RepeatVector(Layer):
    """The same at ``n`` steps: (batch, features) -> (batch, n, features)."""

    input_kind: ClassVar[Kind | None] = None

    n: int = option(options.POSITIVE)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        need_axes(x, "batch, features")
        (one,) = build.op(ops.Reshape((1, -1)), x, name="one_step")
        ends_mask(build, mask)
        return build.op(ops.Repeat(1, self.n), one), None


@spec
class ZeroPadding1D(Layer):
    """Zeros before and after: (batch, time, features) -> (batch, before + time + after, features).

    ``padding`` is (before, after), or one number for both. With ``data_format="channels_first"`` time is the last axis.
    """

    input_kind: ClassVar[Kind | None] = None

    padding: Any = option(options.PAIR, default=1)
    data_format: Any = option(options.DATA_FORMAT, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        first = self.data_format == "channels_first"
        need_axes(x, "batch, features, time" if first else "batch, time, features")
        ends_mask(build, mask)
        return build.op(ops.Pad(2 if first else 1, *self.padding), x), None


@spec
class Cropping1D(Layer):
    """Leaves out steps at both ends: (batch, time, features) -> (batch, time - first - last, features).

    ``cropping`` is (first, last), or one number for both. At least one step is left.
    """

    input_kind: ClassVar[Kind | None] = None

    cropping: Any = option(options.PAIR, default=(1, 1))
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        need_axes(x, "batch, time, features")
        first, last = self.cropping
        if x.shape[1] is not None and first + last >= x.shape[1]:
            raise SpecError(f"cropping is {self.cropping}; expected less than the {x.shape[1]} steps of the input")
        ends_mask(build, mask)
        return build.op(ops.Slice(1, first, -last if last else None), x), None


@spec
class UpSampling1D(Layer):
    """Each step ``size`` times in a row: (batch, time, features) -> (batch, size time, features)."""

    input_kind: ClassVar[Kind | None] = None

    size: int = option(options.POSITIVE, default=2)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        need_axes(x, "batch, time, features")
        ends_mask(build, mask)
        return build.op(ops.Repeat(1, self.size), x), None
