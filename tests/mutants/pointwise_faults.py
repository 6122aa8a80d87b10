"""Faults in the kernels that move numbers, and in those that work number by number.

As in `op_faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from planting import (
    Array,
    Fault,
    Weights,
    Wrap,
    changed_op,
    computing,
    given_inputs,
    given_op,
    given_weights,
    instead,
    of,
    returning,
    single,
    when,
    where_function,
)

from lstmcore import ops

# Places.


def sliced(change: Callable[[Any, int], slice]) -> Wrap:
    """``change(op, length)`` is what it takes."""
    return computing(lambda op, w, x: x[(*[slice(None)] * op.axis, change(op, x.shape[op.axis]))])


def from_the_start(op: Any, n: int) -> slice:
    """Negative bounds are cut off at zero."""
    return slice(max(op.start, 0), None if op.stop is None else max(op.stop, 0))


def tiled(op: Any, w: Weights, x: Array) -> Array:
    return np.concatenate([x] * op.times, op.axis)


def time_major(op: Any, w: Weights, x: Array) -> Array:
    return np.ascontiguousarray(np.swapaxes(x, 0, 1)).reshape(-1, *x.shape[2:])


def from_time_major(op: Any, w: Weights, x: Array, like: Array) -> Array:
    batch, time = like.shape[:2]
    return np.swapaxes(x.reshape(time, batch, *x.shape[1:]), 0, 1)


def pad_with(value: float) -> Wrap:
    def wrong(op: Any, w: Weights, x: Array) -> Array:
        widths = [(0, 0)] * x.ndim
        widths[op.axis] = (op.before, op.after)
        return np.pad(x, widths, constant_values=x.dtype.type(value))

    return computing(wrong)


PLACES = {
    **of(
        ops.Concat,
        {
            "order swapped": given_inputs(lambda op, *inputs: inputs[::-1]),
            "the last two swapped": given_inputs(lambda op, *inputs: (*inputs[:-2], *inputs[:-3:-1])),
            "always along the last axis": computing(lambda op, w, *inputs: np.concatenate(inputs, -1)),
            "axis without the batch": computing(lambda op, w, *inputs: np.concatenate(inputs, op.axis - 1)),
            "only two": computing(lambda op, w, *inputs: np.concatenate(inputs[:2], op.axis)),
        },
    ),
    **of(
        ops.Slice,
        {
            "one later": sliced(lambda op, n: slice(op.start + 1, op.stop)),
            "stop included": sliced(lambda op, n: slice(op.start, None if op.stop in (None, -1) else op.stop + 1)),
            "stop left out is -1": sliced(lambda op, n: slice(op.start, -1 if op.stop is None else op.stop)),
            "negative bounds as zero": sliced(from_the_start),
            "always time": computing(lambda op, w, x: x[:, op.start : op.stop]),
            "start and length": sliced(lambda op, n: slice(op.start, None if op.stop is None else op.start + op.stop)),
        },
    ),
    **of(
        ops.Pad,
        {
            "sides swapped": changed_op(lambda op: {"before": op.after, "after": op.before}),
            "all before": changed_op(lambda op: {"before": op.before + op.after, "after": 0}),
            "with ones": pad_with(1),
            "True for bool": when(lambda op, w, x: x.dtype == bool, pad_with(1)),
            "always time": given_op(axis=1),
        },
    ),
    **of(
        ops.Repeat,
        {
            "tiled": computing(tiled),
            "always time": given_op(axis=1),
            "once more": changed_op(lambda op: {"times": op.times + 1}),
        },
    ),
    **of(ops.Fold, {"time first": computing(time_major)}),
    **of(
        ops.Unfold,
        {
            "time first": computing(from_time_major),
            "batch and time swapped": computing(lambda op, w, x, like: x.reshape(*like.shape[1::-1], *x.shape[1:])),
        },
    ),
}

# Number by number.


def product(op: Any, w: Weights, c: Array, x: Array, other: Array) -> Array:
    """The number not selected has an influence where it is NaN or infinite."""
    c = c.astype(x.dtype)
    return c * x + (1 - c) * other


def by_logarithm(op: Any, w: Weights, x: Array, other: Array) -> Array:
    return np.asarray(np.exp(other * np.log(x)))


POINTWISE = {
    **of(
        ops.Unary,
        {
            "rsqrt is sqrt": where_function("rsqrt", given_op(function="sqrt")),
            "rsqrt is reciprocal": where_function("rsqrt", given_op(function="reciprocal")),
            "reciprocal of zero is zero": where_function(
                "reciprocal", instead(lambda op, y: np.where(np.isinf(y), 0, y))
            ),
            "log of sizes": where_function("log", given_inputs(lambda op, x: (np.abs(x),))),
            "log of 1 + x": where_function("log", given_inputs(lambda op, x: (1 + x,))),
            "sqrt of sizes": where_function("sqrt", given_inputs(lambda op, x: (np.abs(x),))),
            "exp - 1": where_function("exp", instead(lambda op, y: y - 1)),
            "sin is cos": where_function("sin", given_op(function="cos")),
            "cos is sin": where_function("cos", given_op(function="sin")),
            "square keeps the sign": where_function("square", computing(lambda op, w, x: x * np.abs(x))),
            "abs ignored": where_function("abs", computing(lambda op, w, x: x)),
            "negative ignored": where_function("negative", computing(lambda op, w, x: x)),
            "not ignored": where_function("not", computing(lambda op, w, x: x)),
            "float64 computed in float32": single,
        },
    ),
    **of(
        ops.Binary,
        {
            "subtract swapped": where_function("subtract", given_inputs(lambda op, x, other: (other, x))),
            "divide swapped": where_function("divide", given_inputs(lambda op, x, other: (other, x))),
            "divide by zero is zero": where_function("divide", instead(lambda op, y: np.where(np.isfinite(y), y, 0))),
            "power swapped": where_function("power", given_inputs(lambda op, x, other: (other, x))),
            "power by logarithm": where_function("power", computing(by_logarithm)),
            "maximum leaves NaN out": where_function("maximum", computing(lambda op, w, x, other: np.fmax(x, other))),
            "minimum leaves NaN out": where_function("minimum", computing(lambda op, w, x, other: np.fmin(x, other))),
            "maximum is minimum": where_function("maximum", given_op(function="minimum")),
            "and is or": where_function("and", given_op(function="or")),
            "or is and": where_function("or", given_op(function="and")),
            "or is exclusive": where_function("or", computing(lambda op, w, x, other: x ^ other)),
            "less is less_equal": where_function("less", given_op(function="less_equal")),
            "less_equal is less": where_function("less_equal", given_op(function="less")),
            "less swapped": where_function("less", given_inputs(lambda op, x, other: (other, x))),
            "NaN equals NaN": where_function(
                "equal", computing(lambda op, w, x, other: (x == other) | (np.isnan(x) & np.isnan(other)))
            ),
            "less_equal is not greater": where_function("less_equal", computing(lambda op, w, x, other: ~(x > other))),
            "float64 computed in float32": single,
        },
    ),
    **of(
        ops.Select,
        {
            "branches swapped": given_inputs(lambda op, c, x, other: (c, other, x)),
            "by products": computing(product),
            "condition of the first sample": given_inputs(
                lambda op, c, x, other: (np.broadcast_to(c[:1], c.shape), x, other)
            ),
        },
    ),
    **of(
        ops.NotEqual,
        {
            "equal": instead(lambda op, y: ~y),
            "NaN counts as the value": computing(
                lambda op, w, x: (x != x.dtype.type(op.value)) & ~np.isnan(x) if x.dtype.kind == "f" else x != op.value
            ),
            "float value cut to a whole number": when(
                lambda op, w, x: x.dtype.kind == "f", computing(lambda op, w, x: x != int(op.value))
            ),
            "value not rounded to the dtype": computing(lambda op, w, x: x.astype(np.float64) != op.value),
        },
    ),
    **of(
        ops.Cast,
        {
            "of bool inverted": given_inputs(lambda op, x, like: (~x if x.dtype == bool else x, like)),
            "of bool is ±1": returning(lambda op, inputs, y: (2 * y[0] - 1 if inputs[0].dtype == bool else y[0],)),
            "of int through bool": given_inputs(lambda op, x, like: (x.astype(bool), like)),
            "to float32 always": computing(lambda op, w, x, like: x.astype(np.float32)),
            "takes the shape of like": computing(
                lambda op, w, x, like: np.broadcast_to(x.flat[0], like.shape).astype(like.dtype)
            ),
        },
    ),
    **of(
        ops.Constant,
        {
            "through float32": instead(lambda op, y: y.astype(np.float32).astype(y.dtype)),
            "column by column": computing(
                lambda op, w, like: np.array(op.values, like.dtype).reshape(op.shape, order="F")
            ),
            "scalar of shape (1,)": instead(lambda op, y: np.atleast_1d(y)),
            "with a batch axis": instead(lambda op, y: y[None]),
        },
    ),
    **of(
        ops.Zeros,
        {
            "ones": instead(lambda op, y: y + 1),
            "for one sample": instead(lambda op, y: y[:1]),
            "in float64": instead(lambda op, y: y.astype(np.float64)),
            "of the shape of like": computing(lambda op, w, like: np.zeros_like(like)),
        },
    ),
    **of(
        ops.Parameter,
        {
            "transposed where square": given_weights(
                lambda op, w: {"value": w["value"].T if len(set(op.shape)) == 1 and len(op.shape) == 2 else w["value"]}
            ),
        },
    ),
}

ONE_HOT = of(
    ops.OneHot,
    {
        "counted from 1": given_inputs(lambda op, x, like: (x - 1, like)),
        "inverted": instead(lambda op, y: 1 - y),
        "ids outside are cut to the last": given_inputs(lambda op, x, like: (np.minimum(x, op.depth - 1), like)),
        "negative ids count from the end": given_inputs(lambda op, x, like: (np.where(x < 0, x + op.depth, x), like)),
        "depth before the last axis": instead(lambda op, y: np.moveaxis(y, -1, 1)),
        "one class more": changed_op(lambda op: {"depth": op.depth + 1}),
        "float32 always": instead(lambda op, y: y.astype(np.float32)),
    },
)

FAULTS: dict[str, Fault] = {**PLACES, **POINTWISE, **ONE_HOT}
