"""Losses between numbers: squared, absolute and relative errors, hinges, angles, divergences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from lstmcore.configs import Config
from lstmcore.formulas import Term
from lstmcore.losses.base import EPSILON, MEAN, Loss, without_defaults


@dataclass(frozen=True)
class _Plain(Loss):
    reduction: str | None = MEAN
    name: str | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class MeanSquaredError(_Plain):
    """mean (t - p)² over the last axis."""

    def formula(self, target: Term, prediction: Term) -> Term:
        return (target - prediction).unary("square").mean()


@dataclass(frozen=True)
class MeanAbsoluteError(_Plain):
    """mean |t - p| over the last axis."""

    def formula(self, target: Term, prediction: Term) -> Term:
        return abs(target - prediction).mean()


@dataclass(frozen=True)
class MeanAbsolutePercentageError(_Plain):
    """100 mean |t - p| / max(|t|, 1e-7) over the last axis."""

    def formula(self, target: Term, prediction: Term) -> Term:
        return 100.0 * abs((target - prediction) / abs(target).maximum(EPSILON)).mean()


@dataclass(frozen=True)
class MeanSquaredLogarithmicError(_Plain):
    """mean (log(1 + max(p, 1e-7)) - log(1 + max(t, 1e-7)))² over the last axis."""

    def formula(self, target: Term, prediction: Term) -> Term:
        logs = [(term.maximum(EPSILON) + 1.0).unary("log") for term in (prediction, target)]
        return (logs[0] - logs[1]).unary("square").mean()


@dataclass(frozen=True)
class Huber(Loss):
    """mean over the last axis of e²/2 where |e| <= delta, else delta |e| - delta²/2; e = p - t.

    Keras 3.15 reads ``delta`` from a config but does not write it, and so loses it. Here it is written
    unless it is 1.
    """

    called: ClassVar[str] = "huber_loss"
    delta: float = 1.0
    reduction: str | None = MEAN
    name: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_number("delta", 0.0)

    def config(self) -> Config:
        return without_defaults(super().config(), delta=1.0)

    def formula(self, target: Term, prediction: Term) -> Term:
        error = prediction - target
        size, delta = abs(error), float(self.delta)
        near = 0.5 * error.unary("square")
        return near.where(size <= delta, delta * size - delta * delta / 2).mean()


@dataclass(frozen=True)
class LogCosh(_Plain):
    """mean log cosh(p - t) over the last axis, as |e| + softplus(-2 |e|) - log 2, which overflows nowhere."""

    def formula(self, target: Term, prediction: Term) -> Term:
        size = abs(prediction - target)
        return (size + (-2.0 * size).activate("softplus") - math.log(2.0)).mean()


@dataclass(frozen=True)
class Poisson(_Plain):
    """mean (p - t log(p + 1e-7)) over the last axis."""

    def formula(self, target: Term, prediction: Term) -> Term:
        return (prediction - target * (prediction + EPSILON).unary("log")).mean()


@dataclass(frozen=True)
class KLDivergence(_Plain):
    """Σ t log(t / p) over the last axis, with t and p moved into [1e-7, 1]."""

    def formula(self, target: Term, prediction: Term) -> Term:
        t, p = target.clip(EPSILON, 1.0), prediction.clip(EPSILON, 1.0)
        return (t * (t / p).unary("log")).sum()


@dataclass(frozen=True)
class CosineSimilarity(Loss):
    """-Σ t p / (|t| |p|) over the last axis: -1 where both point the same way, 1 where opposite ways.

    A length below 1e-7 counts as 1e-7. At a prediction of zeros the gradient is that of this; Keras' on
    TensorFlow is NaN. Keras 3.15 does not write ``axis`` to a config.
    """

    axis: int = -1
    reduction: str | None = MEAN
    name: str | None = None
    dtype: str | None = None

    def config(self) -> Config:
        return without_defaults(super().config(), axis=-1)

    def formula(self, target: Term, prediction: Term) -> Term:
        self.check_axis(self.axis, prediction.rank)
        return -(_unit(target) * _unit(prediction)).sum()


def _unit(x: Term) -> Term:
    squares = x.unary("square").sum(keepdims=True)
    return x * squares.maximum(EPSILON * EPSILON).unary("rsqrt")


def _signs(target: Term) -> Term:
    """Targets of 0 and 1 as -1 and 1; others, if there is a single one in the batch, as they are."""
    others = (target * (target - 1.0)).is_not(0.0).float_like(target).total()
    return (2.0 * target - 1.0).where(others <= 0.0, target)


@dataclass(frozen=True)
class Hinge(_Plain):
    """mean max(1 - t p, 0) over the last axis; targets are -1 and 1, or, where a whole batch is, 0 and 1."""

    def formula(self, target: Term, prediction: Term) -> Term:
        return (1.0 - _signs(target) * prediction).maximum(0.0).mean()


@dataclass(frozen=True)
class SquaredHinge(_Plain):
    """mean max(1 - t p, 0)² over the last axis; targets as for `Hinge`."""

    def formula(self, target: Term, prediction: Term) -> Term:
        return (1.0 - _signs(target) * prediction).maximum(0.0).unary("square").mean()


@dataclass(frozen=True)
class CategoricalHinge(_Plain):
    """max(1 + max((1 - t) p) - Σ t p, 0), both over the last axis; targets are one-hot."""

    def formula(self, target: Term, prediction: Term) -> Term:
        right, wrong = (target * prediction).sum(), ((1.0 - target) * prediction).max()
        return (wrong - right + 1.0).maximum(0.0)
