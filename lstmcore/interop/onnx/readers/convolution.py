"""Conv and ConvTranspose along one axis and two.

A convolution along two axes is a sum of such along one: for each row of the kernel, the rows that it sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length, divided, plus
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers.items import items
from lstmcore.interop.onnx.values import Array, Fit, Flow, Given, Known
from lstmcore.ops.windows import windows
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]


@dataclass(frozen=True)
class Axis:
    """How the windows lie along one axis."""

    size: int
    strides: int
    dilation: int
    before: int
    after: int

    @property
    def reach(self) -> int:
        return self.dilation * (self.size - 1) + 1

    def steps(self, length: Length) -> Length:
        """How many windows there are along an axis of that length."""
        if self.before < 0:  # as many as fit, with padding at the ends
            return divided(plus(length, self.strides - 1), self.strides)
        left = plus(length, self.before + self.after - self.reach)
        return plus(divided(left, self.strides), 1)


def window(call: Call, sizes: Sequence[int], lengths: Sequence[int | None]) -> list[Axis]:
    count = len(sizes)
    strides = list(call.number("strides", [1] * count))
    dilations = list(call.number("dilations", [1] * count))
    pads = list(call.number("pads", [0] * (2 * count)))
    if not len(strides) == len(dilations) == count or len(pads) != 2 * count:
        raise SpecError(f"strides {strides}, dilations {dilations} and pads {pads} do not fit {count} axes")
    if min(*strides, *dilations, *sizes) < 1 or min(pads) < 0:
        raise SpecError(f"strides {strides}, dilations {dilations}, sizes {list(sizes)} or pads {pads} are too small")
    auto = call.number("auto_pad", "NOTSET")
    found = []
    for k, size in enumerate(sizes):
        before, after = int(pads[k]), int(pads[count + k])
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            before, after = _same(auto, lengths[k], size, strides[k], dilations[k])
        elif auto not in ("NOTSET", "VALID"):
            raise SpecError(f"auto_pad {auto!r} is not known")
        found.append(Axis(int(size), int(strides[k]), int(dilations[k]), before, after))
    return found


def _same(auto: str, length: int | None, size: int, strides: int, dilation: int) -> tuple[int, int]:
    """-1, -1 where that depends on an open length: left to the op, which has the same rule."""
    reach = dilation * (size - 1) + 1
    if length is None and strides > 1:
        if auto == "SAME_LOWER":
            raise SpecError("auto_pad SAME_LOWER along an open axis; give lengths=")
        return -1, -1
    _, less, more = (
        windows(length or reach, size, strides, dilation, "same") if length else (0, (reach - 1) // 2, reach // 2)
    )
    return (less, more) if auto == "SAME_UPPER" else (more, less)


def _kernel(call: Call, rank: int) -> Known:
    given = call.at(1)
    if not isinstance(given, Known) or given.array.dtype.kind != "f":
        raise SpecError("its kernel is computed by the model")
    if given.rank != rank or rank not in (3, 4):
        raise SpecError(f"an input of {rank} axes and a kernel of {given.rank}; expected 3 or 4 of both")
    return given


def _bias(r: Reader, call: Call) -> str | None:
    given = call.get(2)
    if given is None:
        return None
    if not isinstance(given, Known):
        raise SpecError("its bias is computed by the model")
    return r.weight(given.name, given.array, "bias")


def conv(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    x = r.flow(call.at(0))
    kernel = _kernel(call, x.rank)
    each = items(r, x, 0)
    lengths = each.value.shape[2:]
    axes = window(call, kernel.array.shape[2:], lengths)
    if isinstance(x, Fit):
        if any(axis.before or axis.after for axis in axes):
            raise SpecError("its input is padded so that windows fit, and it pads more")
        axes = [replace(axis, before=-1, after=-1) for axis in axes]
    inside = to_last(r, each.value)
    y = _convolved(r, inside, kernel, axes, int(call.number("group", 1)), _bias(r, call))
    flow = each.back(r, to_second(r, y))
    after = [axis.steps(n) for axis, n in zip(axes, r.lengths(x)[2:], strict=True)]
    return (Flow(flow.value, flow.batch, (*r.lengths(flow)[:2], *after)),)


def to_last(r: Reader, x: Value) -> Value:
    """(batch, channels, ...) -> (batch, ..., channels)."""
    rank = len(x.shape)
    return r.op(ops.Transpose((0, *range(2, rank), 1)), x)


def to_second(r: Reader, x: Value) -> Value:
    rank = len(x.shape)
    return r.op(ops.Transpose((0, rank - 1, *range(1, rank - 1))), x)


def _convolved(r: Reader, x: Value, kernel: Known, axes: Sequence[Axis], groups: int, bias: str | None) -> Value:
    """x (batch, time, channels) or (batch, rows, columns, channels)."""
    if len(axes) == 1:
        (axis,) = axes
        padding, x = _padding(r, x, axis)
        rows = np.ascontiguousarray(kernel.array.transpose(2, 1, 0))
        path = r.weight(kernel.name, rows, "conv")
        op = ops.Conv(rows.shape[2], axis.size, axis.strides, axis.dilation, padding, groups, bias is not None)
        return r.op(op, x, weights={"kernel": path, **({} if bias is None else {"bias": bias})})
    rows_axis, columns = axes
    x = _pad(r, _pad(r, x, 1, rows_axis), 2, columns)
    height = x.shape[1]
    if height is None:
        raise SpecError("it works along two axes, of which the first is open; give lengths=")
    steps = (height - rows_axis.reach) // rows_axis.strides + 1
    if steps < 1:
        raise SpecError(f"a kernel of reach {rows_axis.reach} over {height} rows")
    total: Value | None = None
    for k in range(rows_axis.size):
        seen = _every(r, x, k * rows_axis.dilation, rows_axis.strides, steps)
        folded = r.op(ops.Fold(), seen)
        numbers = np.ascontiguousarray(kernel.array[:, :, k].transpose(2, 1, 0))
        path = r.weight(f"{kernel.name}/row_{k}" if kernel.name else "", numbers, "conv")
        own = bias if k == 0 else None
        op = ops.Conv(
            numbers.shape[2], columns.size, columns.strides, columns.dilation, "valid", groups, own is not None
        )
        part = r.op(op, folded, weights={"kernel": path, **({} if own is None else {"bias": own})})
        part = r.op(ops.Unfold(), part, seen)
        total = part if total is None else r.op(ops.Binary("add"), total, part)
    assert total is not None
    return total


def _padding(r: Reader, x: Value, axis: Axis) -> tuple[str, Value]:
    """The op's own padding where it is that; else x comes padded."""
    pads = axis.before, axis.after
    if pads == (0, 0):
        return "valid", x
    if pads == (axis.reach - 1, 0):
        return "causal", x
    same = ((axis.reach - 1) // 2, axis.reach // 2) if axis.strides == 1 else (-1, -1)
    if pads == same:
        return "same", x
    return "valid", _pad(r, x, 1, axis)


def _pad(r: Reader, x: Value, place: int, axis: Axis) -> Value:
    if axis.before == axis.after == 0:
        return x
    if axis.before < 0:
        raise SpecError("its padding depends on an open length; give lengths=")
    return r.op(ops.Pad(place, axis.before, axis.after), x)


def _every(r: Reader, x: Value, start: int, step: int, count: int) -> Value:
    """Rows start, start + step, ... of axis 1."""
    if step == 1:
        return r.op(ops.Slice(1, start, start + count), x)
    r.budget.parts(count)
    rows = [r.op(ops.Slice(1, start + k * step, start + k * step + 1), x) for k in range(count)]
    return rows[0] if count == 1 else r.op(ops.Concat(1, count), *rows)


def conv_transpose(r: Reader, call: Call) -> tuple[Given, ...]:
    """The convolution with the kernel turned round, over the input with zeros between its steps."""
    call.only("auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides")
    if "output_shape" in call.attributes or call.number("auto_pad", "NOTSET") != "NOTSET":
        raise SpecError("output_shape and auto_pad are not read; give pads")
    x = r.flow(call.at(0))
    given, groups = _kernel(call, x.rank), int(call.number("group", 1))
    each = items(r, x, 0)
    axes = window(call, given.array.shape[2:], each.value.shape[2:])
    more = list(call.number("output_padding", [0] * len(axes)))
    y = to_last(r, each.value)
    for place, axis in enumerate(axes, 1):
        y = _apart(r, y, place, axis.strides)
    full = [
        Axis(a.size, 1, a.dilation, a.reach - 1 - a.before, a.reach - 1 - a.after + int(extra))
        for a, extra in zip(axes, more, strict=True)
    ]
    if any(min(a.before, a.after) < 0 for a in full):
        raise SpecError("its pads are larger than its kernel")
    kernel = Known(_turned(given.array, groups), given.name)
    return (each.back(r, to_second(r, _convolved(r, y, kernel, full, groups, _bias(r, call)))),)


def _turned(kernel: Array, groups: int) -> Array:
    """(channels, filters / groups, ...) -> (filters, channels / groups, ...), each axis of the window in reverse."""
    channels, filters, *window = kernel.shape
    blocks = kernel.reshape(groups, channels // groups, filters, *window).swapaxes(1, 2)
    whole = blocks.reshape(groups * filters, channels // groups, *window)
    return np.ascontiguousarray(np.flip(whole, tuple(range(2, whole.ndim))))


def _apart(r: Reader, x: Value, place: int, strides: int) -> Value:
    """strides - 1 zeros between the entries of an axis."""
    if strides == 1:
        return x
    shape = list(x.shape[1:])
    length = shape[place - 1]
    if length is None or shape.count(None):
        raise SpecError("it spreads an open axis; give lengths=")
    wide = [*shape[:place], 1, *shape[place:]]
    y = r.op(ops.Pad(place + 1, 0, strides - 1), r.op(ops.Reshape(tuple(int(n or 0) for n in wide)), x))
    shape[place - 1] = length * strides
    y = r.op(ops.Reshape(tuple(int(n or 0) for n in shape)), y)
    return r.op(ops.Slice(place, 0, (length - 1) * strides + 1), y)


TABLE: Mapping[str, Read] = MappingProxyType({"Conv": conv, "ConvTranspose": conv_transpose})
