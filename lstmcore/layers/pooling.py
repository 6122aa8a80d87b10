"""Many steps to fewer or to one: arguments and numbers of Keras 3.15."""

from __future__ import annotations

from typing import Any, ClassVar

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.layers.shapes import ends_mask, need_axes, swapped
from lstmcore.ops.base import may_equal
from lstmcore.program import Builder, Value


class Pooling(Layer, abstract=True):
    """Base of the layers that look at windows of steps."""

    function: ClassVar[str]
    positional: ClassVar[tuple[str, ...]] = ("pool_size", "strides", "padding", "data_format", "name")

    pool_size: Any
    strides: Any
    padding: str
    data_format: str

    def check(self) -> None:
        if self.strides is None:
            object.__setattr__(self, "strides", self.pool_size)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        _need_time(x, self.data_format)
        op = ops.Pool(self.function, self.pool_size[0], self.strides[0], self.padding)
        (y,) = build.op(op, swapped(build, x, self.data_format))
        ends_mask(build, mask)
        return (swapped(build, y, self.data_format),), None


@spec
class MaxPooling1D(Pooling):
    """The largest of each window of ``pool_size`` steps: (batch, time, features) -> (batch, steps, features).

    Windows start ``strides`` steps apart, by default side by side, and lie as the op `Pool` says. With
    ``data_format="channels_first"`` input and output are (batch, features, time). It ends a mask, as in Keras.
    """

    function: ClassVar[str] = "max"

    pool_size: Any = option(options.LENGTH, default=2)
    strides: Any = option(options.OPTIONAL_LENGTH, default=None)
    padding: str = option(options.word("valid", "same"), default="valid")
    data_format: Any = option(options.DATA_FORMAT, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)


@spec
class AveragePooling1D(Pooling):
    """The mean of each window of ``pool_size`` steps; otherwise as MaxPooling1D. Padding does not count."""

    function: ClassVar[str] = "mean"

    pool_size: Any = option(options.LENGTH)
    strides: Any = option(options.OPTIONAL_LENGTH, default=None)
    padding: str = option(options.word("valid", "same"), default="valid")
    data_format: Any = option(options.DATA_FORMAT, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)


@spec
class GlobalMaxPooling1D(Layer):
    """The largest of all steps: (batch, time, features) -> (batch, features), or (batch, 1, features) by ``keepdims``.

    Masked steps count too, and the mask ends, as in Keras. With ``data_format="channels_first"`` time is the last axis.
    """

    data_format: Any = option(options.DATA_FORMAT, default=None)
    keepdims: bool = option(options.FLAG, default=False)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        axes = (_need_time(x, self.data_format),)
        ends_mask(build, mask)
        return build.op(ops.Reduce("max", axes, self.keepdims), x), None


@spec
class GlobalAveragePooling1D(Layer):
    """The mean of the steps that count: (batch, time, features) -> (batch, features); ``keepdims`` keeps time, of 1.

    ``Σ x / number of steps`` over the steps where the mask (batch, time) is True, over all where there is none; NaN
    where no step counts (Keras 3.15, measured). The mask ends here. With ``data_format="channels_first"`` time is
    the last axis.
    """

    data_format: Any = option(options.DATA_FORMAT, default=None)
    keepdims: bool = option(options.FLAG, default=False)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        axes = (_need_time(x, self.data_format),)
        if mask is None:
            return build.op(ops.Reduce("mean", axes, self.keepdims), x), None
        if len(mask.shape) != 2 or not may_equal(mask.shape[1], x.shape[axes[0]]):
            raise SpecError(
                f"a mask of shape {mask.shape} reaches it, and the input has shape {x.shape}; expected (batch, time)"
            )
        (counts,) = build.op(ops.Reshape((-1, 1) if axes == (1,) else (1, -1)), mask, name="counts")
        (zero,) = build.op(ops.Constant((0.0,), ()), x, name="zero")
        (kept,) = build.op(ops.Select(), counts, x, zero, name="kept")
        (total,) = build.op(ops.Reduce("sum", axes, self.keepdims), kept, name="total")
        (ones,) = build.op(ops.Cast(), counts, x, name="ones")
        (number,) = build.op(ops.Reduce("sum", axes, self.keepdims), ones, name="number")
        return build.op(ops.Binary("divide"), total, number), None


def _need_time(x: Value, data_format: str) -> int:
    """The axis of time."""
    first = data_format == "channels_first"
    need_axes(x, "batch, features, time" if first else "batch, time, features")
    return 2 if first else 1
