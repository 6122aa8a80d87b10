"""Sums of products in NumPy, each as one matrix product."""

from __future__ import annotations

import string
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.errors import InputError
from lstmcore.ops.windows import Windows, windows
from lstmcore_numpy.gradients import Vjp, column_sums, pulling

Array = NDArray[Any]
Weights = Mapping[str, Array]


def affine(op: ops.Affine, w: Weights, x: Array) -> tuple[Array]:
    # One GEMM over all leading axes: matmul would do one per batch entry.
    y = x.reshape(-1, x.shape[-1]) @ w["kernel"]
    if op.use_bias:
        y += w["bias"]
    return (y.reshape(*x.shape[:-1], op.units),)


def pull_affine(op: ops.Affine, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    rows = x.reshape(-1, x.shape[-1])

    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[Array]]:
        d = dy.reshape(-1, op.units)
        found = {"kernel": rows.T @ d}
        if op.use_bias:
            found["bias"] = column_sums(d)
        return found, ((d @ w["kernel"].T).reshape(x.shape),)

    return affine(op, w, x), vjp


def embed(op: ops.Embed, w: Weights, ids: Array) -> tuple[Array]:
    return (w["embeddings"][ids],)


def pull_embed(op: ops.Embed, w: Weights, ids: Array) -> tuple[tuple[Array], Vjp]:
    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[None]]:
        # Number by number: rows at a time, or sorted into segments, measured three to five times slower.
        table = np.zeros(op.size * op.units, dy.dtype)
        at = ids.reshape(-1, 1) * np.int64(op.units) + np.arange(op.units)
        np.add.at(table, at.ravel(), dy.ravel())
        return {"embeddings": table.reshape(op.size, op.units)}, (None,)

    return embed(op, w, ids), vjp


class Plan(NamedTuple):
    """How an equation becomes x (*batch, M, K) @ other (*batch, K, N): axes to sum away, then orders of axes."""

    x_alone: tuple[int, ...]
    x_order: tuple[int, ...]
    other_alone: tuple[int, ...]
    other_order: tuple[int, ...]
    batch: int  # how many letters each group has
    rows: int
    summed: int
    columns: int
    y_order: tuple[int, ...]


@lru_cache(maxsize=512)
def plan(equation: str) -> Plan:
    x, other, y = ops.Einsum(equation).terms
    both = [letter for letter in x if letter in other]
    batch, summed = [c for c in both if c in y], [c for c in both if c not in y]
    rows, columns = [c for c in x if c in y and c not in other], [c for c in other if c in y and c not in x]

    def alone(term: str, partner: str) -> tuple[tuple[int, ...], str]:
        gone = [c for c in term if c not in partner and c not in y]
        return tuple(term.index(c) for c in gone), "".join(c for c in term if c not in gone)

    x_alone, x = alone(x, other)
    other_alone, other = alone(other, x)
    made = [*batch, *rows, *columns]
    return Plan(
        x_alone,
        tuple(x.index(c) for c in (*batch, *rows, *summed)),
        other_alone,
        tuple(other.index(c) for c in (*batch, *summed, *columns)),
        len(batch),
        len(rows),
        len(summed),
        len(columns),
        tuple(made.index(c) for c in y),
    )


def einsum(op: ops.Einsum, w: Weights, x: Array, other: Array) -> tuple[Array]:
    return (contract(op.equation, x, other),)


def contract(equation: str, x: Array, other: Array) -> Array:
    """The sum of products of two arrays, one matrix product where letters meet and vanish."""
    how = plan(equation)
    x = (x.sum(how.x_alone) if how.x_alone else x).transpose(how.x_order)
    other = (other.sum(how.other_alone) if how.other_alone else other).transpose(how.other_order)
    batch, rows = x.shape[: how.batch], x.shape[how.batch : how.batch + how.rows]
    columns = other.shape[how.batch + how.summed :]
    if how.summed:
        inner = x.shape[how.batch + how.rows :]
        # The batch axes stay apart: merging them would copy operands whose axes are in another order.
        left = x.reshape(*batch, _product(rows), _product(inner))
        y = left @ other.reshape(*batch, _product(inner), _product(columns))
        y = y.reshape((*batch, *rows, *columns))
    else:
        y = x.reshape(x.shape + (1,) * how.columns) * other.reshape((*batch, *(1,) * how.rows, *columns))
    return np.asarray(y).transpose(how.y_order)


