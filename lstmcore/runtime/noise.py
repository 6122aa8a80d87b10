"""The random numbers of a training step: the same on every engine, and again the same when a run is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.ops import Shape
from lstmcore.program import Program
from lstmcore.random import Stream

Array = NDArray[Any]


def _dropout(stream: Stream, shape: tuple[int, ...], rate: float) -> Array:
    if rate == 1:
        return np.zeros(shape)
    return (stream.uniform(shape) >= rate) / (1 - rate)


def _normal(stream: Stream, shape: tuple[int, ...], rate: float) -> Array:
    return rate * stream.normal(shape)


KINDS: Mapping[str, Callable[[Stream, tuple[int, ...], float], Array]] = MappingProxyType(
    {"dropout": _dropout, "normal": _normal}
)


def draw(program: Program, shapes: Mapping[str, Shape], stream: Stream, dtype: str) -> dict[str, Array]:
    """The noise of one step by name, for inputs of these shapes; a function of the stream and the names alone."""
    if not program.noise:
        return {}
    values = program.infer(shapes)
    drawn = {}
    for noise in program.noise:
        shape = _shape(program.values[noise.name].shape, values[noise.like].shape)
        drawn[noise.name] = KINDS[noise.kind](stream.child(noise.name), shape, noise.rate).astype(dtype)
    return drawn


def _shape(shape: Shape, like: Shape) -> tuple[int, ...]:
    return tuple((like[axis] or 0) if n is None else n for axis, n in enumerate(shape))
