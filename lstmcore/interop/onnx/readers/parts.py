"""Parts of a tensor: slices, chosen places, and other numbers put into them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length, Open, minus, plus
from lstmcore.interop.onnx.reader import Call, Reader, give
from lstmcore.interop.onnx.readers.shape import joined, reduced_to, shaped, whole
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]


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
    return tuple(_cut(r, x, axis, a, b) if b > a else _nothing(r, x, axis) for a, b in pairwise(ends))


def _nothing(r: Reader, x: Given, axis: int) -> Filled:
    """A part without numbers, which nothing can use."""
    shape: list[Length] = list(x.array.shape if isinstance(x, Known) else r.lengths(r.flow(x)))
    shape[axis] = 0
    return Filled(0.0, tuple(shape))


def _cut(r: Reader, x: Given, axis: int, start: int, stop: int | None) -> Given:
    if isinstance(x, Filled):
        return _filled_slice(x, axis, start, stop)
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
    lengths = r.lengths(x)
    left = _left(lengths[axis % x.rank], start, stop)
    if isinstance(lengths[axis % x.rank], Open) and isinstance(left, int) and left < 1:
        raise SpecError("nothing is left of it")
    lengths[axis % x.rank] = left
    if length is None and left == 1:
        return Flow(_alone(r, x, place, start, stop), x.batch, tuple(lengths))
    return Flow(r.op(ops.Slice(place, start, stop), x.value), x.batch, tuple(lengths))


def _left(length: Length, start: int, stop: int | None) -> Length:
    """How long a part is; of an open axis, which is taken to be as long as the bounds say."""
    if not isinstance(length, Open):
        return len(range(length)[start:stop])
    if stop is None or stop >= FAR:
        return minus(length, start) if start >= 0 else -start
    if (start < 0) == (stop < 0):
        return max(stop - start, 0)
    return plus(length, stop - start) if start >= 0 else minus(stop - start, length)


def _alone(r: Reader, x: Flow, place: int, start: int, stop: int | None) -> Value:
    """One entry of an open axis, which keeps length 1."""
    rest = [n for k, n in enumerate(x.value.shape) if k not in (0, place)]
    if place == 1 and start == -1:
        value = r.op(ops.Last(), x.value)
    else:
        value = r.op(ops.Slice(place, start, stop), x.value)
    if rest.count(None) > 1:
        return value
    shape = [-1 if n is None else n for n in rest]
    return r.op(ops.Reshape((*shape[: place - 1], 1, *shape[place - 1 :])), value)


def _filled_slice(x: Filled, axis: int, start: int, stop: int | None) -> Filled:
    shape = list(x.shape)
    before = shape[axis % x.rank]
    left = _left(before, start, stop)
    if isinstance(before, Open) and isinstance(left, int) and left != 1:
        raise SpecError(f"it takes {left} of {before} entries; {give(before)}")
    shape[axis % x.rank] = left
    return Filled(x.number, tuple(shape))


def slice_(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("starts", "ends", "axes")
    x = call.at(0)
    starts, ends, axes, steps = _bounds(call, x.rank)
    if isinstance(x, Known):
        parts = [slice(None)] * x.rank
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            parts[axis] = slice(start, None if step < 0 and end < -(1 << 31) else end, step)
        return (Known(x.array[tuple(parts)], _part_name(x.name, starts, ends, axes, steps)),)
    if isinstance(x, Filled):
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            if step != 1:
                raise SpecError("every other entry of numbers of an open shape")
            x = _filled_slice(x, axis, start, None if end >= FAR else end)
        return (x,)
    flow = r.flow(x)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        flow = _one_slice(r, flow, axis, start, end, step)
    return (flow,)


FAR = (1 << 31) - 1


def _part_name(name: str, *bounds: Sequence[int]) -> str:
    """A name for a part of known numbers, of which others may have other names."""
    return name and f"{name}." + ".".join("_".join(str(n) for n in row) for row in bounds)


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
    places = range(length)[slice(start, None if step < 0 and end <= -FAR else end, step)]
    r.budget.parts(len(places))
    return taken(r, x, axis, places)


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
    r.budget.parts(len(runs))
    parts = [sliced(r, x, axis, run[0], None if run[-1] == -1 else run[-1] + 1) for run in runs]
    return joined(r, parts, axis)


def gather(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axis")
    data, at = call.at(0), call.at(1)
    axis = int(call.number("axis", 0)) % max(data.rank, 1)
    if isinstance(data, Known):
        if isinstance(at, Known):
            r.budget.limit(at.array.size, *data.array.shape[:axis], *data.array.shape[axis + 1 :])
            return (Known(np.take(data.array, at.array.astype(np.int64), axis)),)
        return (_embedded(r, data, r.flow(at), axis),)
    if isinstance(at, Flow) and at.rows is not None and isinstance(data, Flow) and axis == 0:
        from lstmcore.interop.onnx.readers.counts import of_samples

        return (of_samples(r, data, at),)
    places = whole(at, "places")
    if isinstance(data, Filled):
        shape = [*data.shape[:axis], *at.array.shape, *data.shape[axis + 1 :]]  # type: ignore[union-attr]  # Known
        return (Filled(data.number, tuple(shape)),)
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
    return reduced_to(r, one, kept, lengths)


def _embedded(r: Reader, table: Known, ids: Flow, axis: int) -> Flow:
    from lstmcore.interop.onnx.readers.counts import as_ids, by_number

    if ids.counts and table.rank == 2 and table.array.dtype.kind == "f" and axis == 0:
        found = as_ids(r, ids, table.array.shape[0])
        if found is None:
            return by_number(r, table, ids)
        ids = found
    if table.rank != 2 or axis != 0 or ids.kind != "int" or table.array.dtype.kind != "f":
        raise SpecError(
            f"it takes entries of numbers of shape {table.array.shape} along axis {axis}; expected an embedding"
        )
    size, units = table.array.shape
    path = r.weight(table.name, table.array)
    value = r.op(ops.Embed(size, units), ids.value, weights={"embeddings": path})
    return Flow(value, ids.batch, (*r.lengths(ids), units))


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
    block = [int(b) - int(a) + 1 for a, b in zip(low, high, strict=True)]
    if math.prod(block) != len(places):
        raise SpecError("it writes to places that are not side by side")
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


def reverse_sequence(r: Reader, call: Call) -> tuple[Given, ...]:
    """Where every sequence is reversed as a whole."""
    call.only("batch_axis", "time_axis")
    x, sizes = r.flow(call.at(0)), call.at(1)
    axis = int(call.number("time_axis", 0))
    steps = r.lengths(x)[axis]
    if isinstance(sizes, Filled):
        every = sizes.number == steps
    else:
        every = isinstance(sizes, Known) and all(n == steps for n in sizes.lengths())
    if not every:
        raise SpecError(f"it reverses a part of the {steps} steps; expected all, for every sequence")
    return (reversed_(r, x, axis),)


TABLE: Mapping[str, Read] = MappingProxyType(
    {
        "Split": split,
        "Slice": slice_,
        "Gather": gather,
        "ReverseSequence": reverse_sequence,
        "ScatterND": scatter_nd,
    }
)