def _einsum_back(op: ops.Einsum, dy: Array, x: Array, other: Array) -> tuple[Array, Array]:
    x_term, other_term, y_term = op.terms
    return (
        _factor_back(dy, y_term, other, other_term, x, x_term),
        _factor_back(dy, y_term, x, x_term, other, other_term),
    )


def _factor_back(dy: Array, y_term: str, other: Array, other_term: str, x: Array, x_term: str) -> Array:
    """The gradient of one operand, x: dy times the other, and the same along the letters that x had alone."""
    met = "".join(letter for letter in x_term if letter in y_term + other_term)
    if not y_term:  # an operand has a letter: one of length 1, summed away
        y_term, dy = next(letter for letter in string.ascii_letters if letter not in other_term), dy.reshape(1)
    dx = contract(f"{y_term},{other_term}->{met}", dy, other)
    alone = tuple(axis for axis, letter in enumerate(x_term) if letter not in met)
    return np.broadcast_to(np.expand_dims(dx, alone), x.shape) if alone else dx


pull_einsum = pulling(einsum, _einsum_back)


def _product(lengths: tuple[int, ...]) -> int:
    result = 1
    for length in lengths:
        result *= length
    return result


def fitting(op: ops.Conv | ops.Pool, time: int, dilation: int = 1) -> Windows:
    """The op's windows; InputError where a length that was open before is too short for one."""
    found = windows(time, op.size, op.strides, dilation, op.padding)
    if found.steps < 1:
        raise InputError(f"{op}: {time} steps are given; expected at least {dilation * (op.size - 1) + 1}")
    return found


def conv(op: ops.Conv, w: Weights, x: Array) -> tuple[Array]:
    return (_products(op, w, _gathered(op, x)),)


def _gathered(op: ops.Conv, x: Array) -> Array:
    """What each window sees: (B, T', size, groups, I / groups), a view of x or of x with its padding."""
    batch, time, channels = x.shape
    steps, left, right = fitting(op, time, op.dilation)
    if left or right:
        padded = np.zeros((batch, left + time + right, channels), x.dtype)
        padded[:, left : left + time] = x
        x = padded
    b, t, c = x.strides
    shape = (batch, steps, op.size, op.groups, channels // op.groups)
    strides = (b, t * op.strides, t * op.dilation, c * (channels // op.groups), c)
    return as_strided(x, shape, strides, writeable=False)


def _products(op: ops.Conv, w: Weights, seen: Array) -> Array:
    batch, steps, _, groups, _ = seen.shape
    columns = w["kernel"].reshape(-1, groups, op.filters // groups)
    if groups == 1:
        y = seen.reshape(batch * steps, -1) @ columns[:, 0]
    else:
        blocks = _by_group(seen) @ columns.transpose(1, 0, 2)
        y = blocks.transpose(1, 0, 2).reshape(batch * steps, op.filters)
    if op.use_bias:
        y += w["bias"]
    return y.reshape(batch, steps, op.filters)


def _by_group(seen: Array) -> Array:
    """The windows as the rows of a matrix for each group: (groups, B T', size I / groups)."""
    batch, steps, _, groups, _ = seen.shape
    return seen.transpose(3, 0, 1, 2, 4).reshape(groups, batch * steps, -1)


def pull_conv(op: ops.Conv, w: Weights, x: Array) -> tuple[tuple[Array], Vjp]:
    seen, kernel = _gathered(op, x), w["kernel"]
    batch, steps, size, groups, channels = seen.shape

    def vjp(dy: Array) -> tuple[dict[str, Array], tuple[Array]]:
        d = dy.reshape(batch * steps, groups, -1).transpose(1, 0, 2)
        found = {"kernel": (_by_group(seen).transpose(0, 2, 1) @ d).transpose(1, 0, 2).reshape(kernel.shape)}
        if op.use_bias:
            found["bias"] = column_sums(dy.reshape(batch * steps, -1))
        columns = kernel.reshape(size * channels, groups, -1).transpose(1, 2, 0)
        blocks = (d @ columns).reshape(groups, batch, steps, size, channels).transpose(3, 1, 2, 0, 4)
        _, left, right = fitting(op, x.shape[1], op.dilation)
        dx = np.zeros((batch, left + x.shape[1] + right, groups * channels), dy.dtype)
        span = (steps - 1) * op.strides + 1
        for k, block in enumerate(blocks):
            dx[:, k * op.dilation : k * op.dilation + span : op.strides] += block.reshape(batch, steps, -1)
        return found, (dx[:, left : left + x.shape[1]],)

    return (_products(op, w, seen),), vjp
