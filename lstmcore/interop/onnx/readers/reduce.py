"""Sums, means and the like over axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length, times
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers.shape import whole
from lstmcore.interop.onnx.values import Flow, Given, Known, as_known
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]


def _over(function: str, fold: Callable[..., Any], before: str = "", after: str = "") -> Read:
    def read(r: Reader, call: Call) -> tuple[Given, ...]:
        call.only("axes", "keepdims", "noop_with_empty_axes")
        x = call.at(0)
        axes = list(call.number("axes", []))
        if call.get(1) is not None:
            axes = whole(call.get(1), "axes")
        if not axes and call.number("noop_with_empty_axes", 0):
            return (x,)
        axes = sorted({axis % max(x.rank, 1) for axis in axes}) or list(range(x.rank))
        keep = bool(call.number("keepdims", 1))
        if isinstance(x, Known):
            if before:
                raise SpecError("it is given known numbers, of which it is not computed")
            return (Known(np.asarray(fold(x.array, axis=tuple(axes), keepdims=keep))),)
        return (_reduced(r, r.flow(x), function, axes, keep, before, after),)

    return read


def _reduced(r: Reader, x: Flow, function: str, axes: list[int], keep: bool, before: str, after: str) -> Flow:
    places = tuple(sorted(x.axis(axis) for axis in axes))
    if 0 in places:
        raise SpecError("it works along the batch")
    value: Value = r.op(ops.Unary(before), x.value) if before else x.value
    value = r.op(ops.Reduce(function, places, keep), value)
    value = r.op(ops.Unary(after), value) if after else value
    have = r.lengths(x)
    kept = [k for k in range(x.rank) if k not in axes]
    lengths: list[Length] = [1 if k in axes else n for k, n in enumerate(have)] if keep else [have[k] for k in kept]
    batch = x.batch if keep or x.batch is None else kept.index(x.batch)
    return Flow(value, batch, tuple(lengths))


def _global(function: str) -> Read:
    def read(r: Reader, call: Call) -> tuple[Given, ...]:
        x = r.flow(call.at(0))
        return (_reduced(r, x, function, list(range(2, x.rank)), True, "", ""),)

    return read


def product(r: Reader, call: Call) -> tuple[Given, ...]:
    """Of lengths, as exporters multiply them."""
    call.only("axes", "keepdims", "noop_with_empty_axes")
    x = call.at(0)
    if not isinstance(x, Known) or x.rank > 1 or x.array.dtype.kind not in "iuO":
        raise SpecError("there is no op for the product of values of the model")
    made = as_known([times(*x.lengths())])
    return (made if call.number("keepdims", 1) else Known(made.array.reshape(())),)


TABLE: Mapping[str, Read] = MappingProxyType(
    {
        "ReduceSum": _over("sum", np.sum),
        "ReduceMean": _over("mean", np.mean),
        "ReduceMax": _over("max", np.max),
        "ReduceMin": _over("min", np.min),
        "ReduceSumSquare": _over("sum", np.sum, before="square"),
        "ReduceL1": _over("sum", np.sum, before="abs"),
        "ReduceL2": _over("sum", np.sum, before="square", after="sqrt"),
        "ReduceProd": product,
        "GlobalAveragePool": _global("mean"),
        "GlobalMaxPool": _global("max"),
    }
)
