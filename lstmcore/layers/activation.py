"""Layers that are activation functions: arguments and numbers of Keras 3.15."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lstmcore import activations, ops
from lstmcore.activations import LINEAR, Function
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.layers.shapes import feature_axis, known_length
from lstmcore.ops.base import may_equal
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
class PReLU(Layer):
    """x where x >= 0, else alpha x, with a weight alpha for every entry of x after the batch.

    ``max(x, 0) - alpha ⊙ max(-x, 0)``; alpha has length 1 on the ``shared_axes``, counted from 1: ``[1]`` shares it
    over time, which may then be open.
    """

    initializers: ClassVar[Mapping[str, str]] = {"alpha": "alpha_initializer"}

    alpha_initializer: Any = option(options.INITIALIZER, default="Zeros")
    alpha_regularizer: Any = option(options.REGULARIZER, default=None)
    alpha_constraint: Any = option(options.CONSTRAINT, default=None)
    shared_axes: Any = option(options.SHARED_AXES, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        shared = {feature_axis(x, axis) for axis in self.shared_axes or ()}
        hint = "give the Input all its lengths, or share alpha over it by shared_axes"
        axes = range(1, len(x.shape))
        alpha = build.weight("alpha", tuple(1 if k in shared else known_length(x, k, hint) for k in axes))
        positive = activated(build, activations.function("relu"), x)
        (negated,) = build.op(ops.Unary("negative"), x, name="negated")
        negative = activated(build, activations.function("relu"), negated)
        (scaled,) = build.op(ops.Binary("multiply"), alpha, negative, name="scaled")
        return build.op(ops.Binary("subtract"), positive, scaled), mask


@spec
class Softmax(Layer):
    """exp(x) / Σ exp(x) over an axis, the last by default, or over several at once; the same shape.

    ``mask`` has as many axes as x, each of x's length or of 1. Where it is False x counts as -1e9 and y is 0
    (Keras 3.15, measured): all of y where nothing counts. The mask goes on.
    """

    axis: Any = option(options.AXES, default=-1)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        if mask is None:
            return (self._softmax(build, x),), None
        alike = len(mask.shape) == len(x.shape)
        if not alike or any(m != 1 and not may_equal(m, n) for m, n in zip(mask.shape, x.shape, strict=True)):
            raise SpecError(
                f"a mask reaches it of shape {mask.shape}, and the input has shape {x.shape}; "
                "expected as many axes, each of the same length or of 1"
            )
        (least,) = build.op(ops.Constant((-1e9,), ()), x, name="least")
        (kept,) = build.op(ops.Select(), mask, x, least, name="kept")
        y = self._softmax(build, kept)
        (zero,) = build.op(ops.Constant((0.0,), ()), x, name="zero")
        return build.op(ops.Select(), mask, y, zero), mask

    def _softmax(self, build: Builder, x: Value) -> Value:
        several = options.several(self.axis)
        if len(several) == 1:
            return activated(build, activations.function("softmax", axis=several[0]), x)
        axes = tuple(feature_axis(x, axis) for axis in several)
        if len(set(axes)) < len(axes):
            raise SpecError(f"axis is {list(several)} for an input of shape {x.shape}; expected different axes")
        (largest,) = build.op(ops.Reduce("max", axes, keepdims=True), x, name="largest")
        (shifted,) = build.op(ops.Binary("subtract"), x, largest, name="shifted")
        (powers,) = build.op(ops.Unary("exp"), shifted, name="powers")
        (total,) = build.op(ops.Reduce("sum", axes, keepdims=True), powers, name="total")
        return build.op(ops.Binary("divide"), powers, total)[0]
