"""Lengths of axes in C: numbers where they are known, else expressions of the lengths of the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable

Length = int | str


def add(a: Length, b: Length) -> Length:
    """a + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return b if a == 0 else a if b == 0 else f"({a} + {b})"


def times(a: Length, b: Length) -> Length:
    """a b."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if isinstance(a, str) and isinstance(b, int):
        a, b = b, a
    return 0 if a == 0 else b if a == 1 else a if b == 1 else f"({a} * {b})"


def product(lengths: Iterable[Length]) -> Length:
    """All of them multiplied; 1 for none. Numbers come first, as one."""
    found = list(lengths)
    number: Length = math.prod(n for n in found if isinstance(n, int))
    for length in found:
        number = times(number, length) if isinstance(length, str) else number
    return number


def minus(a: Length, b: Length) -> Length:
    """a - b."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    return a if b == 0 else f"({a} - {b})"


def over(a: Length, b: int) -> Length:
    """a / b, rounded down, of what is not negative."""
    return a // b if isinstance(a, int) else a if b == 1 else f"({a} / {b})"


def least(a: Length, b: Length) -> Length:
    """The smaller one."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else f"({a} < {b} ? {a} : {b})"


def most(a: Length, b: Length) -> Length:
    """The larger one."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else f"({a} > {b} ? {a} : {b})"


def windows(steps: Length, size: int, strides: int, dilation: int, padding: str) -> tuple[Length, Length]:
    """How many windows of Conv and Pool there are, and how much padding before the first; see `ops.windows`."""
    reach = dilation * (size - 1) + 1
    if padding == "valid":
        return add(over(minus(steps, reach), strides), 1), 0
    count = over(add(steps, strides - 1), strides)
    if padding == "causal":
        return count, reach - 1
    missing = most(minus(add(times(minus(count, 1), strides), reach), steps), 0)
    return count, over(missing, 2)


def bounds(length: Length, start: int, stop: int | None) -> tuple[Length, Length]:
    """Where a slice begins and ends, as in Python."""

    def place(bound: int) -> Length:
        return least(bound, length) if bound >= 0 else most(add(length, bound), 0)

    begin, end = place(start), length if stop is None else place(stop)
    return begin, most(begin, end)
