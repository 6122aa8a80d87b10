"""What the backwards share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Vjp = Callable[..., tuple[dict[str, Array], tuple[Array | None, ...]]]
Pull = Callable[..., tuple[tuple[Array, ...], Vjp]]


def pulling(run: Callable[..., tuple[Array, ...]], back: Callable[..., tuple[Array | None, ...]]) -> Pull:
    """The ``pull`` of an op without weights and with one output: ``back(op, dy, *inputs)`` gives their gradients."""

    def pull(op: Any, w: Mapping[str, Array], *inputs: Array) -> tuple[tuple[Array, ...], Vjp]:
        return run(op, w, *inputs), lambda dy: ({}, back(op, dy, *inputs))

    return pull


def nothing(op: Any, dy: Array, *inputs: Array) -> tuple[None, ...]:
    """The backward of what does not depend on the numbers of its inputs."""
    return (None,) * len(inputs)


def unbroadcast(d: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an array of this shape that was broadcast: summed over where it was repeated."""
    first = d.ndim - len(shape)
    d = d.sum(tuple(range(first))) if first else d
    repeated = tuple(axis for axis, n in enumerate(shape) if n == 1 and d.shape[axis] != 1)
    return np.asarray(d.sum(repeated, keepdims=True) if repeated else d)


def column_sums(d: Array) -> Array:
    """d (rows, columns) summed over its rows, as a product: faster than ``sum(0)``, and closer in float32."""
    return np.ones(d.shape[0], d.dtype) @ d
