"""Whole numbers that a graph computes from its inputs, such as lengths less one: as floats here, which hold them.

Our ops compute with floats only. A count is a float that is whole, exact below 2**24 in float32; a node that would do
something else with whole numbers than with such floats refuses them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers import cells
from lstmcore.interop.onnx.readers.items import items
from lstmcore.interop.onnx.readers.shape import reduced_to, transposed
from lstmcore.interop.onnx.values import Array, Fit, Flow, Given, Known, Steps
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]
MATHS = (
    "Add",
    "Sub",
    "Mul",
    "Max",
    "Min",
    "Sum",
    "Neg",
    "Abs",
    "Clip",
    "ReduceSum",
    "ReduceMax",
    "ReduceMin",
    "CumSum",
)
SHAPES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Concat", "Expand", "Tile")
MOVES = (*SHAPES, "Slice", "Gather", "Split", "Identity", "Pad", "Where")
ASKS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
TAKES = ("Cast", "Shape", "Size", "GatherElements", "LSTM", "GRU", "RNN")


def prepared(r: Reader, call: Call) -> Call:
    """The call with counts for ints, where they are computed with.

    Raises SpecError where the node cannot have them.
    """
    given = [entry for entry in call.inputs if entry is not None]
    places = {k for k, entry in enumerate(call.inputs) if isinstance(entry, (Steps, Fit))}
    if places and (call.kind, places) not in (("LSTM", {4}), ("GRU", {4}), ("RNN", {4}), ("Conv", {0})):
        raise SpecError("it is given what only a recurrent node or a convolution can have")
    rows = any(isinstance(entry, Flow) and entry.rows is not None for entry in given)
    if rows and call.kind not in ("Gather", "Shape"):
        raise SpecError("it computes with the number of each sample, which no sample knows")
    counts = any(isinstance(entry, Flow) and entry.counts for entry in given)
    if counts and call.kind not in (*MATHS, *MOVES, *ASKS, *TAKES):
        raise SpecError("it is given whole numbers that the model computes, which here are floats")
    ints = any(isinstance(entry, Flow) and entry.kind == "int" for entry in given)
    if call.kind in ASKS and ints and not counts and _plain(call):
        return call
    if not (call.kind in (*MATHS, *ASKS) and (counts or ints)) and not (call.kind == "Where" and (counts or ints)):
        return call
    return replace(call, inputs=tuple(_count(r, entry) for entry in call.inputs))


def _plain(call: Call) -> bool:
    """Whether it asks of ids if they are one known number, for which there is an op."""
    return call.kind == "Equal" and any(
        isinstance(entry, Known) and entry.whole and entry.array.size == 1 for entry in call.inputs
    )


def _count(r: Reader, given: Given | None) -> Given | None:
    if isinstance(given, Flow) and given.kind == "int":
        return made(r, given)
    if isinstance(given, Known) and given.whole and given.array.dtype.kind in "iu":
        return Known(given.array.astype(r.dtype), given.name)
    return given


def made(r: Reader, flow: Flow) -> Flow:
    """Ints or bools as counts."""
    if flow.kind == "float":
        return replace(flow, counts=True)
    value = r.op(ops.Cast(), flow.value, r.some_float())
    pieces = _pieces(r, flow, None)
    if pieces is not None:
        r.pieces[value.name] = pieces
    return Flow(value, flow.batch, flow.lengths, counts=True)


def marked(r: Reader, call: Call, made: Sequence[Given]) -> tuple[Given, ...]:
    """What a node made, told to be counts where it made them."""
    _follow(r, call, made)
    sources = (
        call.inputs if call.kind in (*MATHS, "Concat") else call.inputs[1:] if call.kind == "Where" else call.inputs[:1]
    )
    if call.kind not in (*MATHS, *MOVES) or not any(isinstance(e, Flow) and e.counts for e in sources):
        return tuple(made)
    return tuple(
        replace(entry, counts=True) if isinstance(entry, Flow) and entry.kind == "float" else entry for entry in made
    )


@dataclass(frozen=True)
class Pieces:
    """a * id + b of the ids in one value, where these are below 0 and where they are not."""

    ids: Flow
    below: tuple[int, int]
    above: tuple[int, int]


def _pieces(r: Reader, given: Given | None, like: Pieces | None) -> Pieces | None:
    if isinstance(given, Flow):
        found: Pieces | None = r.pieces.get(given.value.name)
        return Pieces(given, (1, 0), (1, 0)) if found is None and given.kind == "int" else found
    if like is not None and isinstance(given, Known) and given.whole and given.array.size == 1:
        number = given.array.reshape(()).item()
        return Pieces(like.ids, (0, int(number)), (0, int(number))) if number == int(number) else None
    return None


def _follow(r: Reader, call: Call, made: Sequence[Given]) -> None:
    """Keeps account of numbers that are an id, or an id counted from the end, as exporters compute them."""
    if call.kind not in _RULES or len(made) != 1 or not isinstance(made[0], Flow):
        return
    first = next((found for entry in call.inputs if (found := _pieces(r, entry, None)) is not None), None)
    parts = [_pieces(r, entry, first) for entry in call.inputs]
    if first is None or any(part is None or part.ids.value.name != first.ids.value.name for part in parts):
        return
    known = [part for part in parts if part is not None]
    below, above = (_RULES[call.kind](*sides) for sides in zip(*((p.below, p.above) for p in known), strict=True))
    if call.kind == "Less":
        low, high = known
        if (low.below, low.above, high.above) != ((1, 0), (1, 0), (0, 0)):
            return
        below, above = (0, 1), (0, 0)
    if below is not None and above is not None:
        r.pieces[made[0].value.name] = Pieces(first.ids, below, above)


def _times(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int] | None:
    if a[0] and b[0]:
        return None
    return (a[0] * b[1] + b[0] * a[1], a[1] * b[1])


_RULES: Mapping[str, Callable[..., tuple[int, int] | None]] = MappingProxyType(
    {
        "Add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
        "Sub": lambda a, b: (a[0] - b[0], a[1] - b[1]),
        "Mul": _times,
        "Less": lambda a, b: (0, 0),
        "Not": lambda a: (0, 1 - a[1]),
        "Cast": lambda a: a,
        "Identity": lambda a: a,
        "Where": lambda c, a, b: a if c == (0, 1) else b if c == (0, 0) else None,
    }
)


def as_ids(r: Reader, flow: Flow, size: int) -> Flow | None:
    """The ids that counts are, for a table of that size, where ids below 0 count from its end anyway."""
    found: Pieces | None = r.pieces.get(flow.value.name)
    if found is None or found.above != (1, 0) or found.below not in ((1, 0), (1, size)):
        return None
    return found.ids


def gather_elements(r: Reader, call: Call) -> tuple[Given, ...]:
    """One entry of an axis for each place, the entry's number computed by the model: the sum of it and of zeros."""
    call.only("axis")
    x, at = r.flow(call.at(0)), call.at(1)
    axis = int(call.number("axis", 0)) % x.rank
    if not isinstance(at, Flow) or at.rank != x.rank or x.axis(axis) == 0 or r.lengths(at)[axis] != 1:
        raise SpecError("expected places that the model computes, one of an axis that is not the batch")
    others = [k for k in range(x.rank) if k not in (axis, x.batch)]
    order = [*([] if x.batch is None else [x.batch]), axis, *others]
    steps = transposed(r, x, order)
    which = transposed(r, at if at.kind == "float" else made(r, at), order)
    found = entry(r, steps, which.value, order.index(axis))
    return (transposed(r, found, [order.index(k) for k in range(x.rank)]),)


