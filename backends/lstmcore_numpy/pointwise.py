"""Number by number, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore_numpy.functions import apply, backward
from lstmcore_numpy.gradients import Vjp, nothing, pulling, unbroadcast

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

# dx from dy, x and y.
UNARY_BACK: Mapping[str, Callable[[Array, Array, Array], Array]] = MappingProxyType(
    {
        "abs": lambda dy, x, y: dy * np.sign(x),
        "cos": lambda dy, x, y: -dy * np.sin(x),
        "exp": lambda dy, x, y: dy * y,
        "log": lambda dy, x, y: dy / x,
        "negative": lambda dy, x, y: -dy,
        "reciprocal": lambda dy, x, y: -dy * y * y,
        "rsqrt": lambda dy, x, y: -dy * y * y * y / 2,
        "sin": lambda dy, x, y: dy * np.cos(x),
        "sqrt": lambda dy, x, y: dy / (2 * y),
        "square": lambda dy, x, y: 2 * dy * x,
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


def _power_back(dy: Array, a: Array, b: Array, y: Array) -> tuple[Array, Array]:
    """d/da = b a^(b - 1), 0 where b is 0; d/db = y log(a), 0 where a <= 0 (TensorFlow, measured)."""
    slope = np.where(b == 0, np.zeros_like(y), b * np.power(a, np.where(b == 0, np.ones_like(b), b - 1)))
    return dy * slope, dy * np.where(a > 0, y * np.log(np.where(a > 0, a, np.ones_like(a))), np.zeros_like(y))


def _zero_unless(condition: Array, dy: Array) -> Array:
    return np.where(condition, dy, np.zeros_like(dy))


# The gradients of a and b from dy, a, b and y, before the broadcasting is undone. Of equal numbers the maximum, and
# the minimum, is the first (TensorFlow, measured).
BINARY_BACK: Mapping[str, Callable[[Array, Array, Array, Array], tuple[Array, Array]]] = MappingProxyType(
    {
        "add": lambda dy, a, b, y: (dy, dy),
        "divide": lambda dy, a, b, y: (dy / b, -dy * y / b),
        "maximum": lambda dy, a, b, y: (_zero_unless(a >= b, dy), _zero_unless(a < b, dy)),
        "minimum": lambda dy, a, b, y: (_zero_unless(a <= b, dy), _zero_unless(a > b, dy)),
        "multiply": lambda dy, a, b, y: (dy * b, dy * a),
        "power": _power_back,
        "subtract": lambda dy, a, b, y: (dy, -dy),
    }
)


def activate(op: ops.Activate, w: Weights, x: Array) -> tuple[Array]:
    # Of an array without axes NumPy's functions make a scalar, to which they cannot write.
    return (apply(op.function, np.atleast_1d(x)).reshape(x.shape) if x.ndim == 0 else apply(op.function, x),)


def pull_activate(op: ops.Activate, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    (y,) = activate(op, w, x)
    return (y,), lambda dy: ({}, (np.asarray(backward(op.function, x, y, dy)),))


def unary(op: ops.Unary, w: Weights, x: Array) -> tuple[Array]:
    return (np.asarray(UNARY[op.function](x)),)


def pull_unary(op: ops.Unary, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    (y,) = unary(op, w, x)
    back = UNARY_BACK.get(op.function)
    return (y,), lambda dy: ({}, (None if back is None else np.asarray(back(dy, x, y)),))


def binary(op: ops.Binary, w: Weights, x: Array, other: Array) -> tuple[Array]:
    return (np.asarray(BINARY[op.function](x, other)),)


def pull_binary(op: ops.Binary, w: Weights, x: Array, other: Array) -> tuple[tuple[Array], Vjp]:
    (y,) = binary(op, w, x, other)
    back = BINARY_BACK.get(op.function)

    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[Array | None, ...]]:
        if back is None:
            return {}, (None, None)
        dx, dother = back(dy, x, other, y)
        return {}, (unbroadcast(dx, x.shape), unbroadcast(dother, other.shape))

    return (y,), vjp


def select(op: ops.Select, w: Weights, condition: Array, x: Array, other: Array) -> tuple[Array]:
    return (np.where(condition, x, other),)


def _selected(op: ops.Select, dy: Array, condition: Array, x: Array, other: Array) -> tuple[None, Array, Array]:
    dx, dother = _zero_unless(condition, dy), _zero_unless(~condition, dy)
    return None, unbroadcast(dx, x.shape), unbroadcast(dother, other.shape)


pull_select = pulling(select, _selected)


def not_equal(op: ops.NotEqual, w: Weights, x: Array) -> tuple[Array]:
    return (np.asarray(x != np.asarray(op.value, x.dtype)),)


pull_not_equal = pulling(not_equal, nothing)


def cast(op: ops.Cast, w: Weights, x: Array, like: Array) -> tuple[Array]:
    return (x.astype(like.dtype),)


pull_cast = pulling(cast, nothing)
