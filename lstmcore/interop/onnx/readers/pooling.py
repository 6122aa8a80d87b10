"""MaxPool and AveragePool along one axis, or one after the other along several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers.convolution import Axis, window
from lstmcore.interop.onnx.readers.items import items
from lstmcore.interop.onnx.readers.shape import reshaped
from lstmcore.interop.onnx.values import Flow, Given
from lstmcore.ops.windows import windows
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]
KNOWN = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "storage_order", "strides")


def _pool(function: str) -> Read:
    def read(r: Reader, call: Call) -> tuple[Given, ...]:
        call.only(*KNOWN)
        x = r.flow(call.at(0))
        sizes = list(call.attributes["kernel_shape"])
        if x.rank != 2 + len(sizes):
            raise SpecError(f"an input of {x.rank} axes and windows of {len(sizes)}; expected two axes more")
        each = items(r, x, 0)
        y, lengths = each.value, r.lengths(x)
        inside = bool(call.number("count_include_pad", 0))
        for place, axis in enumerate(window(call, sizes, y.shape[2:]), 2):
            if axis.dilation != 1:
                raise SpecError("dilations are not read")
            wide = _ceiled(axis, y.shape[place]) if call.number("ceil_mode", 0) else axis
            lengths[place] = wide.steps(lengths[place])
            y = _along(r, y, place, partial(_pooled, r, function, axis, wide, inside))
        flow = each.back(r, y)
        return (Flow(flow.value, flow.batch, tuple(lengths)),)

    return read


def _ceiled(axis: Axis, length: int | None) -> Axis:
    """The same windows, and one more that begins inside and ends beyond the end, where steps are left over."""
    if axis.before < 0:
        return axis
    if length is not None:
        before = length + axis.before
        count = -(-(before + axis.after - axis.reach) // axis.strides) + 1
        count -= (count - 1) * axis.strides >= before
        return replace(axis, after=axis.after + max((count - 1) * axis.strides + axis.reach - before - axis.after, 0))
    if axis.after + axis.strides > axis.reach:
        raise SpecError("ceil_mode 1 with windows farther apart than they are long, along an open axis")
    return replace(axis, after=axis.after + axis.strides - 1)


def _along(r: Reader, x: Value, place: int, pool: Callable[[Value], Value]) -> Value:
    """One axis of the program's as the steps, all others as channels."""
    others = [k for k in range(1, len(x.shape)) if k != place]
    order = (0, place, *others)
    rest = [x.shape[k] for k in others]
    y = r.op(ops.Transpose(order), x)
    y = y if len(others) == 1 else reshaped(r, y, [x.shape[place], None if None in rest else _product(rest)])
    y = pool(y)
    y = y if len(others) == 1 else reshaped(r, y, [y.shape[1], *rest])
    return r.op(ops.Transpose(tuple(order.index(k) for k in range(len(order)))), y)


def _product(lengths: list[int | None]) -> int:
    found = 1
    for n in lengths:
        found *= n or 1
    return found


def _pooled(r: Reader, function: str, axis: Axis, wide: Axis, inside: bool, x: Value) -> Value:
    """x (batch, time, channels). ``wide`` has the padding that ceil_mode adds, which never counts."""
    padding = _named(wide, x.shape[1])
    if padding is not None and not (inside and padding == "same"):
        return r.op(ops.Pool(function, axis.size, axis.strides, padding), x)
    if wide.before < 0:
        raise SpecError("its padding depends on an open length and counts; give lengths=")
    if inside and function == "mean":
        x = _pad(r, x, axis.before, axis.after)
        axis, wide = replace(axis, before=0, after=0), replace(wide, before=0, after=wide.after - axis.after)
    pool = ops.Pool(function, axis.size, axis.strides, "valid")
    if wide.before == wide.after == 0:
        return r.op(pool, x)
    there = _pad(r, _there(r, x), wide.before, wide.after)
    padded = _pad(r, x, wide.before, wide.after)
    if function == "max":
        return r.op(pool, r.op(ops.Select(), there, padded, _infinite(r, x)))
    counted = r.op(pool, r.op(ops.Cast(), there, x))
    return r.op(ops.Binary("divide"), r.op(pool, padded), counted)


def _there(r: Reader, x: Value) -> Value:
    """True for each number, NaN or not."""
    return r.op(ops.Unary("not"), r.op(ops.Binary("less"), x, x))


def _infinite(r: Reader, x: Value) -> Value:
    """Minus infinity."""
    return r.op(ops.Unary("log"), r.constant(0.0, x))


def _pad(r: Reader, x: Value, before: int, after: int) -> Value:
    return x if before == after == 0 else r.op(ops.Pad(1, before, after), x)


def _named(axis: Axis, time: int | None) -> str | None:
    """The op's own padding, where it is that."""
    if (axis.before, axis.after) == (0, 0):
        return "valid"
    if (axis.before, axis.after) == (-1, -1):
        return "same"
    if time is not None:
        _, before, after = windows(time, axis.size, axis.strides, 1, "same")
    elif axis.strides == 1:
        before, after = (axis.size - 1) // 2, axis.size // 2
    else:
        return None
    return "same" if (axis.before, axis.after) == (before, after) else None


TABLE: Mapping[str, Read] = MappingProxyType({"MaxPool": _pool("max"), "AveragePool": _pool("mean")})
