"""The same numbers in another shape: axes moved, added, taken away, joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known, Length, Open
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]
MOST_ENTRIES = 1 << 16  # of a list of axes, places or lengths


def whole(given: Given | None, what: str) -> list[int]:
    """Known whole numbers."""
    if not isinstance(given, Known) or not given.whole:
        raise SpecError(f"its {what} depend on the input, or on an open length: give lengths=")
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
    return (reduced_to(r, flow, kept, have),)


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
        r.limit(sum(entry.array.size for entry in given if isinstance(entry, Known)))
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
