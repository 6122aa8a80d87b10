"""Layers that move numbers and change none: arguments of Keras 3.15. They end a mask, as in Keras."""

from __future__ import annotations

from typing import Any, ClassVar

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer, Lowered
from lstmcore.layers.options import option, spec
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Value


@spec
class Flatten(Layer):
    """(batch, a, b, ...) -> (batch, a b ...), row by row; it ends a mask."""

    input_kind: ClassVar[Kind | None] = None

    data_format: str = option(options.choice("channels_last", "channels_first", None), default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def check(self) -> None:
        object.__setattr__(self, "data_format", self.data_format or "channels_last")

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        rank = len(x.shape)
        if self.data_format == "channels_first" and rank > 2:
            (x,) = build.op(ops.Transpose((0, *range(2, rank), 1)), x, name="channels_last")
        (y,) = build.op(ops.Reshape((-1,) if None in x.shape[1:] else (_count(x.shape[1:]),)), x)
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
        return build.op(ops.Reshape(self.target_shape), x), None


@spec
class Permute(Layer):
    """Reorders the axes after the batch, counted from 1: ``Permute((2, 1))`` swaps time and features."""

    input_kind: ClassVar[Kind | None] = None

    dims: Any = option(options.LENGTHS)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def check(self) -> None:
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise SpecError(f"{self._owner()}: dims is {self.dims}; expected 1 to {len(self.dims)} in some order")

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        return build.op(ops.Transpose((0, *self.dims)), x), None
