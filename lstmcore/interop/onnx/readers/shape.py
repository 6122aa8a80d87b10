"""The same numbers in another shape: axes moved, added, taken away, joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length, Open, plus, quotient, roots, times
from lstmcore.interop.onnx.reader import Call, Reader, give
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known, Ramp
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]
MOST_ENTRIES = 1 << 16  # of a list of axes, places or lengths


def whole(given: Given | None, what: str) -> list[int]:
    """Known whole numbers."""
    if not isinstance(given, Known) or not given.whole:
        known = given.lengths() if isinstance(given, Known) else []
        raise SpecError(f"its {what} depend on the input, or on an open length: {give(*known)}")
    if given.array.size > MOST_ENTRIES:
        raise SpecError(f"its {what} are {given.array.size} numbers; at most {MOST_ENTRIES} are read")
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
    if isinstance(x, Ramp):
        return (x.at(perm.index(x.axis), x.rank),)
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
    given = call.get(1)
    target: list[Length] = [int(n) for n in call.number("shape", [])]
    if given is not None:
        if not isinstance(given, Known):
            raise SpecError("its shape depends on the numbers of the input")
        target = given.lengths()
    if call.number("allowzero", 0) and 0 in target:
        raise SpecError("a shape with 0 in it, and allowzero=1: a value without numbers is not read")
    if isinstance(x, Known) and not any(isinstance(n, Open) for n in target):
        return (_known_reshaped(x, [int(n) for n in target if not isinstance(n, Open)]),)
    if isinstance(x, Ramp):
        to = _resolved(x.shape, [x.shape[k] if n == 0 and k < x.rank else n for k, n in enumerate(target)])
        if to.count(1) != len(to) - 1:
            raise SpecError(f"numbers of shape {x.shape} in the shape {to}")
        return (x.at(next(k for k, n in enumerate(to) if n != 1), len(to)),)
    if isinstance(x, Filled):
        target = [x.shape[k] if n == 0 and k < x.rank else n for k, n in enumerate(target)]
        return (Filled(x.number, tuple(_resolved(x.shape, target))),)
    flow = r.flow(x)
    have = r.lengths(flow)
    if any(n == 0 and k >= len(have) for k, n in enumerate(target)):
        raise SpecError(f"its shape {target} copies an axis that {have} does not have")
    target = [have[k] if n == 0 else n for k, n in enumerate(target)]
    return (shaped(r, flow, _resolved(have, _left_over(r, flow, target))),)


def _left_over(r: Reader, x: Flow, target: list[Length]) -> list[Length]:
    """The target with a number for its -1 where the file was made for a number of samples, and may say it elsewhere."""
    numbers = [_as_made(r, n) for n in r.lengths(x)]
    others = [n for n in target if isinstance(n, int) and n > 0]
    if r.samples is None or x.batch is None or target.count(-1) != 1 or len(others) != len(target) - 1:
        return target
    known = [n for n in numbers if n is not None]
    if len(known) != len(numbers) or math.prod(known) % math.prod(others):
        return target
    return [math.prod(known) // math.prod(others) if n == -1 else n for n in target]


def _as_made(r: Reader, n: Length) -> int | None:
    """A length for the number of samples that the file was made for; None where it is open beside that."""
    if isinstance(n, int) or r.samples is None or r.batch is None:
        return n if isinstance(n, int) else None
    each = quotient(n, r.batch)
    return each * r.samples if isinstance(each, int) else None


def _known_reshaped(x: Known, target: list[int]) -> Known:
    numbers = [x.array.shape[k] if n == 0 and k < x.rank else n for k, n in enumerate(target)]
    try:
        return Known(x.array.reshape(numbers), x.name)
    except ValueError:
        raise SpecError(f"{x.array.shape} does not fill {numbers}") from None


def _resolved(have: Sequence[Length], target: Sequence[Length]) -> list[Length]:
    """The target with what is left for its -1."""
    if -1 not in target:
        return list(target)
    above, below = list(have), []
    for n in target:
        if n in above:
            above.remove(n)
        elif n != -1:
            below.append(n)
    left = quotient(times(*above), times(*below))
    return [n if n != -1 or left is None else left for n in target]


def shaped(r: Reader, x: Flow, target: Sequence[Length]) -> Flow:
    """ONNX's axes in another shape; -1 takes what is left."""
    have = r.lengths(x)
    wanted = _resolved(have, target)
    if x.batch is None or r.batch is None:
        return Flow(reshaped(r, x.value, [_or_open(n) for n in wanted]), None, tuple(wanted))
    whole, before = have[x.batch], times(*have[: x.batch])
    to = next((k for k, n in enumerate(wanted) if n == whole and times(*wanted[:k]) == before), None)
    if to is not None:
        rest = [_or_open(n) for n in (*wanted[:to], *wanted[to + 1 :])]
        return Flow(reshaped(r, x.value, rest), to, tuple(wanted))
    told = _made_for(r, x, wanted)
    if told is not None:
        return shaped(r, r.unfold(x) if x.value.name in r.folded else x, told)
    if x.value.name in r.folded:
        return shaped(r, r.unfold(x), wanted)
    return _folded(r, x, have, wanted)


