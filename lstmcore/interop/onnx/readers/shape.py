"""Numbers in other places."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known, Length, Open
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]


def whole(given: Given | None, what: str) -> list[int]:
    """Known whole numbers."""
    if not isinstance(given, Known) or not given.whole:
        raise SpecError(f"its {what} depend on the input, or on an open length: give lengths=")
    return [int(n) for n in given.array.reshape(-1)]


def _axes(r: Reader, call: Call, position: int = 1) -> list[int] | None:
    """Axes as an attribute, or in later opsets as an input."""
    if "axes" in call.attributes:
        return [int(axis) for axis in call.attributes["axes"]]
    given = call.get(position)
    return None if given is None else whole(given, "axes")


def reshaped(r: Reader, x: Value, target: Sequence[int | None]) -> Value:
    """The program's axes but the first in another shape, of which one length at most may be open."""
    if target.count(None) > 1:
        raise SpecError(f"it makes {x.shape} to {tuple(target)}, of which several lengths are open; give lengths=")
    if list(x.shape[1:]) == list(target) and None not in target:
        return x
    return r.op(ops.Reshape(tuple(-1 if n is None else n for n in target)), x)


def transpose(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("perm")
    x = call.at(0)
    perm = [int(k) for k in call.number("perm", range(x.rank)[::-1])]
    if sorted(perm) != list(range(x.rank)):
        raise SpecError(f"perm is {perm}; expected an order of {x.rank} axes")
    if isinstance(x, Known):
        return (Known(x.array.transpose(perm), x.name and f"{x.name}.T"),)
    if isinstance(x, Filled):
        return (Filled(x.number, tuple(x.shape[k] for k in perm)),)
    return (transposed(r, x, perm),)


def transposed(r: Reader, x: Flow, perm: Sequence[int]) -> Flow:
    """ONNX's axes in another order."""
    lengths = r.lengths(x)
    batch = None if x.batch is None else list(perm).index(x.batch)
    order = (0, *(x.axis(k) for k in perm if k != x.batch))
    value = x.value if order == tuple(range(len(order))) else r.op(ops.Transpose(order), x.value)
    return Flow(value, batch, tuple(lengths[k] for k in perm))


def reshape(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("allowzero", "shape")
    x = call.at(0)
    if call.number("allowzero", 0):
        raise SpecError("allowzero=1 is not read")
    given = call.get(1)
    target: list[Length] = [int(n) for n in call.number("shape", [])]
    if given is not None:
        if not isinstance(given, Known):
            raise SpecError("its shape depends on the numbers of the input")
        target = given.lengths()
    if isinstance(x, Known):
        if any(isinstance(n, Open) for n in target):
            raise SpecError("known numbers in a shape that is open; give lengths=")
        numbers = [int(n) for n in target if not isinstance(n, Open)]
        numbers = [x.array.shape[k] if n == 0 and k < x.rank else n for k, n in enumerate(numbers)]
        try:
            return (Known(x.array.reshape(numbers), x.name),)
        except ValueError:
            raise SpecError(f"{x.array.shape} does not fill {numbers}") from None
    flow = r.flow(x)
    have = r.lengths(flow)
    if any(n == 0 and k >= len(have) for k, n in enumerate(target)):
        raise SpecError(f"its shape {target} copies an axis that {have} does not have")
    target = [have[k] if n == 0 else n for k, n in enumerate(target)]
    return (shaped(r, flow, _resolved(have, target)),)


def _resolved(have: Sequence[Length], target: Sequence[Length]) -> list[Length]:
    """The target with a number for its -1, where the open lengths are on both sides."""
    left = [n for n in have if isinstance(n, Open)]
    for n in target:
        if isinstance(n, Open) and n in left:
            left.remove(n)
    others = [n for n in target if not isinstance(n, Open) and n != -1]
    opened = [n for n in target if isinstance(n, Open)]
    total = math.prod(n for n in have if not isinstance(n, Open))
    known = math.prod(others)
    if left or len(opened) != sum(isinstance(n, Open) for n in have) or known == 0 or total % known:
        return list(target)
    return [total // known if n == -1 else n for n in target]


def shaped(r: Reader, x: Flow, target: Sequence[Length]) -> Flow:
    """ONNX's axes in another shape; -1 takes what is left."""
    have = r.lengths(x)
    if x.batch is None or r.batch is None:
        return Flow(reshaped(r, x.value, [_or_open(n) for n in target]), None, _named(target))
    to = _batch_place(r, have, list(target))
    before = list(target)[:to]
    if x.batch != to or [str(n) for n in before] != [str(n) for n in have[:to]]:
        raise SpecError(f"it makes {have} to {list(target)}, across the batch")
    rest = [_or_open(n) for n in (*before, *target[to + 1 :])]
    lengths = list(target)
    lengths[to] = r.batch
    return Flow(reshaped(r, x.value, rest), to, _named(lengths))


def _or_open(n: Length) -> int | None:
    return None if isinstance(n, Open) or n == -1 else n


def _named(target: Sequence[Length]) -> tuple[Length, ...]:
    return tuple(target)


def _batch_place(r: Reader, have: Sequence[Length], target: list[Length]) -> int:
    """Where the batch goes: to where its length stands, or to the -1 if that is what is left for it."""
    if any(n is r.batch for n in target):
        return next(k for k, n in enumerate(target) if n is r.batch)
    if -1 in target:
        left = _product([n for n in have if n is not r.batch])
        rest = _product([n for n in target if n != -1])
        if left == rest and left != -1:
            return target.index(-1)
    raise SpecError(f"it makes {list(have)} to {target}, in which the batch is lost")


def squeeze(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axes")
    x, axes = call.at(0), _axes(r, call)
    if isinstance(x, Known):
        gone = None if axes is None else tuple(axes)
        return (Known(np.squeeze(x.array, gone), x.name),)
    flow = r.flow(x)
    have = r.lengths(flow)
    if axes is None:
        if any(isinstance(n, Open) and n is not r.batch for n in have):
            raise SpecError("it squeezes whatever is 1, and a length is open; give lengths=")
        axes = [k for k, n in enumerate(have) if n == 1]
    axes = [axis % flow.rank for axis in axes]
    if any(have[axis] != 1 for axis in axes):
        raise SpecError(f"axes {axes} of {have} are not of length 1")
    kept = [k for k in range(flow.rank) if k not in axes]
    return (_reduced_to(r, flow, kept, have),)


def _reduced_to(r: Reader, flow: Flow, kept: list[int], have: list[Length]) -> Flow:
    lengths = tuple(have[k] for k in kept)
    batch = None if flow.batch is None else kept.index(flow.batch)
    target = [_or_open(have[k]) for k in kept if k != flow.batch]
    return Flow(reshaped(r, flow.value, target), batch, lengths)


def unsqueeze(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axes")
    x, axes = call.at(0), _axes(r, call)
    if axes is None:
        raise SpecError("its axes are missing")
    rank = x.rank + len(axes)
    places = sorted(axis % rank for axis in axes)
    if isinstance(x, Known):
        return (Known(np.expand_dims(x.array, tuple(places)), x.name),)
    if isinstance(x, Filled):
        shape = list(x.shape)
        for place in places:
            shape.insert(place, 1)
        return (Filled(x.number, tuple(shape)),)
    return (unsqueezed(r, x, places),)


def unsqueezed(r: Reader, x: Flow, places: Sequence[int]) -> Flow:
    """Axes of length 1, at these places of the result."""
    lengths = r.lengths(x)
    batch = x.batch
    for place in sorted(places):
        lengths.insert(place, 1)
        batch = batch + 1 if batch is not None and place <= batch else batch
    target = [_or_open(n) for k, n in enumerate(lengths) if k != batch]
    return Flow(reshaped(r, x.value, target), batch, tuple(lengths))


def flatten(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axis")
    x = r.flow(call.at(0))
    axis = call.number("axis", 1) % (x.rank + 1)
    have = r.lengths(x)
    first, rest = have[:axis], have[axis:]
    return (shaped(r, x, [_product(first), _product(rest)]),)


def _product(lengths: Sequence[Length]) -> Length:
    found = [n for n in lengths if n != 1]
    if not any(isinstance(n, Open) for n in found):
        return math.prod(int(n) for n in found if not isinstance(n, Open))
    return found[0] if len(found) == 1 else -1


def concat(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axis")
    given = [call.at(k) for k in range(len(call.inputs))]
    axis = int(call.number("axis", 0))
    if all(isinstance(entry, Known) for entry in given):
        return (Known(np.concatenate([entry.array for entry in given if isinstance(entry, Known)], axis)),)
    like = next((entry for entry in given if isinstance(entry, Flow)), None)
    flows = [r.flow(entry, like) for entry in given]
    if len({flow.batch for flow in flows}) > 1 or len({flow.rank for flow in flows}) > 1:
        raise SpecError("its inputs have the batch on different axes")
    return (joined(r, flows, axis),)


def joined(r: Reader, flows: Sequence[Flow], axis: int) -> Flow:
    """Flows one after the other along one of ONNX's axes."""
    if len(flows) == 1:
        return flows[0]
    place = flows[0].axis(axis)
    if place == 0:
        raise SpecError("it joins along the batch")
    value = r.op(ops.Concat(place, len(flows)), *(flow.value for flow in flows))
    lengths = r.lengths(flows[0])
    known = value.shape[place]
    lengths[axis % flows[0].rank] = Open(f"{value.name}[{axis}]") if known is None else known
    return Flow(value, flows[0].batch, tuple(lengths))


def split(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axis", "split", "num_outputs")
    x, axis = call.at(0), int(call.number("axis", 0))
    count = len(call.outputs)
    length = x.array.shape[axis] if isinstance(x, Known) else r.lengths(r.flow(x))[axis]
    sizes = [int(n) for n in call.number("split", [])]
    if call.get(1) is not None:
        sizes = whole(call.get(1), "sizes")
    if not sizes:
        if isinstance(length, Open):
            raise SpecError("it divides an open length; give lengths=")
        each = -(-length // count)
        sizes = [min(each, length - each * k) for k in range(count)]
    ends = [int(n) for n in np.cumsum([0, *sizes])]
    return tuple(_cut(r, x, axis, a, b) for a, b in pairwise(ends))


def _cut(r: Reader, x: Given, axis: int, start: int, stop: int | None) -> Given:
    if isinstance(x, Known):
        return Known(x.array[(slice(None),) * (axis % x.rank) + (slice(start, stop),)], x.name and f"{x.name}.{start}")
    return sliced(r, r.flow(x), axis, start, stop)


def sliced(r: Reader, x: Flow, axis: int, start: int, stop: int | None) -> Flow:
    """A part of one of ONNX's axes, as Python slices."""
    place = x.axis(axis)
    if place == 0:
        if start == 0 and stop is None:
            return x
        raise SpecError("it takes a part of the batch")
    length = x.value.shape[place]
    if start == 0 and (stop is None or (length is not None and stop >= length)):
        return x
    value = r.op(ops.Slice(place, start, stop), x.value)
    lengths = r.lengths(x)
    known = value.shape[place]
    lengths[axis % x.rank] = Open(f"{value.name}[{axis}]") if known is None else known
    return Flow(value, x.batch, tuple(lengths))


def slice_(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("starts", "ends", "axes")
    x = call.at(0)
    starts, ends, axes, steps = _bounds(call, x.rank)
    if isinstance(x, Known):
        parts = [slice(None)] * x.rank
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            parts[axis] = slice(start, None if step < 0 and end < -(1 << 31) else end, step)
        return (Known(x.array[tuple(parts)]),)
    flow = r.flow(x)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        flow = _one_slice(r, flow, axis, start, end, step)
    return (flow,)


FAR = (1 << 31) - 1


def _bounds(call: Call, rank: int) -> tuple[list[int], list[int], list[int], list[int]]:
    if "starts" in call.attributes:
        starts, ends = list(call.attributes["starts"]), list(call.attributes["ends"])
        axes = list(call.number("axes", range(len(starts))))
        return starts, ends, [axis % rank for axis in axes], [1] * len(starts)
    starts, ends = whole(call.get(1), "starts"), whole(call.get(2), "ends")
    axes = list(range(len(starts))) if call.get(3) is None else whole(call.get(3), "axes")
    steps = [1] * len(starts) if call.get(4) is None else whole(call.get(4), "steps")
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise SpecError("its starts, ends, axes and steps differ in number")
    return starts, ends, [axis % rank for axis in axes], steps


def _one_slice(r: Reader, x: Flow, axis: int, start: int, end: int, step: int) -> Flow:
    if step == 1:
        if end <= -FAR:
            raise SpecError("nothing is left of it")
        return sliced(r, x, axis, max(start, -FAR), None if end >= FAR else end)
    length = x.value.shape[x.axis(axis)]
    if step == -1 and (start == -1 or start >= FAR or (length is not None and start >= length - 1)) and end <= -FAR:
        return reversed_(r, x, axis)
    if length is None:
        raise SpecError("every other entry of an open axis; give lengths=")
    return taken(r, x, axis, list(range(length)[slice(start, None if step < 0 and end <= -FAR else end, step)]))


def reversed_(r: Reader, x: Flow, axis: int) -> Flow:
    """One of ONNX's axes in reverse."""
    place = x.axis(axis)
    if place == 0:
        raise SpecError("it turns the batch round")
    if place == 1:
        return Flow(r.op(ops.Reverse(), x.value), x.batch, x.lengths)
    order = list(range(len(x.value.shape)))
    order[1], order[place] = order[place], order[1]
    turned = r.op(ops.Reverse(), r.op(ops.Transpose(tuple(order)), x.value))
    return Flow(r.op(ops.Transpose(tuple(order)), turned), x.batch, x.lengths)


def taken(r: Reader, x: Flow, axis: int, places: Sequence[int]) -> Flow:
    """Known entries of one of ONNX's axes; neighbours are taken together."""
    if not places:
        raise SpecError("nothing is left of it")
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][-1] + 1 and runs[-1][-1] != -1:
            runs[-1].append(place)
        else:
            runs.append([place])
    if len(runs) > 4096:
        raise SpecError(f"it gathers {len(runs)} places one by one")
    parts = [sliced(r, x, axis, run[0], None if run[-1] == -1 else run[-1] + 1) for run in runs]
    return joined(r, parts, axis)


def gather(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axis")
    data, at = call.at(0), call.at(1)
    axis = int(call.number("axis", 0)) % max(data.rank, 1)
    if isinstance(data, Known):
        if isinstance(at, Known):
            return (Known(np.take(data.array, at.array.astype(np.int64), axis)),)
        return (_embedded(r, data, r.flow(at), axis),)
    places = whole(at, "places")
    flow = r.flow(data)
    if at.rank == 0:
        one = _entry(r, flow, axis, places[0])
        return (one,)
    length = flow.value.shape[flow.axis(axis)]
    known = [place + length if place < 0 and length is not None else place for place in places]
    found = taken(r, flow, axis, known)
    if at.rank == 1:
        return (found,)
    assert isinstance(at, Known)
    have = r.lengths(found)
    return (shaped(r, found, [*have[:axis], *at.array.shape, *have[axis + 1 :]]),)


def _entry(r: Reader, x: Flow, axis: int, place: int) -> Flow:
    """One entry of an axis, which vanishes."""
    if x.axis(axis) == 1 and place == -1 and x.batch is not None:
        lengths = [n for k, n in enumerate(r.lengths(x)) if k != axis]
        batch = x.batch - 1 if x.batch > axis else x.batch
        return Flow(r.op(ops.Last(), x.value), batch, tuple(lengths))
    one = sliced(r, x, axis, place, None if place == -1 else place + 1)
    kept = [k for k in range(x.rank) if k != axis]
    lengths = r.lengths(one)
    lengths[axis] = 1
    return _reduced_to(r, one, kept, lengths)


def _embedded(r: Reader, table: Known, ids: Flow, axis: int) -> Flow:
    if table.rank != 2 or axis != 0 or ids.kind != "int" or table.array.dtype.kind != "f":
        raise SpecError(
            f"it takes entries of numbers of shape {table.array.shape} along axis {axis}; expected an embedding"
        )
    size, units = table.array.shape
    path = r.weight(table.name, table.array)
    value = r.op(ops.Embed(size, units), ids.value, weights={"embeddings": path})
    return Flow(value, ids.batch, (*r.lengths(ids), units))


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
            flow = joined(r, [flow] * count, axis)
    return (flow,)


def scatter_nd(r: Reader, call: Call) -> tuple[Given, ...]:
    """A block of data written over: of the places that are known, what lies side by side."""
    call.only("reduction")
    if call.number("reduction", "none") != "none":
        raise SpecError(f"reduction {call.attributes['reduction']!r} is not read")
    data, at, updates = call.at(0), call.at(1), call.at(2)
    if not isinstance(at, Known) or not at.whole:
        raise SpecError("where it writes depends on the input")
    flow = r.flow(data, updates if isinstance(updates, Flow) else None)
    new = r.flow(updates, flow)
    places = at.array.reshape(-1, at.array.shape[-1])
    low, high = places.min(0), places.max(0)
    block = [int(n) for n in high - low + 1]
    inside = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
    if inside.reshape(-1, len(low)).shape != places.shape or not (inside.reshape(-1, len(low)) == places).all():
        raise SpecError("it writes to places that are not side by side")
    have = r.lengths(flow)
    patch = shaped(r, new, [*block, *have[len(low) :]])
    return (_written_over(r, flow, patch, [int(n) for n in low], block),)


def _written_over(r: Reader, data: Flow, patch: Flow, low: Sequence[int], block: Sequence[int]) -> Flow:
    """The patch with what of the data lies around it, axis by axis, the last one first."""
    for axis in reversed(range(len(block))):
        around = data
        for other in range(axis):
            around = sliced(r, around, other, low[other], low[other] + block[other])
        length = around.value.shape[around.axis(axis)]
        if length is None:
            raise SpecError("it writes over a part of an open axis; give lengths=")
        end = low[axis] + block[axis]
        parts = [patch]
        if low[axis] > 0:
            parts.insert(0, sliced(r, around, axis, 0, low[axis]))
        if end < length:
            parts.append(sliced(r, around, axis, end, None))
        patch = joined(r, parts, axis)
    return patch


TABLE: Mapping[str, Read] = MappingProxyType(
    {
        "Transpose": transpose,
        "Reshape": reshape,
        "Squeeze": squeeze,
        "Unsqueeze": unsqueeze,
        "Flatten": flatten,
        "Concat": concat,
        "Split": split,
        "Slice": slice_,
        "Gather": gather,
        "Pad": pad,
        "Tile": tile,
        "ScatterND": scatter_nd,
    }
)
