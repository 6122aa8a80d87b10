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


def _dropout(stream: Stream, shape: tuple[int, ...], rate: float, dtype: str) -> Array:
    if rate == 1:
        return np.zeros(shape, dtype)
    kept = stream.bernoulli(shape, 1 - rate).astype(dtype)
    kept *= kept.dtype.type(1 / (1 - rate))
    return kept


def _normal(stream: Stream, shape: tuple[int, ...], rate: float, dtype: str) -> Array:
    return (rate * stream.normal(shape)).astype(dtype)


KINDS: Mapping[str, Callable[[Stream, tuple[int, ...], float, str], Array]] = MappingProxyType(
    {"dropout": _dropout, "normal": _normal}
)


def shapes(program: Program, inputs: Mapping[str, Shape]) -> dict[str, tuple[int, ...]]:
    """The shape of each noise by name, for inputs of these shapes."""
    values = program.infer(inputs) if program.noise else {}
    return {noise.name: _shape(program.values[noise.name].shape, values[noise.like].shape) for noise in program.noise}


def draw(program: Program, shapes: Mapping[str, tuple[int, ...]], stream: Stream, dtype: str) -> dict[str, Array]:
    """The noise of one step by name, in these shapes; a function of the stream and the names alone."""
    return {
        noise.name: KINDS[noise.kind](stream.child(noise.name), shapes[noise.name], noise.rate, dtype)
        for noise in program.noise
    }


def _shape(shape: Shape, like: Shape) -> tuple[int, ...]:
    return tuple((like[axis] or 0) if n is None else n for axis, n in enumerate(shape))