def entry(r: Reader, steps: Flow, which: Value, axis: int) -> Flow:
    """Of steps (batch, time, ...) the one that ``which`` (batch, 1, ...) says, counted from the end where below 0."""
    numbers = cells.positions(r, steps.value)
    if len(numbers.shape) == 1:  # of the program, as those of an open length are
        numbers = r.op(ops.Binary("add"), numbers, r.op(ops.Zeros(numbers.shape), steps.value))  # type: ignore[arg-type]  # known
    chosen = [_same(r, numbers, which), _same(r, _from_the_end(r, numbers, steps.value), which)]
    both = r.op(ops.Binary("or"), *chosen)
    y = r.op(ops.Select(), both, steps.value, r.constant(0.0, steps.value))
    value = r.op(ops.Reduce("sum", (1,), keepdims=True), y)
    return Flow(value, steps.batch, tuple(n if k != axis else 1 for k, n in enumerate(r.lengths(steps))))


def of_samples(r: Reader, x: Flow, at: Flow) -> Flow:
    """Rows of all steps of all samples, one of each sample."""
    if x.value.name not in r.folded or at.rank != 1:
        raise SpecError("it takes entries of an axis by the number of each sample, and that holds no samples")
    steps = r.unfold(x)
    if steps.batch != 0 or r.lengths(steps)[1] != at.rows:
        raise SpecError(f"it takes {at.rows} steps for each sample; there are {r.lengths(steps)}")
    which = r.op(ops.Reshape((1,) * (len(steps.value.shape) - 1)), at.value)
    return reduced_to(r, one := entry(r, steps, which, 1), [0, *range(2, one.rank)], r.lengths(one))


