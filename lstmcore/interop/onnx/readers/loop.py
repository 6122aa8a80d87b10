"""ONNX's Loop, where it goes through the steps of a sequence, as TensorFlow's while loops do: it becomes a Scan.

Its body takes entry i of values around it, i counting the steps from 0 (or down to 0), and runs as often as there
are steps. How often that is is known from the trip count and from the condition, which may only ask whether such
counters are below a length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from lstmcore.errors import SpecError
from lstmcore.interop.onnx import lengths
from lstmcore.interop.onnx.lengths import Asked, Length, Open
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers import scan
from lstmcore.interop.onnx.values import Flow, Given, Known, as_known

Read = Callable[[Reader, Call], tuple[Given, ...]]


def read(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("body")
    body = call.attributes["body"]
    if not _holds(call.get(1)):
        raise SpecError("whether it runs at all depends on the numbers of the input")
    given = [call.at(k) for k in range(2, len(call.inputs))]
    names, ends = [entry.name for entry in body.input], [entry.name for entry in body.output]
    if len(names) != len(given) + 2 or len(ends) < len(given) + 1:
        raise SpecError(f"its body takes {len(names)} values and gives {len(ends)}; {len(given)} are carried")
    step = lengths.opened(f"{lengths.STEP} of {call.name}")
    before = lengths.minus(step, 1)
    through = _renamed(body)
    same = {name for name, end in zip(names[2:], ends[1:], strict=False) if through.get(end, end) == name}
    begun = {n: _whole(entry) for n, entry in zip(names[2:], given, strict=True) if n not in same}
    counters = {n: start for n, start in begun.items() if start is not None}
    known: dict[str, Given] = {names[0]: as_one(before), names[1]: Known(np.array(True))}
    known |= {n: as_one(lengths.plus(before, start)) for n, start in counters.items()}
    pairs = list(zip(names[2:], given, strict=True))
    known |= {name: entry for name, entry in pairs if name in same and not isinstance(entry, Flow)}
    moving = [k for k, (name, _) in enumerate(pairs) if name not in known]
    states = {names[2 + k]: scan.initial(r, given[k], f"{call.name}/{k}") for k in moving}
    taken = _taken(r, body)
    kept = [node for node in body.node if node.output[0] not in taken]
    steps = {name: _scanned(r, node) for name, node in taken.items()}
    inner = scan.Body(body, kept, [ends[1 + k] for k in moving], ends[1 + len(given) :])
    finals, ys, inside = scan.run(r, call.name, inner, states, steps, known)
    count = _count(call.get(0), inside.known[ends[0]], step)
    _check(r, inside, taken, counters, dict(zip(names[2:], ends[1:], strict=False)), count, before)
    after: dict[str, Given] = dict(zip(states, finals, strict=True))
    after |= {n: as_one(lengths.plus(count, start)) for n, start in counters.items()}
    after |= {name: entry for name, entry in pairs if name in same and name not in after}
    return (*(after[name] for name in names[2:]), *(scan.placed(r, y, 0, False) for y in ys))


def as_one(n: Length) -> Known:
    """One length, as a scalar."""
    return Known(as_known([n]).array.reshape(()))


def _holds(given: Given | None) -> bool:
    return given is None or (isinstance(given, Known) and given.whole and bool(given.array.all()))


def _whole(given: Given) -> int | None:
    """Where a counter begins."""
    if isinstance(given, Known) and given.whole and given.array.dtype.kind == "i" and given.array.size == 1:
        return int(given.array.reshape(()))
    return None


def _renamed(body: Any) -> dict[str, str]:
    """What values are that only have another name; a graph has its nodes in order."""
    found: dict[str, str] = {}
    for node in body.node:
        if node.op_type == "Identity":
            found[node.output[0]] = found.get(node.input[0], node.input[0])
    return found


def _taken(r: Reader, body: Any) -> dict[str, Any]:
    """The nodes that take one entry of a value around the body, by what they make."""
    own = {entry.name for entry in body.input} | {name for node in body.node for name in node.output}
    found = {}
    for node in body.node:
        if node.op_type == "Gather" and node.input[0] not in own and isinstance(r.known.get(node.input[0]), Flow):
            found[node.output[0]] = node
    return found


def _axis(r: Reader, node: Any) -> int:
    attributes = {entry.name: entry.i for entry in node.attribute}
    return int(attributes.get("axis", 0)) % r.known[node.input[0]].rank


def _scanned(r: Reader, node: Any) -> scan.Scanned:
    flow = r.known[node.input[0]]
    assert isinstance(flow, Flow)
    return scan.steps_of(r, flow, _axis(r, node), False)


def _count(trips: Given | None, condition: Given, step: Open) -> Length:
    """How often the body runs."""
    found: list[Length] = []
    if trips is not None:
        if not isinstance(trips, Known) or trips.array.size != 1:
            raise SpecError("how often it runs depends on the numbers of the input")
        known = trips.lengths()[0]
        if isinstance(known, Open) or known < 1 << 31:
            found.append(known)
    if not isinstance(condition, Known):
        raise SpecError("when it ends depends on the numbers of the input")
    asked = condition.array.reshape(-1)[0]
    if isinstance(asked, Asked):
        found += [_bound(low, high, step) for low, high in asked.pairs]
    elif not bool(asked) or not condition.whole:
        raise SpecError("it ends after one step")
    if not found:
        raise SpecError("it never ends")
    least = found[0]
    for other in found[1:]:
        told = lengths.order(other, least)
        if told is None:
            raise SpecError(f"it runs {least} or {other} times, which of them is not known; give lengths=")
        least = other if told == "<" else least
    return least


def _bound(low: Length, high: Length, step: Open) -> Length:
    """After how many steps ``low < high`` is no longer true: low is the step and a number."""
    offset = lengths.minus(low, step)
    if lengths.counts_steps(offset) or lengths.counts_steps(high):
        raise SpecError(f"it runs while {low} < {high}, which is not read")
    return lengths.minus(high, offset)


def _check(
    r: Reader,
    inside: Reader,
    taken: Mapping[str, Any],
    counters: Mapping[str, int],
    ends: Mapping[str, str],
    count: Length,
    before: Length,
) -> None:
    """SpecError where a counter does not count, or entries are taken in another order."""
    for name in counters:
        now, then = (_one(inside.known.get(n)) for n in (name, ends[name]))
        if now is None or then is None or lengths.minus(then, now) != 1:
            raise SpecError(f"{name!r} is carried from step to step, and does not count them")
    for node in taken.values():
        steps = r.lengths(r.known[node.input[0]])[_axis(r, node)]  # type: ignore[arg-type]  # a Flow
        at = inside.known.get(node.input[1])
        if steps != count or at is None or at.rank != 0 or _one(at) != before:
            raise SpecError(f"it takes entry {_one(at)} of {steps} at each of {count} steps; expected all, in order")


def _one(given: Given | None) -> Length | None:
    if not isinstance(given, Known) or given.array.size != 1:
        return None
    found: Sequence[Length] = given.lengths()
    return found[0]


TABLE: Mapping[str, Read] = MappingProxyType({"Loop": read})
