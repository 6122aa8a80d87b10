"""Layers that act in training only; outside it they are the identity. Arguments of Keras 3.15."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.ops import Kind
from lstmcore.program import Builder, Value
from lstmcore.regularizers import L1L2


class TrainingOnly(Layer, abstract=True):
    """Base of these layers."""

    def disturb(self, build: Builder, x: Value) -> Value:
        """What a training step makes of the input."""
        raise NotImplementedError

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        if build.training or build.noisy:
            return (self.disturb(build, x),), mask
        build.note(f"{build.path('')[:-1]}: {type(self).__name__} acts in training only")
        return (x,), mask


def dropped(build: Builder, x: Value, rate: float, ones: tuple[int, ...] = (), name: str = "dropout") -> Value:
    """In training, x with a share ``rate`` of its entries zero, the rest scaled by 1 / (1 - rate)."""
    if not (build.training or build.noisy) or rate == 0:
        return x
    return build.op(ops.Binary("multiply"), x, build.noise(name, "dropout", rate, x, ones), name=name)[0]


@spec
class Dropout(TrainingOnly):
    """In training, zeroes a share ``rate`` of its inputs and scales the rest by 1 / (1 - rate)."""

    input_kind: ClassVar[Kind | None] = None

    rate: float = option(options.RATE)
    noise_shape: Any = option(options.NOISE_SHAPE, default=None)
    seed: Any = option(options.SEED, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def disturb(self, build: Builder, x: Value) -> Value:
        shape = self.noise_shape or (None,) * len(x.shape)
        fits = len(shape) == len(x.shape) and all(n in (None, 1, m) for n, m in zip(shape, x.shape, strict=True))
        if not fits:
            raise SpecError(f"noise_shape is {shape}; expected None, 1 or the length for each axis of {x.shape}")
        return dropped(build, x, self.rate, tuple(axis for axis, n in enumerate(shape) if n == 1 and axis > 0))


@spec
class SpatialDropout1D(TrainingOnly):
    """In training, zeroes whole features, (batch, time, features), the same at all steps."""

    positional: ClassVar[tuple[str, ...]] = ("rate", "seed", "name", "dtype")

    rate: float = option(options.RATE)
    seed: Any = option(options.SEED, default=None)
    dtype: Any = option(options.PLAIN_DTYPE, default=None, kw_only=True)
    trainable: bool = option(options.FLAG, default=True, config=False, kw_only=True)

    def disturb(self, build: Builder, x: Value) -> Value:
        return dropped(build, x, self.rate, (1,))


@spec
class ActivityRegularization(Layer):
    """Adds ``(l1 Σ |x| + l2 Σ x²) / batch size`` to the loss, and gives x; so too in ``evaluate`` (Keras 3.15)."""

    l1: float = option(options.NON_NEGATIVE, default=0.0)
    l2: float = option(options.NON_NEGATIVE, default=0.0)

    @property
    def activity_regularizer(self) -> L1L2:
        """The two as one regularizer."""
        return L1L2(self.l1, self.l2)

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        return (x,), mask


@spec
class GaussianNoise(TrainingOnly):
    """In training, adds normal noise with mean 0 and deviation ``stddev``."""

    stddev: float = option(options.RATE)
    seed: Any = option(options.SEED, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def disturb(self, build: Builder, x: Value) -> Value:
        if self.stddev == 0:
            return x
        return build.op(ops.Binary("add"), x, build.noise("noise", "normal", self.stddev, x), name="noisy")[0]


@spec
class GaussianDropout(TrainingOnly):
    """In training, multiplies by normal noise with mean 1 and deviation √(rate / (1 - rate))."""

    rate: float = option(options.RATE)
    seed: Any = option(options.SEED, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)

    def disturb(self, build: Builder, x: Value) -> Value:
        if not 0 < self.rate < 1:
            return x
        noise = build.noise("noise", "normal", math.sqrt(self.rate / (1 - self.rate)), x)
        (one,) = build.op(ops.Constant(shape=(), values=(1.0,)), x, name="one")
        (factor,) = build.op(ops.Binary("add"), noise, one, name="factor")
        return build.op(ops.Binary("multiply"), x, factor, name="noisy")[0]
