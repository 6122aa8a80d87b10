"""ONNX's Scan: its body becomes a program, which our `ops.Scan` runs over time.

What the body reads of the graph around it, and does not change, is a state that stays as it is. Several values that
are scanned, or made at each step, are one of ours, side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lstmcore import ops
from lstmcore.activations import Function
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.lengths import Length
from lstmcore.interop.onnx.loading import array
from lstmcore.interop.onnx.reader import Call, Reader, give
from lstmcore.interop.onnx.readers import counts
from lstmcore.interop.onnx.readers.parts import reversed_
from lstmcore.interop.onnx.readers.shape import transposed
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]


@dataclass(frozen=True)
class Scanned:
    """A value with its steps on the program's axis 1; ``like`` is what one step of it is in ONNX."""

    value: Value
    batch: int | None
    lengths: tuple[Length, ...]  # of one step
    counts: bool = False


@dataclass(frozen=True)
class State:
    """What a state begins with; ``carried`` where that is zero, so that a stream can go on with it."""

    flow: Flow
    carried: bool = False


@dataclass(frozen=True)
class Body:
    """The graph of one step: its nodes, the names of the states after it, and of what it makes at each step."""

    graph: Any
    nodes: Sequence[Any]
    ends: Sequence[str]
    made: Sequence[str]


