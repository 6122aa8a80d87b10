"""Number by number, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore_numpy.functions import apply

Array = NDArray[Any]
Weights = Mapping[str, Array]

UNARY: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "abs": np.abs,
        "cos": np.cos,
        "exp": np.exp,
        "log": np.log,
        "negative": np.negative,
        "not": np.logical_not,
        "reciprocal": np.reciprocal,
        "rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
        "sin": np.sin,
        "sqrt": np.sqrt,
        "square": np.square,
    }
)

BINARY: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "add": np.add,
        "and": np.logical_and,
        "divide": np.divide,
        "equal": np.equal,
        "less": np.less,
        "less_equal": np.less_equal,
        "maximum": np.maximum,
        "minimum": np.minimum,
        "multiply": np.multiply,
        "or": np.logical_or,
        "power": np.power,
        "subtract": np.subtract,
    }
)


def activate(op: ops.Activate, w: Weights, x: Array) -> tuple[Array]:
    # Of an array without axes NumPy's functions make a scalar, to which they cannot write.
    return (apply(op.function, np.atleast_1d(x)).reshape(x.shape) if x.ndim == 0 else apply(op.function, x),)


def unary(op: ops.Unary, w: Weights, x: Array) -> tuple[Array]:
    return (np.asarray(UNARY[op.function](x)),)


def binary(op: ops.Binary, w: Weights, x: Array, other: Array) -> tuple[Array]:
    return (np.asarray(BINARY[op.function](x, other)),)


def select(op: ops.Select, w: Weights, condition: Array, x: Array, other: Array) -> tuple[Array]:
    return (np.where(condition, x, other),)


def not_equal(op: ops.NotEqual, w: Weights, x: Array) -> tuple[Array]:
    return (np.asarray(x != np.asarray(op.value, x.dtype)),)


def cast(op: ops.Cast, w: Weights, x: Array, like: Array) -> tuple[Array]:
    return (x.astype(like.dtype),)
