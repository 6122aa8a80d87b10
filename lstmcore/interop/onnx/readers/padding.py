"""More than there was: padding and repetition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers.parts import reversed_, sliced
from lstmcore.interop.onnx.readers.shape import joined, unsqueezed, whole
from lstmcore.interop.onnx.values import Flow, Given, Known, Length, Open

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
    known = value.shape[place]
    lengths[axis] = Open(f"{value.name}[{axis}]") if known is None else known
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
        if n in (1, 0, -1) or isinstance(n, Open):
            continue
        place = wide.axis(axis)
        if wide.value.shape[place] == 1 and place != 0:
            told = r.lengths(wide)
            told[axis] = n
            wide = Flow(r.op(ops.Repeat(place, n), wide.value), wide.batch, tuple(told))
        elif wide.value.shape[place] != n:
            raise SpecError(f"it makes {r.lengths(wide)} as long as {list(lengths)}")
    return wide


def tile(r: Reader, call: Call) -> tuple[Given, ...]:
    x, times = call.at(0), whole(call.get(1), "repeats")
    if isinstance(x, Known):
        r.limit(*(n * t for n, t in zip(x.array.shape, times, strict=True)))
        return (Known(np.tile(x.array, times)),)
    flow = r.flow(x)
    for axis, count in enumerate(times):
        if count != 1:
            r.parts(count)
            flow = joined(r, [flow] * count, axis)
    return (flow,)


TABLE: Mapping[str, Read] = MappingProxyType(
    {
        "Pad": pad,
        "Tile": tile,
    }
)
