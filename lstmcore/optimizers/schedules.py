"""Keras' learning rate schedules, computed in float64.

A schedule is a function of the step, which counts from 0. Keras computes in float32 where it is given
Python floats, and so differs in the eighth digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lstmcore import configs
from lstmcore.errors import SpecError
from lstmcore.optimizers.checks import (
    DELAY,
    DURATION,
    FLAG,
    NOT_NEGATIVE,
    NUMBER,
    NUMBERS,
    check,
    checked,
    optional,
)


@dataclass(frozen=True)
class LearningRateSchedule:
    """Base of the schedules, and of a user's own: a frozen dataclass with ``__call__(step) -> rate``."""

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, step: int) -> float:
        """The learning rate of the step, which counts from 0."""
        raise NotImplementedError(f"{type(self).__name__} does not say its rate: define __call__(self, step).")


@dataclass(frozen=True)
class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate · decay_rate^p, where p = step / decay_steps, rounded down if `staircase`."""

    initial_learning_rate: float = checked(NOT_NEGATIVE)
    decay_steps: float = checked(DURATION)
    decay_rate: float = checked(NOT_NEGATIVE)
    staircase: bool = checked(FLAG, False)
    name: str | None = "ExponentialDecay"

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * math.pow(self.decay_rate, _periods(step, self.decay_steps, self.staircase))


@dataclass(frozen=True)
class InverseTimeDecay(LearningRateSchedule):
    """initial_learning_rate / (1 + decay_rate · p), where p = step / decay_steps, rounded down if `staircase`."""

    initial_learning_rate: float = checked(NOT_NEGATIVE)
    decay_steps: float = checked(DURATION)
    decay_rate: float = checked(NOT_NEGATIVE)
    staircase: bool = checked(FLAG, False)
    name: str | None = "InverseTimeDecay"

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * _periods(step, self.decay_steps, self.staircase))


@dataclass(frozen=True)
class PolynomialDecay(LearningRateSchedule):
    """(initial - end) · (1 - step / decay_steps)^power + end, and `end_learning_rate` from `decay_steps` on.

    With `cycle`, it starts again, but with `decay_steps` twice, thrice, ... as long.
    """

    initial_learning_rate: float = checked(NOT_NEGATIVE)
    decay_steps: float = checked(DURATION)
    end_learning_rate: float = checked(NOT_NEGATIVE, 0.0001)
    power: float = checked(NOT_NEGATIVE, 1.0)
    cycle: bool = checked(FLAG, False)
    name: str | None = "PolynomialDecay"

    def __call__(self, step: int) -> float:
        cycles = max(1, math.ceil(step / self.decay_steps)) if self.cycle else 1
        done = min(step / (self.decay_steps * cycles), 1.0)
        left = math.pow(1 - done, self.power)
        return (self.initial_learning_rate - self.end_learning_rate) * left + self.end_learning_rate


@dataclass(frozen=True)
class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and at step boundaries[0], then values[1] up to and at boundaries[1], ..., then values[-1]."""

    boundaries: tuple[float, ...] = checked(NUMBERS)
    values: tuple[float, ...] = checked(NUMBERS)
    name: str | None = "PiecewiseConstant"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.values) != len(self.boundaries) + 1 or not self.boundaries:
            raise SpecError(
                f"PiecewiseConstantDecay: {len(self.boundaries)} boundaries and {len(self.values)} values; "
                f"expected one boundary or more, and one value more than boundaries."
            )
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise SpecError(f"PiecewiseConstantDecay: boundaries are {self.boundaries}; expected increasing steps.")
        if min(self.values) < 0:
            raise SpecError(f"PiecewiseConstantDecay: values are {self.values}; expected numbers >= 0.")

    def __call__(self, step: int) -> float:
        return self.values[sum(step > boundary for boundary in self.boundaries)]


@dataclass(frozen=True)
class CosineDecay(LearningRateSchedule):
    """top · ((1 - alpha) · (1 + cos(π · step / decay_steps)) / 2 + alpha), and top · alpha afterwards.

    Without `warmup_target`, top is `initial_learning_rate`. With it, the rate first goes in a straight line from
    `initial_learning_rate` to top = `warmup_target` in `warmup_steps` steps, and the decay starts then.
    """

    initial_learning_rate: float = checked(NOT_NEGATIVE)
    decay_steps: float = checked(DURATION)
    alpha: float = checked(NUMBER, 0.0)
    name: str | None = "CosineDecay"
    warmup_target: float | None = checked(optional(NOT_NEGATIVE), None)
    warmup_steps: float = checked(DELAY, 0)

    def __call__(self, step: int) -> float:
        if self.warmup_target is None:
            return self._decayed(self.initial_learning_rate, step)
        if step < self.warmup_steps:
            done = step / self.warmup_steps
            return (self.warmup_target - self.initial_learning_rate) * done + self.initial_learning_rate
        return self._decayed(self.warmup_target, step - self.warmup_steps)

    def _decayed(self, top: float, step: float) -> float:
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(step / self.decay_steps, 1.0)))
        return top * ((1 - self.alpha) * cosine + self.alpha)


def _periods(step: int, length: float, staircase: bool) -> float:
    return math.floor(step / length) if staircase else step / length


_CLASSES: tuple[type[LearningRateSchedule], ...] = (
    ExponentialDecay,
    InverseTimeDecay,
    PolynomialDecay,
    PiecewiseConstantDecay,
    CosineDecay,
)
SCHEDULES: dict[str, type[LearningRateSchedule]] = {cls.__name__: cls for cls in _CLASSES}


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """Keras' serialized form; SpecError for a schedule of the user's own."""
    if type(schedule) not in _CLASSES:
        raise SpecError(
            f"{schedule!r} is not one of Keras' schedules, so no config can say what it does. "
            f"Use one of {', '.join(SCHEDULES)}, or do not save it."
        )
    return configs.write("keras.optimizers.schedules", schedule)


def deserialize(config: Mapping[str, Any]) -> LearningRateSchedule:
    """A schedule from what `serialize` or Keras wrote; SpecError."""
    return configs.read(config, SCHEDULES, "learning rate schedule")
