"""Layers that are activation functions: arguments and numbers of Keras 3.15."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lstmcore import activations, ops
from lstmcore.activations import LINEAR, Function
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer, Lowered
from lstmcore.layers.options import option, spec
from lstmcore.program import Builder, Value


def activated(build: Builder, function: Function, x: Value) -> Value:
    """``function(x)``; no node where it is linear."""
    return x if function == LINEAR else build.op(ops.Activate(function), x, name=function.name)[0]


@spec
class Activation(Layer):
    """An activation function by itself; shape as the input's."""

    activation: Any = option(options.ACTIVATION)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        return (activated(build, self.activation, x),), mask


class ActivationLayer(Layer, abstract=True):
    """Base of the layers whose options are the parameters of one function."""

    def function(self) -> Function:
        """The function with these parameters."""
        raise NotImplementedError

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        return (activated(build, self.function(), x),), mask


@spec
class ReLU(ActivationLayer):
    """x where x > threshold, else negative_slope (x - threshold); at most max_value."""

    max_value: float | None = option(options.OPTIONAL_NON_NEGATIVE, default=None)
    negative_slope: float = option(options.NON_NEGATIVE, default=0.0)
    threshold: float = option(options.NON_NEGATIVE, default=0.0)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def function(self) -> Function:
        parameters = {"max_value": self.max_value, "negative_slope": self.negative_slope, "threshold": self.threshold}
        return activations.function("relu", **parameters)


@spec
class LeakyReLU(ActivationLayer):
    """x where x >= 0, else negative_slope x. The layer's slope is 0.3, that of the activation ``"leaky_relu"`` 0.2."""

    spellings: ClassVar[Mapping[str, str]] = {"alpha": "negative_slope"}

    negative_slope: float = option(options.NON_NEGATIVE, default=0.3)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def function(self) -> Function:
        return activations.function("leaky_relu", negative_slope=self.negative_slope)


@spec
class ELU(ActivationLayer):
    """x where x >= 0, else alpha (exp(x) - 1)."""

    alpha: float = option(options.NON_NEGATIVE, default=1.0)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def function(self) -> Function:
        return activations.function("elu", alpha=self.alpha)


@spec
class Softmax(ActivationLayer):
    """exp(x) / Σ exp(x) over one axis, the last by default. It does not take a mask."""

    axis: int = option(options.INTEGER, default=-1)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def function(self) -> Function:
        return activations.function("softmax", axis=self.axis)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        if mask is not None:
            raise SpecError("Softmax: a mask reaches it, which it would have to leave out of the sum, and cannot yet")
        return super().lower(build, x, mask)