def read(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only(
        "body",
        "num_scan_inputs",
        "scan_input_axes",
        "scan_input_directions",
        "scan_output_axes",
        "scan_output_directions",
    )
    body, count = call.attributes["body"], int(call.attributes["num_scan_inputs"])
    first = len(call.inputs) - count
    axes = call.number("scan_input_axes", [0] * count)
    ways = call.number("scan_input_directions", [0] * count)
    names = [entry.name for entry in body.input]
    if len(names) != len(call.inputs) or count < 1:
        raise SpecError(f"its body takes {len(names)} values; {len(call.inputs)} are given, {count} of them scanned")
    scanned = {
        names[first + k]: steps_of(r, r.flow(call.at(first + k)), int(axes[k]), bool(ways[k])) for k in range(count)
    }
    states = {names[k]: initial(r, call.at(k), f"{call.name}/state_{k}") for k in range(first)}
    ends = [entry.name for entry in body.output]
    finals, ys, _ = run(r, call.name, Body(body, body.node, ends[:first], ends[first:]), states, scanned)
    axes = call.number("scan_output_axes", [0] * len(ys))
    ways = call.number("scan_output_directions", [0] * len(ys))
    return (*finals, *(placed(r, y, int(axes[k]), bool(ways[k])) for k, y in enumerate(ys)))


def steps_of(r: Reader, x: Flow, axis: int, turned: bool) -> Scanned:
    """The value with that axis as the steps."""
    axis %= x.rank
    if axis == x.batch:
        raise SpecError("its steps are the batch")
    others = [k for k in range(x.rank) if k not in (axis, x.batch)]
    have = r.lengths(x)
    flow = transposed(r, x, [*([] if x.batch is None else [x.batch]), axis, *others])
    value = r.op(ops.Reverse(), flow.value) if turned else flow.value
    batch = None if x.batch is None else x.batch - (axis < x.batch)
    return Scanned(value, batch, tuple(n for k, n in enumerate(have) if k != axis), x.counts)


def initial(r: Reader, given: Given, name: str) -> State:
    """A state to begin with, as a value of the program; a carry where it is zero."""
    zero = (isinstance(given, Filled) and given.number == 0) or (isinstance(given, Known) and not given.array.any())
    flow = r.flow(given)
    if flow.kind != "float":
        flow = counts.made(r, flow)
    rest = flow.value.shape[1:]
    if not zero or flow.batch is None or None in rest or flow.value.name in r.folded:
        return State(flow)
    assert r.like is not None
    with r.build.scope(r._safe(name)):
        value = r.build.carry("h", (r.like.value.shape[0], *rest))
    return State(Flow(value, flow.batch, flow.lengths), True)


def run(
    r: Reader,
    name: str,
    body: Body,
    states: Mapping[str, State],
    scanned: Mapping[str, Scanned],
    known: Mapping[str, Given] = MappingProxyType({}),
) -> tuple[list[Flow], list[Flow], Reader]:
    """The states after the last step, what is made at each step, its axis 1 the steps, and what the body made.

    ``known`` is what else the body is given, the same at each step.
    """
    inside = Reader(r.loaded, r.dtype, r.batch, r.budget, r.samples)
    outer = _outer(r, body)
    every = {**states, **{key: State(flow) for key, flow in outer.items()}}
    inside.known |= {key: value for key, value in r.known.items() if not isinstance(value, Flow)}
    inside.known |= {tensor.name: Known(array(r.loaded, tensor), tensor.name) for tensor in body.graph.initializer}
    entries = _declared(inside, list(scanned.values()), list(scanned))
    for key, state in every.items():
        value = inside.build.input(inside._safe(key), (None, *state.flow.value.shape[1:]))
        inside.known[key] = Flow(value, state.flow.batch, state.flow.lengths, state.flow.counts)
    inside.known |= {**entries, **known}
    inside.run_nodes(body.nodes)
    finals = [
        _checked(inside, inside.flow(inside.known[end]), state.flow)
        for end, state in zip(body.ends, states.values(), strict=True)
    ]
    ys = [inside.flow(inside.known[end]) for end in body.made]
    steps = list(scanned.values())
    after = [*finals, *(inside.known[key] for key in outer)]
    found, made = _applied(r, inside, name, after, ys, list(every.values()), steps)
    return found[: len(states)], made, inside


def _outer(r: Reader, body: Body) -> dict[str, Flow]:
    """The values of the model around it that a body reads."""
    graph = body.graph
    own = {entry.name for entry in (*graph.input, *graph.initializer)} | {name for n in graph.node for name in n.output}
    wanted = {*body.ends, *body.made}
    waiting = [body.nodes]
    while waiting:
        for node in waiting.pop():
            wanted |= set(node.input)
            waiting += [attribute.g.node for attribute in node.attribute if attribute.HasField("g")]
    found = {}
    for key in sorted(wanted - own):
        given = r.known.get(key)
        if isinstance(given, Flow):
            if given.kind != "float":
                raise SpecError(f"its body reads {key!r}, {given.kind}s of the graph around it; expected floats")
            found[key] = given
    return found


def _checked(inside: Reader, after: Flow, before: Flow) -> Flow:
    if after.value.shape[1:] != before.value.shape[1:] or after.batch != before.batch:
        raise SpecError(f"a state is {before.value.shape} before a step and {after.value.shape} after it")
    return after


def _declared(inside: Reader, steps: Sequence[Scanned], names: Sequence[str]) -> dict[str, Given]:
    """One step of what is scanned, as the body has it."""
    if len(steps) == 1:
        (only,) = steps
        value = inside.build.input(inside._safe(names[0]), (None, *only.value.shape[2:]), only.value.kind)
        flow = Flow(value, only.batch, only.lengths, only.counts)
        inside.like = flow
        return {names[0]: flow}
    sizes = [_size(step) for step in steps]
    whole = inside.build.input("scanned", (None, sum(sizes)))
    inside.like = Flow(whole, None if inside.batch is None else 0)
    found: dict[str, Given] = {}
    start = 0
    for name, step, size in zip(names, steps, sizes, strict=True):
        part = inside.op(ops.Slice(1, start, start + size), whole)
        start += size
        part = inside.op(ops.Reshape(tuple(int(n or 0) for n in step.value.shape[2:])), part)
        part = inside.op(ops.NotEqual(0.0), part) if step.value.kind == "bool" else part
        found[name] = Flow(part, step.batch, step.lengths, step.counts or step.value.kind == "int")
    return found


def _size(step: Scanned) -> int:
    rest = step.value.shape[2:]
    if None in rest:
        raise SpecError(f"several values are scanned, and a length of one is open; {give(*step.lengths)}")
    return math.prod(int(n or 0) for n in rest)


def _together(r: Reader, steps: Sequence[Scanned]) -> Value:
    """What is scanned, side by side."""
    if len(steps) == 1:
        return steps[0].value
    parts = []
    for step in steps:
        time = step.value.shape[1]
        flow = Flow(step.value, step.batch)
        value = step.value if step.value.kind == "float" else counts.made(r, flow).value
        parts.append(r.op(ops.Reshape((-1 if time is None else time, _size(step))), value))
    return r.op(ops.Concat(2, len(parts)), *parts)


def _applied(
    r: Reader,
    inside: Reader,
    name: str,
    finals: Sequence[Any],
    ys: Sequence[Flow],
    states: Sequence[State],
    steps: Sequence[Scanned],
) -> tuple[list[Flow], list[Flow]]:
    """The op: the states after it, and what is made at each step."""
    sizes = [math.prod(int(n or 0) for n in y.value.shape[1:]) for y in ys]
    if any(None in y.value.shape[1:] for y in ys):
        raise SpecError("what it makes at each step has an open length; give lengths=")
    if len(ys) == 1:
        step = _copied(inside, ys[0].value)
    else:
        flat = [inside.op(ops.Reshape((n,)), _float(inside, y)) for y, n in zip(ys, sizes, strict=True)]
        step = inside.op(ops.Concat(1, len(flat)), *flat) if flat else _copied(inside, finals[0].value)
    body = inside.build.finish([step.name, *(_copied(inside, state.value).name for state in finals)])
    paths = {port: r.weight(*inside.named(port)) for port in body.weights}
    entering = [state.flow.value for state in states]
    y, *after = r.ops(ops.Scan(body), _together(r, steps), *entering, None, name=name, weights=paths)
    for state, value in zip(states, after, strict=True):
        if state.carried:
            r.build.update(state.flow.value, value)
    ends = [Flow(v, s.flow.batch, s.flow.lengths, s.flow.counts) for v, s in zip(after, states, strict=True)]
    return ends, _apart(r, y, ys, sizes)


def _float(r: Reader, flow: Flow) -> Value:
    return flow.value if flow.kind == "float" else counts.made(r, flow).value


def _copied(r: Reader, value: Value) -> Value:
    """The value by a name of its own: what leaves a body is made in it, and once."""
    if value.kind != "float":
        raise SpecError(f"a state or an output of its body is {value.kind}; expected floats")
    return r.op(ops.Activate(Function("linear")), value)


def _apart(r: Reader, y: Value, ys: Sequence[Flow], sizes: Sequence[int]) -> list[Flow]:
    if len(ys) == 1:
        return [Flow(y, ys[0].batch, ys[0].lengths, ys[0].counts)]
    found, start = [], 0
    for step, size in zip(ys, sizes, strict=True):
        part = r.op(ops.Slice(2, start, start + size), y)
        time = y.shape[1]
        shape = (-1 if time is None else time, *(int(n or 0) for n in step.value.shape[1:]))
        part = r.op(ops.Reshape(shape), part)
        part = r.op(ops.NotEqual(0.0), part) if step.kind == "bool" else part
        found.append(Flow(part, step.batch, step.lengths, step.counts))
        start += size
    return found


def placed(r: Reader, y: Flow, axis: int, turned: bool) -> Flow:
    """What was made at each step, (batch, steps, ...) in the program, with the steps on one of ONNX's axes."""
    rank = len(y.value.shape) - (y.batch is None)
    axis %= rank
    step = [k for k in range(rank - 1) if k != y.batch]
    own = [] if y.batch is None else ["batch"]
    now: list[Any] = [*own, "steps", *step]
    wanted: list[Any] = ["batch" if k == y.batch else k for k in range(rank - 1)]
    wanted.insert(axis, "steps")
    have = Flow(y.value, None if y.batch is None else 0, (), y.counts)
    flow = transposed(r, have, [now.index(entry) for entry in wanted])
    return reversed_(r, flow, axis) if turned else flow


TABLE: Mapping[str, Read] = MappingProxyType({"Scan": read})
