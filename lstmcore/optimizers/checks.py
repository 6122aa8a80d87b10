"""The kinds of number that optimisers and schedules take, and how each is checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np

from lstmcore.errors import SpecError


@dataclass(frozen=True)
class Kind:
    """``read`` checks a value and normalises it; it raises ValueError for one that is not as ``expected`` says."""

    expected: str
    read: Callable[[Any], Any]


def checked(kind: Kind, default: Any = MISSING) -> Any:
    """A dataclass field of that kind."""
    return field(default=default, metadata={"kind": kind})


def check(description: Any) -> None:
    """Checks and normalises the fields of a dataclass that were made by `checked`; SpecError."""
    for f in dataclasses.fields(description):
        kind = f.metadata.get("kind")
        if kind is None:
            continue
        value = getattr(description, f.name)
        try:
            object.__setattr__(description, f.name, kind.read(value))
        except ValueError:
            name = type(description).__name__
            raise SpecError(f"{name}: {f.name} is {value!r}; expected {kind.expected}.") from None


def _real(value: Any) -> float:
    """A finite number, an integer as such, or ValueError."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError
    return int(value) if isinstance(value, Integral) else float(value)


def _number(expected: str, holds: Callable[[float], bool], made: Callable[[float], float] = float) -> Kind:
    def read(value: Any) -> float:
        number = _real(value)
        if not holds(number):
            raise ValueError
        return made(number)

    return Kind(expected, read)


def _count(expected: str, least: int) -> Kind:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError
        return int(value)

    return Kind(expected, read)


def optional(kind: Kind) -> Kind:
    """None, or of that kind."""
    return Kind(f"None or {kind.expected}", lambda value: None if value is None else kind.read(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError
    return bool(value)


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise ValueError
    return tuple(map(_real, value))


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise ValueError
    return tuple(value)


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


NUMBER = _number("a finite number", lambda x: True)
NOT_NEGATIVE = _number("a number >= 0", lambda x: x >= 0)
POSITIVE = _number("a number > 0", lambda x: x > 0)
BELOW_ONE = _number("a number in [0, 1)", lambda x: 0 <= x < 1)
UP_TO_ONE = _number("a number in [0, 1]", lambda x: 0 <= x <= 1)
DURATION = _number("a number of steps > 0", lambda x: x > 0, made=lambda x: x)  # an integer stays one in configs
DELAY = _number("a number of steps >= 0", lambda x: x >= 0, made=lambda x: x)
FROM_ONE = _count("an integer >= 1", 1)
FROM_TWO = _count("an integer >= 2", 2)
FLAG = Kind("True or False", _flag)
NUMBERS = Kind("a list of numbers", _numbers)
WORD = Kind("a string", _word)
WORDS = Kind("a list of strings", _words)
