"""Faults in the kernels that sum up: Einsum, Conv, Pool, Reduce, Total, the normalizations; and in Causal.

As in `faults`; each is something that an engine's function of almost the same name does, or a slip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from planting import (
    Array,
    Fault,
    Run,
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
from lstmcore.ops.windows import windows

# Einsum.


def one_for_all(op: Any, x: Array, other: Array) -> tuple[Array, Array]:
    """The first sample's second operand serves them all."""
    batched = op.equation.partition("->")[0].partition(",")[2][0] == op.equation[0]
    return x, np.broadcast_to(other[:1], other.shape) if batched else other


def in_order_of_appearance(op: Any, y: Array) -> Array:
    """The axes of y as the letters come in the operands."""
    *operands, made = op.terms
    letters = [letter for letter in dict.fromkeys("".join(operands)) if letter in made]
    return y.transpose([made.index(letter) for letter in letters])


def averaged(op: Any, inputs: Any, outputs: Any) -> tuple[Array]:
    """Letters of one operand alone are averaged."""
    x, other, made = op.terms
    count = 1
    for letters, array in ((x, inputs[0]), (other, inputs[1])):
        rest = other if letters is x else x
        for letter, length in zip(letters, array.shape, strict=True):
            count *= length if letter not in rest + made else 1
    return (outputs[0] / array.dtype.type(count),)


EINSUM = of(
    ops.Einsum,
    {
        "operands swapped": given_inputs(lambda op, x, other: (other, x)),
        "first sample for all": given_inputs(one_for_all),
        "axes in order of appearance": instead(in_order_of_appearance),
        "mean instead of sum over letters of one operand": returning(averaged),
        "float64 computed in float32": single,
    },
)

# Conv and Pool.


def padded(x: Array, left: int, right: int, mode: str = "constant", **more: Any) -> Array:
    return np.pad(x, [(0, 0), (left, right), (0, 0)], mode=mode, **more)  # type: ignore[call-overload]


def conv_padded(change: Callable[[Any, int, int, int], tuple[int, int]], mode: str = "constant") -> Wrap:
    """``change(op, steps, left, right)`` says how much is padded before and after."""

    def wrap(run: Run) -> Run:
        def wrong(op: Any, w: Weights, x: Array) -> tuple[Any, ...]:
            found = windows(x.shape[1], op.size, op.strides, op.dilation, op.padding)
            left, right = change(op, *found)
            y, *_ = given_op(padding="valid")(run)(op, w, padded(x, left, right, mode))
            return (y[:, : found.steps],)

        return wrong

    return wrap


def same_as_without_strides(run: Run) -> Run:
    """``padding="same"`` computed at every step, and every so many-th kept."""

    def wrong(op: Any, w: Weights, x: Array) -> tuple[Any, ...]:
        if op.padding != "same":
            return run(op, w, x)
        return (given_op(strides=1)(run)(op, w, x)[0][:, :: op.strides],)

    return wrong


def last_of_each_stride(run: Run) -> Run:
    def wrong(op: Any, w: Weights, x: Array) -> tuple[Any, ...]:
        steps = run(op, w, x)[0].shape[1]
        every, *_ = given_op(strides=1)(run)(op, w, x)
        places = np.minimum(np.arange(steps) * op.strides + op.strides - 1, every.shape[1] - 1)
        return (every[:, places],)

    return wrong


def interleaved(array: Array, groups: int) -> Array:
    """The last axis, blocks of groups one after the other, dealt out in turn."""
    blocks = array.reshape(*array.shape[:-1], groups, -1)
    return np.ascontiguousarray(np.swapaxes(blocks, -1, -2)).reshape(array.shape)