def by_number(r: Reader, table: Known, at: Flow) -> Flow:
    """Rows of known numbers, the row's number computed by the model."""
    size, units = table.array.shape
    if size > MOST_ROWS:
        raise SpecError(
            f"it takes one of {size} rows by a number that the model computes; at most {MOST_ROWS} are read"
        )
    wide = r.op(ops.Reshape((*(-1 if n is None else n for n in at.value.shape[1:]), 1)), at.value)
    places = r.op(ops.Constant(tuple(float(k) for k in range(size)), (size,)), wide)
    chosen = r.op(ops.Cast(), r.op(ops.Binary("equal"), wide, places), wide)
    path = r.weight(table.name, table.array, "rows")
    value = r.op(ops.Affine(units, False), chosen, weights={"kernel": path})
    return Flow(value, at.batch, (*r.lengths(at), units))


MOST_ROWS = 1 << 12


def _same(r: Reader, numbers: Value, which: Value) -> Value:
    wide = r.op(ops.Reshape((-1, *[1] * (len(which.shape) - 2))), numbers)
    return r.op(ops.Binary("equal"), wide, which)


def _from_the_end(r: Reader, numbers: Value, x: Value) -> Value:
    """-T, ..., -1."""
    turned = r.op(ops.Reverse(), numbers)
    return r.op(ops.Binary("subtract"), r.op(ops.Unary("negative"), turned), r.constant(1.0, x))


def cum_sum(r: Reader, call: Call) -> tuple[Given, ...]:
    """Of values (batch, steps): the sum over the steps that are not later."""
    call.only("exclusive", "reverse")
    x, axis = call.at(0), call.at(1)
    if not isinstance(axis, Known) or not axis.whole:
        raise SpecError("its axis is not known")
    place = int(axis.array.reshape(-1)[0])
    if isinstance(x, Known):
        if call.number("exclusive", 0) or call.number("reverse", 0):
            raise SpecError("exclusive and reverse are not read")
        return (Known(np.cumsum(x.array, place, dtype=x.array.dtype)),)
    flow = r.flow(x)
    if flow.rank != 2 or place % 2 != 1:
        raise SpecError(f"a sum along axis {place} of {flow.rank}; expected the second of two")
    if call.number("exclusive", 0) or call.number("reverse", 0):
        raise SpecError("exclusive and reverse are not read")
    each = items(r, flow, 0)
    return (replace(each.back(r, summed(r, each.value)), lengths=flow.lengths, counts=flow.counts),)


def summed(r: Reader, x: Value) -> Value:
    """x (batch, steps): at each step the sum over it and those before it."""
    square = r.op(ops.Einsum("bq,bk->bqk"), x, x)
    earlier = r.op(ops.Cast(), r.op(ops.Causal(), square), x)
    return r.op(ops.Einsum("bk,bqk->bq"), x, earlier)


def _known_one_hot(r: Reader, call: Call, ids: Array, depth: Array, values: Array) -> Known:
    count = int(depth.reshape(-1)[0])
    axis = int(call.number("axis", -1))
    r.budget.limit(*ids.shape, count)
    same = np.expand_dims(ids, axis) % count == np.arange(count).reshape(
        [-1] + [1] * (-1 - axis if axis < 0 else ids.ndim - axis)
    )
    return Known(np.where(same & (np.expand_dims((ids >= -count) & (ids < count), axis)), values[1], values[0]))


def one_hot(r: Reader, call: Call) -> tuple[Given, ...]:
    """1 at the place that an id says, 0 elsewhere; the axis is the last."""
    call.only("axis")
    given, depth, values = call.at(0), call.at(1), call.at(2)
    if all(isinstance(entry, Known) and entry.whole for entry in (given, depth, values)):
        return (
            _known_one_hot(r, call, *(entry.array for entry in (given, depth, values) if isinstance(entry, Known))),
        )
    ids = r.flow(given)
    if not isinstance(depth, Known) or not depth.whole or not isinstance(values, Known):
        raise SpecError("how many places there are is not known before the model runs")
    if call.number("axis", -1) not in (-1, ids.rank) or values.array.tolist() != [0, 1] or ids.kind != "int":
        raise SpecError("expected ids, the last axis and the values 0 and 1")
    count = int(depth.array.reshape(-1)[0])
    r.budget.limit(count)
    value = r.op(ops.OneHot(count), ids.value, r.float_like(ids))
    return (Flow(value, ids.batch, (*r.lengths(ids), count)),)


TABLE: Mapping[str, Read] = MappingProxyType({"OneHot": one_hot, "GatherElements": gather_elements, "CumSum": cum_sum})