def _made_for(r: Reader, x: Flow, wanted: Sequence[Length]) -> list[Length] | None:
    """The target with the batch where it has the number of samples that the file was made for; None: it has none.

    That is where as many numbers stand before it as in x; else the first axes become one.
    """
    assert r.batch is not None
    inside = r.folded.get(x.value.name, x)
    have, axis = r.lengths(inside), inside.batch
    if r.samples is None or axis is None or r.batch.name in roots(*wanted) or have[axis] != r.batch:
        return None
    before = times(*have[:axis])
    for k, n in enumerate(wanted):
        if n == r.samples and times(*wanted[:k]) == before:
            return [*wanted[:k], r.batch, *wanted[k + 1 :]]
    for k in range(axis + 1, len(have) + 1):
        first = times(*have[:k])
        if wanted and wanted[0] == _as_made(r, first):
            return [first, *wanted[1:]]
    return None


def _folded(r: Reader, x: Flow, have: list[Length], wanted: list[Length]) -> Flow:
    """The first axes become one, and the batch is among them."""
    assert r.batch is not None
    lost = SpecError(f"it makes {have} to {wanted}, in which the batch is lost{_only_for(r, have, wanted)}")
    inside = quotient(wanted[0], r.batch) if wanted else None
    if inside is None or x.batch not in (0, 1) or (x.batch == 1 and inside != have[0]):
        raise lost
    rest = [_or_open(n) for n in wanted[1:]]
    wide = Flow(reshaped(r, x.value, [_or_open(inside), *rest]), x.batch, _leading(r, x, inside, wanted[1:]))
    return r.fold(wide)


def _only_for(r: Reader, have: Sequence[Length], wanted: Sequence[Length]) -> str:
    """What to say of a file that was exported with open axes, but computes for one length alone."""
    own = {n for n in have if isinstance(n, Open) and n != r.batch and n.of == {n.name}}
    pairs = [(n, m) for n in own for m in wanted if isinstance(m, int) and m > 0]
    fixed = {n.name: m for n, m in pairs if _fits([m if k == n else k for k in have], wanted, r.batch)}
    r.fixed = fixed
    return f"; it is made for one length: give lengths={fixed}" if fixed else ""


def _fits(have: Sequence[Length], wanted: Sequence[Length], batch: Length | None) -> bool:
    """Whether a shape keeps the batch."""
    if batch is None or batch not in have:
        return False
    to = _resolved(have, wanted)
    before = times(*have[: list(have).index(batch)])
    return any(n == batch and times(*to[:k]) == before for k, n in enumerate(to)) and times(*to) == times(*have)


def _leading(r: Reader, x: Flow, inside: Length, rest: Sequence[Length]) -> tuple[Length, ...]:
    assert r.batch is not None
    return (r.batch, inside, *rest) if x.batch == 0 else (inside, r.batch, *rest)


def _or_open(n: Length) -> int | None:
    return None if isinstance(n, Open) or n == -1 else n


