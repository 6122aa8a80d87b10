"""Conv1D: arguments and numbers of Keras 3.15."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.activation import activated
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.layers.shapes import ends_mask, need_axes, swapped
from lstmcore.program import Builder, Value


@spec
class Conv1D(Layer):
    """``activation(x * kernel + bias)`` over time: (batch, time, channels) -> (batch, steps, filters).

    The formula, the number of steps and the paddings "valid", "same" and "causal" are those of the op `Conv`; kernel
    (kernel_size, channels / groups, filters), bias (filters,). With ``data_format="channels_first"`` input and
    output are (batch, channels, time). It ends a mask, as in Keras.

    The bias belongs to the filters. Keras 3.15 on TensorFlow adds it along time where the channels come first and
    there are as many steps as filters (measured), by a test of lengths in its addition.
    """

    initializers: ClassVar[Mapping[str, str]] = {"kernel": "kernel_initializer", "bias": "bias_initializer"}

    filters: int = option(options.POSITIVE)
    kernel_size: Any = option(options.LENGTH)
    strides: Any = option(options.LENGTH, default=1)
    padding: str = option(options.word("valid", "same", "causal"), default="valid")
    data_format: Any = option(options.DATA_FORMAT, default=None)
    dilation_rate: Any = option(options.LENGTH, default=1)
    groups: int = option(options.POSITIVE, default=1)
    activation: Any = option(options.ACTIVATION, default=None)
    use_bias: bool = option(options.FLAG, default=True)
    kernel_initializer: Any = option(options.INITIALIZER, default="glorot_uniform")
    bias_initializer: Any = option(options.INITIALIZER, default="zeros")
    kernel_regularizer: Any = option(options.REGULARIZER, default=None)
    bias_regularizer: Any = option(options.REGULARIZER, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None)
    kernel_constraint: Any = option(options.CONSTRAINT, default=None)
    bias_constraint: Any = option(options.CONSTRAINT, default=None)
    lora_rank: None = option(options.ABSENT, default=None, config=False, kw_only=True)
    lora_alpha: None = option(options.ABSENT, default=None, config=False, kw_only=True)

    def check(self) -> None:
        if self.filters % self.groups:
            raise SpecError(f"{self.called()}: filters is {self.filters}; expected a multiple of groups, {self.groups}")
        if self.strides[0] > 1 and self.dilation_rate[0] > 1:
            raise SpecError(
                f"{self.called()}: strides is {self.strides[0]} and dilation_rate {self.dilation_rate[0]}; "
                "expected one of them to be 1, as in Keras"
            )

    def op(self) -> ops.Conv:
        (size,), (strides,), (dilation,) = self.kernel_size, self.strides, self.dilation_rate
        return ops.Conv(self.filters, size, strides, dilation, self.padding, self.groups, self.use_bias)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        first = self.data_format == "channels_first"
        need_axes(x, "batch, channels, time" if first else "batch, time, channels")
        (y,) = build.op(self.op(), swapped(build, x, self.data_format))
        y = swapped(build, y, self.data_format)
        # Keras applies the activation to the output as it stands: softmax is over the last axis, time or not.
        ends_mask(build, mask)
        return (activated(build, self.activation, y),), None
