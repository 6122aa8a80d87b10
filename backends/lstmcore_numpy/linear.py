"""Sums of products in NumPy, each as one matrix product."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.errors import InputError
from lstmcore.ops.windows import Windows, windows

Array = NDArray[Any]
Weights = Mapping[str, Array]


def affine(op: ops.Affine, w: Weights, x: Array) -> tuple[Array]:
    # One GEMM over all leading axes: matmul would do one per batch entry.
    y = x.reshape(-1, x.shape[-1]) @ w["kernel"]
    if op.use_bias:
        y += w["bias"]
    return (y.reshape(*x.shape[:-1], op.units),)


def embed(op: ops.Embed, w: Weights, ids: Array) -> tuple[Array]:
    return (w["embeddings"][ids],)


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
    how = plan(op.equation)
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
        y = x.reshape(x.shape + (1,) * how.columns) * other.reshape(*batch, *(1,) * how.rows, *columns)
    return (np.asarray(y).transpose(how.y_order),)


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
    kernel, groups = w["kernel"], op.groups
    batch, time, channels = x.shape
    steps, left, right = fitting(op, time, op.dilation)
    if left or right:
        padded = np.zeros((batch, left + time + right, channels), x.dtype)
        padded[:, left : left + time] = x
        x = padded
    b, t, c = x.strides
    # A view (B, T', size, groups, I / groups) of all windows; the reshape below gathers them.
    shape = (batch, steps, op.size, groups, channels // groups)
    seen = as_strided(x, shape, (b, t * op.strides, t * op.dilation, c * (channels // groups), c), writeable=False)
    columns = kernel.reshape(-1, groups, op.filters // groups)
    if groups == 1:
        y = seen.reshape(batch * steps, -1) @ columns[:, 0]
    else:
        blocks = seen.transpose(3, 0, 1, 2, 4).reshape(groups, batch * steps, -1) @ columns.transpose(1, 0, 2)
        y = blocks.transpose(1, 0, 2).reshape(batch * steps, op.filters)
    if op.use_bias:
        y += w["bias"]
    return (y.reshape(batch, steps, op.filters),)
