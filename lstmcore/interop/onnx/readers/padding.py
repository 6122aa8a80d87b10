"""More than there was: padding and repetition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length, Open, plus
from lstmcore.interop.onnx.reader import Call, Reader, give
from lstmcore.interop.onnx.readers.parts import reversed_, sliced
from lstmcore.interop.onnx.readers.shape import joined, unsqueezed, whole
from lstmcore.interop.onnx.values import Flow, Given, Known

Read = Callable[[Reader, Call], tuple[Given, ...]]


def pad(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("mode", "pads", "value")
    x = r.flow(call.at(0))
    pads = list(call.attributes["pads"]) if "pads" in call.attributes else whole(call.get(1), "pads")
    value = call.number("value", 0.0)
    if call.get(2) is not None:
        value = float(np.asarray(whole_float(call.get(2))).reshape(-1)[0])
    axes = list(range(x.rank)) if call.get(3) is None else [a % x.rank for a in whole(call.get(3), "axes")]
    if len(pads) != 2 * len(axes):
        raise SpecError(f"pads is {pads}; expected two for each of {len(axes)} axes")
    mode = call.number("mode", "constant")
    if mode not in ("constant", "reflect") or (mode == "constant" and value != 0):
        raise SpecError(f"mode {mode!r} with value {value} is not read; expected zeros, or 'reflect'")
    for k, axis in enumerate(axes):
        before, after = int(pads[k]), int(pads[len(axes) + k])
        x = _padded(r, x, axis, before, after) if mode == "constant" else _mirrored(r, x, axis, before, after)
    return (x,)


def whole_float(given: Given | None) -> Any:
    """Known numbers."""
    if not isinstance(given, Known) or not given.whole:
        raise SpecError("a number is not known before the model runs")
    return given.array


def _padded(r: Reader, x: Flow, axis: int, before: int, after: int) -> Flow:
    if before < 0 or after < 0:
        x = sliced(r, x, axis, max(-before, 0), None if after >= 0 else after)
        before, after = max(before, 0), max(after, 0)
    if before == after == 0:
        return x
    place = x.axis(axis)
    if place == 0:
        raise SpecError("it pads the batch")
    value = r.op(ops.Pad(place, before, after), x.value)
    lengths = r.lengths(x)
    lengths[axis] = plus(lengths[axis], before + after)
    return Flow(value, x.batch, tuple(lengths))


def _mirrored(r: Reader, x: Flow, axis: int, before: int, after: int) -> Flow:
    if before == after == 0:
        return x
    if before < 0 or after < 0:
        raise SpecError("it mirrors fewer than no steps")
    parts = [x]
    if before:
        parts.insert(0, reversed_(r, sliced(r, x, axis, 1, before + 1), axis))
    if after:
        parts.append(reversed_(r, sliced(r, x, axis, -after - 1, -1), axis))
    return joined(r, parts, axis)


def repeated(r: Reader, x: Flow, lengths: Sequence[Length]) -> Flow:
    """Axes of length 1 as long as wanted."""
    wide = unsqueezed(r, x, range(len(lengths) - x.rank)) if len(lengths) > x.rank else x
    for k, n in enumerate(lengths):
        axis = wide.rank - len(lengths) + k
        told = r.lengths(wide)
        if n in (1, 0, -1) or n == told[axis]:
            continue
        place = wide.axis(axis)
        if wide.value.shape[place] != 1 or place == 0:
            raise SpecError(f"it makes {told} as long as {list(lengths)}")
        told[axis] = n
        if isinstance(n, Open):
            rest = [n if other == place else 1 for other in range(1, len(wide.value.shape))]
            value = r.op(ops.Binary("add"), wide.value, r.zeros(rest, r.float_like(wide)))
        else:
            value = r.op(ops.Repeat(place, n), wide.value)
        wide = Flow(value, wide.batch, tuple(told))
    return wide


def tile(r: Reader, call: Call) -> tuple[Given, ...]:
    x, given = call.at(0), call.at(1)
    if not isinstance(given, Known):
        raise SpecError("its repeats depend on the numbers of the input")
    times = given.lengths()
    if isinstance(x, Known) and given.whole:
        r.budget.limit(*(n * int(t) for n, t in zip(x.array.shape, given.array.tolist(), strict=True)))
        return (Known(np.tile(x.array, given.array.tolist())),)
    flow = r.flow(x)
    for axis, count in enumerate(times):
        have = r.lengths(flow)
        if count != 1 and have[axis] == 1 and flow.axis(axis) != 0:
            flow = repeated(r, flow, [*have[:axis], count, *have[axis + 1 :]])
        elif count != 1:
            flow = _tiled(r, flow, axis, count)
    return (flow,)


def _tiled(r: Reader, x: Flow, axis: int, count: Length) -> Flow:
    if isinstance(count, Open):
        raise SpecError(f"it repeats an axis {count} times, which is open; {give(count)}")
    r.budget.parts(count)
    return joined(r, [x] * count, axis)


TABLE: Mapping[str, Read] = MappingProxyType(
    {
        "Pad": pad,
        "Tile": tile,
    }
)
