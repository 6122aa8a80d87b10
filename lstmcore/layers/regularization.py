"""Layers that act in training only; outside it they are the identity. Arguments of Keras 3.15."""

from __future__ import annotations

from typing import Any, ClassVar

from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.ops import Kind
from lstmcore.program import Builder, Value


class TrainingOnly(Layer, abstract=True):
    """Base of these layers."""

    def lower(self, build: Builder, x: Value, mask: Value | None) -> Lowered:
        build.note(f"{build.path('')[:-1]}: {type(self).__name__} acts in training only")
        return (x,), mask


@spec
class Dropout(TrainingOnly):
    """In training, zeroes a share ``rate`` of its inputs and scales the rest by 1 / (1 - rate)."""

    input_kind: ClassVar[Kind | None] = None

    rate: float = option(options.RATE)
    noise_shape: Any = option(options.NOISE_SHAPE, default=None)
    seed: Any = option(options.SEED, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)


@spec
class SpatialDropout1D(TrainingOnly):
    """In training, zeroes whole features, (batch, time, features), the same at all steps."""

    positional: ClassVar[tuple[str, ...]] = ("rate", "seed", "name", "dtype")

    rate: float = option(options.RATE)
    seed: Any = option(options.SEED, default=None)
    dtype: Any = option(options.PLAIN_DTYPE, default=None, kw_only=True)
    trainable: bool = option(options.FLAG, default=True, config=False, kw_only=True)


@spec
class GaussianNoise(TrainingOnly):
    """In training, adds normal noise with mean 0 and deviation ``stddev``."""

    stddev: float = option(options.RATE)
    seed: Any = option(options.SEED, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)


@spec
class GaussianDropout(TrainingOnly):
    """In training, multiplies by normal noise with mean 1 and deviation √(rate / (1 - rate))."""

    rate: float = option(options.RATE)
    seed: Any = option(options.SEED, default=None)
    activity_regularizer: Any = option(options.REGULARIZER, default=None, omit=True, kw_only=True)
