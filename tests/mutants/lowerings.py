"""Faults in what the recurrent layers, the cells, models and streams are made of.

No oracle that builds on the same lowering can see them: Keras' numbers, the rule and the relations must.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from rewriting import Patch, Plant, attribute, left_out, lowered, method, rewriting, with_op

from lstmcore import layers, ops, streaming
from lstmcore.layers import wrappers
from lstmcore.layers.cells import Cell
from lstmcore.layers.recurrent import SequenceLayer
from lstmcore.program import Builder, Value
from lstmcore.runtime import predict

# Recurrent layers and Bidirectional.


def mask_stays(right: Any, self: Any, build: Builder, x: Value, mask: Any, *args: Any, **kwargs: Any) -> Any:
    outputs, _ = right(self, build, x, mask, *args, **kwargs)
    return outputs, mask


def mask_turns(right: Any, self: Any, build: Builder, x: Value, mask: Any, *args: Any, **kwargs: Any) -> Any:
    """The mask that goes on is reversed with the outputs."""
    outputs, after = right(self, build, x, mask, *args, **kwargs)
    if after is not None and self.go_backwards:
        (after,) = build.op(ops.Reverse(), after, name="turned")
    return outputs, after


def outputs_in_time(right: Any, self: Any, build: Builder, *args: Any, **kwargs: Any) -> Any:
    """go_backwards puts its outputs back in order of time."""
    (y, *states), mask = right(self, build, *args, **kwargs)
    if self.go_backwards and self.return_sequences:
        (y,) = build.op(ops.Reverse(), y, name="turned")
    return (y, *states), mask


def states_reversed(
    right: Any, self: Any, build: Builder, x: Value, mask: Any, initial_state: Any = None, **more: Any
) -> Any:
    turned = initial_state[::-1] if isinstance(initial_state, list) else initial_state
    return right(self, build, x, mask, turned, **more)


def halves_traded(states: Sequence[Any]) -> tuple[Any, ...]:
    half = len(states) // 2
    return (*states[half:], *states[:half])


def final_states_traded(right: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    outputs, masks = right(self, *args, **kwargs)
    count = 2 if self.merge_mode is None else 1
    return (*outputs[:count], *halves_traded(outputs[count:])), masks


def initial_states_traded(
    right: Any, self: Any, build: Builder, x: Value, mask: Any, initial_state: Any = None, **more: Any
) -> Any:
    traded = None if initial_state is None else list(halves_traded(initial_state))
    return right(self, build, x, mask, initial_state=traded, **more)


def backward_unmasked(right: Any, self: Any, build: Builder, x: Value, mask: Any, **more: Any) -> Any:
    return right(self, build, x, None if self.name and self.name.startswith("backward") else mask, **more)


def not_zeroed(right: Any, layer: Any, direction: str, **more: Any) -> Any:
    """Bidirectional leaves zero_output_for_mask as it is."""
    copy = right(layer, direction, **more)
    object.__setattr__(copy, "zero_output_for_mask", layer.zero_output_for_mask)
    return copy


RECURRENT: dict[str, Plant] = {
    "go_backwards ignored": left_out("reverse"),
    "mask not reversed with go_backwards": left_out("reverse_mask"),
    "outputs of go_backwards in order of time": method(SequenceLayer, "lower", outputs_in_time),
    "mask reversed after go_backwards": method(SequenceLayer, "lower", mask_turns),
    "mask passed on after return_sequences=False": method(SequenceLayer, "lower", mask_stays),
    "first output instead of last": rewriting(
        "last", lambda build, op, inputs: (op, build.op(ops.Reverse(), *inputs, name="turned"))
    ),
    "initial states in reverse": method(SequenceLayer, "lower", states_reversed),
    "states in reverse": lowered(SequenceLayer, lambda outputs, mask: ((outputs[0], *outputs[:0:-1]), mask)),
    "implied mask counts beside initial_state": attribute(SequenceLayer, "drops_implied_mask", False),
    "Bidirectional: implied mask counts beside initial_state": attribute(
        layers.Bidirectional, "drops_implied_mask", False
    ),
    "Bidirectional: backward stream not flipped before merging": left_out("in_time"),
    "Bidirectional: backward layer not reversed": left_out("reverse", within="backward"),
    "Bidirectional: backward mask not reversed": left_out("reverse_mask", within="backward"),
    "Bidirectional: backward layer without mask": method(SequenceLayer, "lower", backward_unmasked),
    "Bidirectional: merge order swapped": method(
        layers.Bidirectional, "_merge", lambda right, self, build, a, b: right(self, build, b, a)
    ),
    "Bidirectional: sum for ave": left_out("mean"),
    "Bidirectional: final states of the directions swapped": method(layers.Bidirectional, "lower", final_states_traded),
    "Bidirectional: initial states of the directions swapped": method(
        layers.Bidirectional, "lower", initial_states_traded
    ),
    "Bidirectional: masked outputs held": method(wrappers, "_changed", not_zeroed),
    "Bidirectional: mask passed on after return_sequences=False": method(
        layers.Bidirectional,
        "lower",
        lambda right, self, build, x, mask, *args, **kwargs: (
            (made := right(self, build, x, mask, *args, **kwargs))[0],
            (mask, *made[1][1:]),
        ),
    ),
}

# Cells.


class Reordered:
    """The functions of a step, but that ``split`` gives its four parts in another order."""

    def __init__(self, functions: Any, order: Sequence[int]) -> None:
        self._functions, self._order = functions, order

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functions, name)

    def split(self, x: Any, parts: Any) -> Any:
        found = self._functions.split(x, parts)
        return [found[k] for k in self._order] if len(found) == len(self._order) else found


def gates(cell: type[Cell], *order: int) -> Plant:
    return method(
        cell,
        "step",
        lambda right, self, functions, *args: right(self, Reordered(functions, order), *args),
    )


def always_before(right: Any, self: Any, functions: Any, inputs: Any, states: Any, w: Any) -> Any:
    """reset_after with the formula that resets before."""
    if not self.reset_after:
        return right(self, functions, inputs, states, w)
    bias = {"bias": w["bias"][0] + w["bias"][1]} if self.use_bias else {}
    other = SimpleNamespace(
        **{f: getattr(self, f) for f in ("units", "use_bias", "activation", "recurrent_activation")}
    )
    other.reset_after = False
    return right(other, functions, inputs, states, {**w, **bias})


def always_after(right: Any, self: Any, functions: Any, inputs: Any, states: Any, w: Any) -> Any:
    """The other way round; it has one bias."""
    if self.reset_after:
        return right(self, functions, inputs, states, w)
    (h,) = states
    x = inputs @ w["kernel"] + w["bias"] if self.use_bias else inputs @ w["kernel"]
    (x_z, x_r, x_h), (h_z, h_r, h_h) = (functions.split(z, 3) for z in (x, h @ w["recurrent_kernel"]))
    z, r = (functions.activate(self.recurrent_activation, gate) for gate in (x_z + h_z, x_r + h_r))
    h = z * h + (1 - z) * functions.activate(self.activation, x_h + r * h_h)
    return h, [h]


def old_output(right: Any, self: Any, functions: Any, inputs: Any, states: Any, w: Any) -> Any:
    """The output is the state before the step."""
    _, after = right(self, functions, inputs, states, w)
    return states[0], after


def cells_reversed(right: Any, self: Any, build: Builder, x: Value, mask: Any, states: Any = ()) -> Any:
    """The last cell takes the input."""
    turned = replace_cells(self, self.cells[::-1])
    return right(turned, build, x, mask, states)


def replace_cells(stack: Any, cells: Any) -> Any:
    names = dict(zip(map(id, stack.cells), stack.parts, strict=True))
    return SimpleNamespace(
        cells=cells, parts={names[id(cell)]: cell for cell in cells}, _check_given=lambda given: None
    )


def side_by_side(right: Any, self: Any, build: Builder, x: Value, mask: Any, states: Any = ()) -> Any:
    """Every cell takes what the one before took for its state, not its output: its second state, if it has one."""
    given, after, taken = list(states), [], 0
    for prefix, cell in zip(self.parts, self.cells, strict=True):
        own = given[taken : taken + len(cell.state_sizes)]
        with build.scope(prefix):
            (_, *finals), _ = cell.lower(build, x, None, own)
        x, taken = finals[-1], taken + len(own)
        after += finals
    return (x, *after), None


def states_late(right: Any, self: Any, build: Builder, x: Value, mask: Any, states: Any = ()) -> Any:
    """Each cell but the first takes the output that the one below had a step before."""
    given, after, taken = list(states), [], 0
    for prefix, cell in zip(self.parts, self.cells, strict=True):
        own = given[taken : taken + len(cell.state_sizes)]
        with build.scope(prefix):
            (y, *finals), _ = cell.lower(build, x, None, own)
        x, taken = own[0], taken + len(own)
        after += finals
    return (y, *after), None


def one_long_sequence(right: Any, self: Any, build: Builder, x: Value, mask: Any) -> Any:
    """The states of the layer inside run on from step to step."""
    inner = self.layer
    if not isinstance(inner, SequenceLayer) or inner.return_sequences or inner.go_backwards or None in x.shape[1:]:
        return right(self, build, x, mask)
    steps, length, *rest = x.shape[1:]
    (joined,) = build.op(ops.Reshape((steps * length, *rest)), x, name="joined")
    states = [build.op(ops.Zeros(shape), x, name=f"zero_{name}")[0] for name, shape in inner.state_shapes().items()]
    y, *_ = inner.run(build, joined, states, None)
    (y,) = build.op(ops.Reshape((steps, length, y.shape[-1])), y, name="apart")
    (y,) = build.op(ops.Slice(2, -1), y, name="last")
    return build.op(ops.Reshape((steps, y.shape[-1])), y, name="each"), mask


CELLS: dict[str, Plant] = {
    "LSTMCell: gates c and o swapped": gates(layers.LSTMCell, 0, 1, 3, 2),
    "LSTMCell: gates i and f swapped": gates(layers.LSTMCell, 1, 0, 2, 3),
    "GRUCell: gates z and r swapped": gates(layers.GRUCell, 1, 0, 2),
    "GRUCell: reset_after ignored, always before": method(layers.GRUCell, "step", always_before),
    "GRUCell: reset_after ignored, always after": method(layers.GRUCell, "step", always_after),
    "SimpleRNNCell: output of the step before": method(layers.SimpleRNNCell, "step", old_output),
    "StackedRNNCells: from the last to the first": method(layers.StackedRNNCells, "lower", cells_reversed),
    "StackedRNNCells: fed by the last state": method(layers.StackedRNNCells, "lower", side_by_side),
    "StackedRNNCells: fed by the step before": method(layers.StackedRNNCells, "lower", states_late),
    "RNN: zero_output_for_mask ignored": with_op("", lambda op: replace(op, zero_output_for_mask=False), ops.Scan),
    "TimeDistributed: states run on": method(layers.TimeDistributed, "lower", one_long_sequence),
    "TimeDistributed: mask ends": lowered(layers.TimeDistributed, lambda y, masks: (y, (None,) * len(masks))),
}

# Models, states and streams.


def all_stateful(right: Any, session: Any, inputs: Any, states: Any, callbacks: Any) -> Any:
    carries = tuple(replace(carry, stateful=True) for carry in session.program.carries)
    wrong = SimpleNamespace(program=replace(session.program, carries=carries), run=session.run, backend=session.backend)
    return right(wrong, inputs, states, callbacks)


def leaking(right: Any, session: Any, inputs: Any, states: Any, callbacks: Any) -> Any:
    """From batch to batch of one call."""
    kept = dict(states)
    outputs = all_stateful(right, session, inputs, kept, callbacks)
    stateful = {carry.name for carry in session.program.carries if carry.stateful}
    states.update({name: array for name, array in kept.items() if name in stateful})
    return outputs


def shared_carry(right: Any, self: Builder, name: str, shape: Any, stateful: bool = False) -> Value:
    """A layer used twice goes on from where it was."""
    path = self.path(name)
    return self.values[self.carries[path].after] if path in self.carries else right(self, name, shape, stateful)


def conv_off_by_one(build: Builder, node: Any) -> bool:
    """One step of the past too many is kept, and the oldest ones are used."""
    op = node.op
    steps = (op.size - 1) * op.dilation
    if steps == 0:
        return False
    x = build.values[node.inputs[0]]
    with build.scope(node.name):
        past = build.carry("past", (x.shape[0], steps + 1, *x.shape[2:]))
        (both,) = build.op(ops.Concat(1, 2), past, x, name="with_past")
        build.update(past, build.op(ops.Slice(1, -steps - 1, None), both, name="next_past")[0])
        (late,) = build.op(ops.Slice(1, 0, -1), both, name="late")
    build.add(replace(node, op=replace(op, padding="valid"), inputs=(late.name,)))
    return True


def conv_past_of_chunk(build: Builder, node: Any) -> bool:
    """The past is what came with the piece before alone: zeros are put before a short one."""
    op = node.op
    steps = (op.size - 1) * op.dilation
    if steps == 0:
        return False
    x = build.values[node.inputs[0]]
    with build.scope(node.name):
        past = build.carry("past", (x.shape[0], steps, *x.shape[2:]))
        (both,) = build.op(ops.Concat(1, 2), past, x, name="with_past")
        (padded,) = build.op(ops.Pad(1, steps, 0), x, name="padded")
        build.update(past, build.op(ops.Slice(1, -steps, None), padded, name="next_past")[0])
    build.add(replace(node, op=replace(op, padding="valid"), inputs=(both.name,)))
    return True


def held_at_the_start(right: Any, build: Builder, node: Any) -> bool:
    """What is held over is the first output of a piece, not its last."""
    op = Builder.op

    def first(self: Builder, kind: Any, *inputs: Any, name: str = "", **more: Any) -> Any:
        if name == "last_output":
            inputs = op(self, ops.Reverse(), *inputs, name="turned")
        return op(self, kind, *inputs, name=name, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "op", first)
        return bool(right(build, node))


def looking_back(**changes: Any) -> Plant:
    """Other ways for the ops that need a part of the past, or none."""

    def plant(patch: Patch) -> None:
        table = {kind: way for kind, way in streaming._LOOK_BACK.items() if changes.get(way.__name__, way) is not None}
        table = {kind: changes.get(way.__name__, way) for kind, way in table.items()}
        patch.setattr(streaming, "_LOOK_BACK", MappingProxyType(table))

    return plant


def never_stateful(right: Any, self: Builder, name: str, shape: Any, stateful: bool = False) -> Value:
    return right(self, name, shape, False)


MODELS: dict[str, Plant] = {
    "states leak from batch to batch": method(predict, "predict", leaking),
    "states are kept from call to call": method(predict, "predict", all_stateful),
    "stateful ignored": method(Builder, "carry", never_stateful),
    "a shared layer shares its state": method(Builder, "carry", shared_carry),
    "stream: masked step after a cut": looking_back(_held=None),
    "stream: first output held": looking_back(_held=lambda build, node: held_at_the_start(RIGHT_HELD, build, node)),
    "stream: causal convolution without past": looking_back(_conv=None),
    "stream: causal convolution one step late": looking_back(_conv=conv_off_by_one),
    "stream: past of the piece before alone": looking_back(_conv=conv_past_of_chunk),
}
RIGHT_HELD = streaming._held

FAULTS: dict[str, Plant] = {**RECURRENT, **CELLS, **MODELS}