def first_group(op: Any, x: Array) -> tuple[Array]:
    return (np.tile(x[..., : x.shape[-1] // op.groups], op.groups),)


def biased(run: Run, times: int) -> Run:
    def wrong(op: Any, w: Weights, x: Array) -> tuple[Any, ...]:
        return run(op, {**w, "bias": times * w["bias"]} if op.use_bias else w, x)

    return wrong


CONV = of(
    ops.Conv,
    {
        "causal padding after": conv_padded(lambda op, n, a, b: (b, a) if op.padding == "causal" else (a, b)),
        "causal padding of size - 1 whatever the dilation": conv_padded(
            lambda op, n, a, b: (op.size - 1, a + b - op.size + 1) if op.padding == "causal" else (a, b)
        ),
        "causal padding one step short": conv_padded(
            lambda op, n, a, b: (max(a - 1, 0), b + min(a, 1)) if op.padding == "causal" else (a, b)
        ),
        "same: the odd step before": conv_padded(lambda op, n, a, b: (b, a) if op.padding == "same" else (a, b)),
        "same: as without strides": same_as_without_strides,
        "padded with the edge": conv_padded(lambda op, n, a, b: (a, b), "edge"),
        "kernel flipped": given_weights(lambda op, w: {"kernel": w["kernel"][::-1]}),
        "dilation ignored": given_op(dilation=1),
        "strides ignored": given_op(strides=1),
        "strides one more": changed_op(lambda op: {"strides": op.strides + 1}),
        "last of each stride": last_of_each_stride,
        "strides and dilation traded": changed_op(lambda op: {"strides": op.dilation, "dilation": op.strides}),
        "filters dealt out to the groups in turn": instead(lambda op, y: interleaved(y, op.groups)),
        "channels dealt out to the groups in turn": given_inputs(lambda op, x: (interleaved(x, op.groups),)),
        "first group for all": given_inputs(first_group),
        "bias added twice": lambda run: biased(run, 2),
        "bias dropped": lambda run: biased(run, 0),
        "float64 computed in float32": single,
    },
)


def pooled(op: Any, x: Array, shift: int = 0, outside: float | None = None, count_all: bool = False) -> Array:
    """Window by window; ``shift`` moves them, ``outside`` is what padding holds."""
    steps, left, _ = windows(x.shape[1], op.size, op.strides, 1, op.padding)
    made = []
    for t in range(steps):
        first = t * op.strides - left - shift
        places = [k for k in range(first, first + op.size) if 0 <= k < x.shape[1]]
        part = x[:, places]
        if outside is not None and len(places) < op.size:
            part = padded(part, 0, op.size - len(places), constant_values=outside)
        total = part.sum(1) / part.dtype.type(op.size if count_all else max(part.shape[1], 1))
        made.append(part.max(1, initial=-np.inf) if op.function == "max" else total)
    return np.stack(made, 1)


def odd_before(op: Any, w: Weights, x: Array) -> Array:
    _, left, right = windows(x.shape[1], op.size, op.strides, 1, op.padding)
    return pooled(op, x, right - left if op.padding == "same" else 0)


POOL = of(
    ops.Pool,
    {
        "mean counts the padding": computing(lambda op, w, x: pooled(op, x, count_all=True)),
        "max sees zeros in the padding": where_function("max", computing(lambda op, w, x: pooled(op, x, outside=0.0))),
        "max leaves NaN out": where_function("max", given_inputs(lambda op, x: (np.where(np.isnan(x), -np.inf, x),))),
        "mean takes NaN for zero": where_function("mean", given_inputs(lambda op, x: (np.where(np.isnan(x), 0, x),))),
        "same: the odd step before": computing(odd_before),
        "strides are the size": changed_op(lambda op: {"strides": op.size}),
        "max for mean": given_op(function="max"),
        "same as valid": given_op(padding="valid"),
    },
)

# Reduce and Causal.


REDUCE = of(
    ops.Reduce,
    {
        "over the last axes": returning(
            lambda op, inputs, outputs: (_reduced(op, inputs[0], tuple(range(-len(op.axes), 0))),)
        ),
        "over the first axis alone": changed_op(lambda op: {"axes": op.axes[:1]}),
        "keepdims ignored": given_op(keepdims=False),
        "keepdims always": given_op(keepdims=True),
        "mean is the sum": where_function("mean", given_op(function="sum")),
        "mean divides by the batch too": where_function("mean", returning(lambda op, x, y: (y[0] / len(x[0]),))),
        "max leaves NaN out": where_function("max", given_inputs(lambda op, x: (np.where(np.isnan(x), -np.inf, x),))),
        "min leaves NaN out": where_function("min", given_inputs(lambda op, x: (np.where(np.isnan(x), np.inf, x),))),
        "max starts at zero": where_function("max", instead(lambda op, y: np.maximum(y, 0))),
        "any is all": where_function("any", given_op(function="all")),
        "all is any": where_function("all", given_op(function="any")),
        "min of the sizes": where_function("min", given_inputs(lambda op, x: (np.abs(x),))),
    },
)


def _reduced(op: Any, x: Array, axes: tuple[int, ...]) -> Array:
    found: Array = np.asarray(getattr(np, op.function)(x, axis=axes, keepdims=op.keepdims))
    return found


def _places(x: Array) -> tuple[Array, Array]:
    queries, keys = x.shape[-2:]
    return np.arange(queries)[:, None], np.arange(keys)


def causal(rule: Callable[[Array, Array], Array]) -> Wrap:
    """``rule(q, k)`` says what is seen."""
    return computing(lambda op, w, x: np.broadcast_to(rule(*_places(x)), x.shape))


CAUSAL = of(
    ops.Causal,
    {
        "without the present": causal(lambda q, k: k < q),
        "one step into the future": causal(lambda q, k: k <= q + 1),
        "transposed": causal(lambda q, k: k >= q),
        "the future instead of the past": causal(lambda q, k: k > q),
        "the last query sees the last key": causal(lambda q, k: k <= q + k.size - q.size),
        "everything": causal(lambda q, k: k + q >= 0),
    },
)

# Normalization.


def batch_normalized(
    mean: Callable[[Weights, Array], Array] = lambda w, x: w["moving_mean"],
    variance: Callable[[Weights, Array], Array] = lambda w, x: w["moving_variance"],
    root: Callable[[Array, float], Array] = lambda v, e: np.sqrt(v + v.dtype.type(e)),
) -> Wrap:
    def wrong(op: Any, w: Weights, x: Array) -> Array:
        y = (x - mean(w, x)) / root(variance(w, x), op.epsilon) * w.get("gamma", x.dtype.type(1))
        return np.asarray(y + w.get("beta", x.dtype.type(0)), x.dtype)

    return computing(wrong)


def all_but_last(x: Array) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def layer_normalized(
    axes: Callable[[Any, Array], tuple[int, ...]] = lambda op, x: op.axes,
    ddof: int = 0,
    root: Callable[[Array, float], Array] = lambda v, e: np.sqrt(v + v.dtype.type(e)),
    centered: bool = True,
) -> Wrap:
    def wrong(op: Any, w: Weights, x: Array) -> Array:
        over = axes(op, x)
        own = [n if k in op.axes else 1 for k, n in enumerate(x.shape)]
        gamma, beta = (
            w[port].reshape(own) if port in w else x.dtype.type(port == "gamma") for port in ("gamma", "beta")
        )
        mean = x.mean(over, keepdims=True) if centered else x.dtype.type(0)
        return np.asarray((x - mean) / root(x.var(over, keepdims=True, ddof=ddof), op.epsilon) * gamma + beta, x.dtype)

    return computing(wrong)


def traded(first: str, second: str) -> Wrap:
    """Two weights of one shape."""
    return when(
        lambda op, w, x: first in w and second in w,
        given_weights(lambda op, w: {first: w[second], second: w[first]}),
    )


NORMALIZATION = {
    **of(
        ops.BatchNormalize,
        {
            "epsilon outside the root": batch_normalized(root=lambda v, e: np.sqrt(v) + v.dtype.type(e)),
            "epsilon ignored": given_op(epsilon=0.0),
            "epsilon always 0.001": given_op(epsilon=0.001),
            "variance without root": batch_normalized(root=lambda v, e: v + v.dtype.type(e)),
            "gamma and beta swapped": traded("gamma", "beta"),
            "mean and variance swapped": traded("moving_mean", "moving_variance"),
            "gamma and variance swapped": traded("gamma", "moving_variance"),
            "statistics of the batch": batch_normalized(
                lambda w, x: x.mean(all_but_last(x)), lambda w, x: x.var(all_but_last(x))
            ),
            "mean of the batch": batch_normalized(lambda w, x: x.mean(all_but_last(x))),
            "gamma ignored": given_weights(lambda op, w: {"gamma": np.ones_like(w["gamma"])} if op.scale else {}),
            "float64 computed in float32": single,
        },
    ),
    **of(
        ops.LayerNormalize,
        {
            "unbiased variance": layer_normalized(ddof=1),
            "over the last axis": layer_normalized(lambda op, x: (x.ndim - 1,)),
            "over all axes but the batch": layer_normalized(lambda op, x: tuple(range(1, x.ndim))),
            "over the batch too": layer_normalized(lambda op, x: (0, *op.axes)),
            "epsilon outside the root": layer_normalized(root=lambda v, e: np.sqrt(v) + v.dtype.type(e)),
            "epsilon always 0.001": given_op(epsilon=0.001),
            "variance without root": layer_normalized(root=lambda v, e: v + v.dtype.type(e)),
            "by the mean square alone": layer_normalized(centered=False),
            "gamma and beta swapped": traded("gamma", "beta"),
            "beta ignored": given_weights(lambda op, w: {"beta": 0 * w["beta"]} if op.center else {}),
            "float64 computed in float32": single,
        },
    ),
}


def _total(op: Any, x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(getattr(np, op.function)(x, axis=axes))


TOTAL = of(
    ops.Total,
    {
        "mean is the sum": where_function("mean", given_op(function="sum")),
        "sum is the mean": where_function("sum", given_op(function="mean")),
        "mean of the samples' sums": where_function("mean", computing(lambda op, w, x: x.sum() / x.dtype.type(len(x)))),
        "of each sample": computing(lambda op, w, x: x.reshape(len(x), -1).sum(1)),
        "of the first sample": computing(lambda op, w, x: np.asarray(x[0].sum() if x.ndim else x)),
        "of shape (1,)": instead(lambda op, y: y.reshape(1) if not op.kept else y),
        "kept ignored": given_op(kept=0),
        "one axis kept of several": changed_op(lambda op: {"kept": min(op.kept, 1)}),
        "the first axes kept": returning(
            lambda op, x, y: (_total(op, x[0], tuple(range(op.kept, x[0].ndim))) if op.kept else y[0],)
        ),
        "the mean of what is kept divides by all": where_function(
            "mean", returning(lambda op, x, y: (y[0] / y[0].dtype.type(max(y[0].size, 1)),) if op.kept else y)
        ),
        "NaN left out": given_inputs(lambda op, x: (np.nan_to_num(x),)),
    },
)

FAULTS: dict[str, Fault] = {**EINSUM, **CONV, **POOL, **REDUCE, **TOTAL, **CAUSAL, **NORMALIZATION}
