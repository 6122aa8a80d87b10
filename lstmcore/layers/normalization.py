"""BatchNormalization, LayerNormalization, Rescaling: arguments and numbers of Keras 3.15."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.formulas import Term
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.layers.shapes import feature_axis, known_length
from lstmcore.layers.statistics import Layout, moments, moved
from lstmcore.program import Builder, Value


@spec
class BatchNormalization(Layer):
    """Normalization by statistics gathered in training: the same shape (Ioffe & Szegedy 2015).

    ``y = (x - moving_mean) / √(moving_variance + epsilon) ⊙ gamma + beta``, with one number of each weight per entry
    of ``axis``. A mask of all axes but the last passes.

    In training, mean and variance (divided by the number) are those of the batch without what is masked, and
    ``moving = moving momentum + batch (1 - momentum)``. With ``trainable=False`` it computes as outside training. In a
    TimeDistributed each step has statistics of its own. ``synchronized`` and ``renorm_momentum`` change nothing.
    """

    takes_sample_masks: ClassVar[bool] = True

    initializers: ClassVar[Mapping[str, str]] = {
        "gamma": "gamma_initializer",
        "beta": "beta_initializer",
        "moving_mean": "moving_mean_initializer",
        "moving_variance": "moving_variance_initializer",
    }
    untrained: ClassVar[tuple[str, ...]] = ("moving_mean", "moving_variance")

    axis: int = option(options.INTEGER, default=-1)
    momentum: float = option(options.RATE, default=0.99)
    epsilon: float = option(options.NON_NEGATIVE, default=0.001)
    center: bool = option(options.FLAG, default=True)
    scale: bool = option(options.FLAG, default=True)
    beta_initializer: Any = option(options.INITIALIZER, default="zeros")
    gamma_initializer: Any = option(options.INITIALIZER, default="ones")
    moving_mean_initializer: Any = option(options.INITIALIZER, default="zeros")
    moving_variance_initializer: Any = option(options.INITIALIZER, default="ones")
    beta_regularizer: Any = option(options.REGULARIZER, default=None)
    gamma_regularizer: Any = option(options.REGULARIZER, default=None)
    beta_constraint: Any = option(options.CONSTRAINT, default=None)
    gamma_constraint: Any = option(options.CONSTRAINT, default=None)
    renorm: bool = option(options.choice(False), default=False)
    renorm_clipping: None = option(options.ABSENT, default=None)
    renorm_momentum: float = option(options.RATE, default=0.99)
    synchronized: bool = option(options.FLAG, default=False)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def op(self) -> ops.BatchNormalize:
        return ops.BatchNormalize(self.epsilon, self.center, self.scale)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        axis = feature_axis(x, self.axis)
        known_length(x, axis)
        if mask is not None and len(mask.shape) != len(x.shape) - 1:
            raise SpecError(
                f"a mask of shape {mask.shape} reaches an input of shape {x.shape}; "
                "expected one of all axes but the last"
            )
        if build.training and id(self) not in build.frozen:
            return (self._by_batch(build, x, mask, axis),), mask
        order = [k for k in range(len(x.shape)) if k != axis] + [axis]
        if axis == len(x.shape) - 1:
            return build.op(self.op(), x), mask
        (x,) = build.op(ops.Transpose(tuple(order)), x, name="axis_last")
        (y,) = build.op(self.op(), x)
        back = tuple(order.index(k) for k in range(len(order)))
        return build.op(ops.Transpose(back), y, name="axis_back"), mask

    def _by_batch(self, build: Builder, x: Value, mask: Value | None, axis: int) -> Value:
        """The output by the statistics of this batch, which the moving averages take up."""
        layout = Layout.of(build, x, axis)
        inner = None if mask is None else layout.there(Term(build, mask).with_last().value)
        features = (known_length(x, axis),)
        mean, variance, centered = moments(layout.there(x), inner, layout.kept)
        for name, found in (("moving_mean", mean), ("moving_variance", variance)):
            old = Term(build, build.latest(name, features))
            build.assign(name, moved(old, found, self.momentum).value)
        y = centered * (variance + self.epsilon).unary("rsqrt")
        if self.scale:
            y = y * Term(build, build.weight("gamma", features))
        if self.center:
            y = y + Term(build, build.weight("beta", features))
        return layout.back(y)


@spec
class LayerNormalization(Layer):
    """Normalization of each example over ``axis``, one or several: the same shape (Ba, Kiros & Hinton 2016).

    ``y = (x - mean) / √(variance + epsilon) ⊙ gamma + beta``. Mean and variance are those of x over the axes;
    gamma and beta have the lengths of the axes. A mask passes and has no influence.
    """

    initializers: ClassVar[Mapping[str, str]] = {"gamma": "gamma_initializer", "beta": "beta_initializer"}

    axis: Any = option(options.AXES, default=-1)
    epsilon: float = option(options.NON_NEGATIVE, default=0.001)
    center: bool = option(options.FLAG, default=True)
    scale: bool = option(options.FLAG, default=True)
    beta_initializer: Any = option(options.INITIALIZER, default="zeros")
    gamma_initializer: Any = option(options.INITIALIZER, default="ones")
    beta_regularizer: Any = option(options.REGULARIZER, default=None)
    gamma_regularizer: Any = option(options.REGULARIZER, default=None)
    beta_constraint: Any = option(options.CONSTRAINT, default=None)
    gamma_constraint: Any = option(options.CONSTRAINT, default=None)
    rms_scaling: bool = option(options.choice(False), default=False, kw_only=True)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def get_config(self) -> dict[str, Any]:
        """The options under Keras 3's keys; ``axis`` is a list, in order, once the layer is built, as in Keras."""
        config = super().get_config()
        return {**config, "axis": sorted(options.several(self.axis))} if self.built else config

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        axes = tuple(feature_axis(x, axis) for axis in sorted(options.several(self.axis)))
        if list(axes) != sorted(set(axes)):
            # Keras sorts before it counts: [-1, 1] gives it a gamma whose axes stand the other way round.
            raise SpecError(
                f"axis is {self.axis!r} for an input of shape {x.shape}; "
                "expected different axes, all counted from the start or all from the end"
            )
        for axis in axes if self.center or self.scale else ():
            known_length(x, axis)
        return build.op(ops.LayerNormalize(axes, self.epsilon, self.center, self.scale), x), mask


@spec
class Rescaling(Layer):
    """``x scale + offset``: each one number, or nested lists of them that broadcast from the right.

    ``Rescaling(1 / 255)`` brings bytes to [0, 1]; ``Rescaling([2.0, 0.5])`` has a factor for each of two features.
    """

    scale: Any = option(options.NUMBERS)
    offset: Any = option(options.NUMBERS, default=0.0)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        (scaled,) = build.op(ops.Binary("multiply"), x, self._constant(build, x, "scale"))
        return build.op(ops.Binary("add"), scaled, self._constant(build, x, "offset")), mask

    def _constant(self, build: Builder, x: Value, name: str) -> Value:
        numbers = np.asarray(getattr(self, name), np.float64)
        if numbers.ndim >= len(x.shape):
            raise SpecError(
                f"{name} has shape {numbers.shape}, and the input {x.shape}; expected fewer axes: not the batch"
            )
        (value,) = build.op(ops.Constant(tuple(numbers.ravel().tolist()), numbers.shape), x, name=name)
        return value