def squeeze(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axes")
    x, axes = call.at(0), _axes(r, call)
    if isinstance(x, Known):
        gone = None if axes is None else tuple(axes)
        return (Known(np.squeeze(x.array, gone), x.name),)
    if isinstance(x, Filled):
        return (_filled_squeeze(x, axes),)
    if isinstance(x, Ramp):
        others = [k % x.rank for k in axes or range(x.rank) if k % x.rank != x.axis]
        return (x.at(x.axis - sum(k < x.axis for k in others), x.rank - len(others)),)
    flow = r.flow(x)
    have = r.lengths(flow)
    if axes is None:
        opens = [n for n in have if isinstance(n, Open) and n != r.batch]
        if opens:
            raise SpecError(f"it squeezes whatever is 1, and a length is open; {give(*opens)}")
        axes = [k for k, n in enumerate(have) if n == 1]
    axes = [axis % flow.rank for axis in axes]
    if any(have[axis] != 1 for axis in axes):
        told = [have[axis] for axis in axes if isinstance(have[axis], Open)]
        raise SpecError(f"axes {axes} of {have} are not of length 1{'; ' + give(*told) if told else ''}")
    kept = [k for k in range(flow.rank) if k not in axes]
    return (reduced_to(r, flow, kept, have),)


def _filled_squeeze(x: Filled, axes: Sequence[int] | None) -> Filled:
    gone = [k for k, n in enumerate(x.shape) if n == 1] if axes is None else [axis % x.rank for axis in axes]
    if any(x.shape[k] != 1 for k in gone):
        raise SpecError(f"axes {gone} of {x.shape} are not of length 1")
    return Filled(x.number, tuple(n for k, n in enumerate(x.shape) if k not in gone))


def reduced_to(r: Reader, flow: Flow, kept: list[int], have: list[Length]) -> Flow:
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
    if isinstance(x, Ramp):
        old = [k for k in range(rank) if k not in places]
        return (x.at(old[x.axis], rank),)
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
    axis = int(call.number("axis", 1))
    axis = axis + x.rank if axis < 0 else axis
    if not 0 <= axis <= x.rank:
        raise SpecError(f"axis {call.number('axis', 1)} of {x.rank}")
    have = r.lengths(x)
    return (shaped(r, x, [times(*have[:axis]), times(*have[axis:])]),)


def concat(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axis")
    given = [call.at(k) for k in range(len(call.inputs))]
    axis = int(call.number("axis", 0))
    if all(isinstance(entry, Known) for entry in given):
        r.budget.limit(sum(entry.array.size for entry in given if isinstance(entry, Known)))
        return (Known(np.concatenate([entry.array for entry in given if isinstance(entry, Known)], axis)),)
    numbers = {_number(entry) for entry in given}
    if len(numbers) == 1 and None not in numbers:
        return (_filled_concat(given, axis, numbers.pop()),)
    like = next((entry for entry in given if isinstance(entry, Flow)), None)
    flows = [r.flow(entry, like) for entry in given]
    if len({flow.batch for flow in flows}) > 1 or len({flow.rank for flow in flows}) > 1:
        raise SpecError("its inputs have the batch on different axes")
    return (joined(r, flows, axis),)


def _number(given: Given) -> float | None:
    """The number that is all over it, if one is."""
    if isinstance(given, Filled):
        return float(given.number)
    if isinstance(given, Known) and given.array.size and given.whole:
        first = given.array.reshape(-1)[0]
        return float(first) if (given.array == first).all() else None
    return None


def _filled_concat(given: Sequence[Given], axis: int, number: float | None) -> Filled:
    shapes = [entry.shape if isinstance(entry, Filled) else entry.array.shape for entry in given]  # type: ignore[union-attr]  # no Flow
    found: list[Length] = list(shapes[0])
    axis %= len(found)
    for shape in shapes[1:]:
        found[axis] = plus(found[axis], shape[axis])
    return Filled(number, tuple(found))


def joined(r: Reader, flows: Sequence[Flow], axis: int) -> Flow:
    """Flows one after the other along one of ONNX's axes."""
    if len(flows) == 1:
        return flows[0]
    place = flows[0].axis(axis)
    if place == 0:
        raise SpecError("it joins along the batch")
    value = r.op(ops.Concat(place, len(flows)), *(flow.value for flow in flows))
    lengths = r.lengths(flows[0])
    axis %= flows[0].rank
    for flow in flows[1:]:
        lengths[axis] = plus(lengths[axis], r.lengths(flow)[axis])
    return Flow(value, flows[0].batch, tuple(lengths))


TABLE: Mapping[str, Read] = MappingProxyType(
    {
        "Transpose": transpose,
        "Reshape": reshape,
        "Squeeze": squeeze,
        "Unsqueeze": unsqueeze,
        "Flatten": flatten,
        "Concat": concat,
    }
)
