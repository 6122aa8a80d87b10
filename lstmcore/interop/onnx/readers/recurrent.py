"""LSTM, GRU, RNN: our fused ops where they say the same; a cell over time where they do not.

What only a cell says: clip, input_forget, peepholes, functions that we have no name for, and different functions for
the candidate and the output of an LSTM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lstmcore import layouts, ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.readers import cells
from lstmcore.interop.onnx.readers.cells import Activation
from lstmcore.interop.onnx.readers.items import Items, items
from lstmcore.interop.onnx.readers.shape import transposed
from lstmcore.interop.onnx.values import Array, Filled, Flow, Given, Known, Ramp, Steps
from lstmcore.ops import Recurrent
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]
OPS: Mapping[str, type[Recurrent]] = MappingProxyType({"LSTM": ops.Lstm, "GRU": ops.Gru, "RNN": ops.SimpleRnn})
COMMON = ("activations", "activation_alpha", "activation_beta", "clip", "direction", "hidden_size", "layout")
OWN = {"LSTM": ("input_forget",), "GRU": ("linear_before_reset",), "RNN": ()}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@dataclass(frozen=True)
class _Given:
    """A recurrent node, checked: x (items, time, features), and what is the same for both directions."""

    r: Reader
    call: Call
    units: int
    turned: tuple[bool, ...]
    each: Items
    mask: Value | None
    zeroes: bool = True
    """Whether a step that does not count gives zeros; it repeats the one before it otherwise."""

    @property
    def x(self) -> Value:
        return self.each.value


def read(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only(*COMMON, *OWN[call.kind])
    x = r.flow(call.at(0))
    if x.rank != 3:
        raise SpecError(f"its input has {x.rank} axes; expected 3")
    layout = call.number("layout", 0)
    direction = str(call.number("direction", "forward")).lower()
    if direction not in DIRECTIONS or layout not in (0, 1):
        raise SpecError(f"direction {direction!r}, layout {layout!r}: one of them is not known")
    each = items(r, x, 1 if layout == 0 else 0)
    turned = DIRECTIONS[direction]
    weights = _weights(call, len(turned))
    units = int(call.number("hidden_size", weights["recurrent_kernel"].array.shape[-1]))
    _check_shapes(call, weights, len(turned), units, each.value.shape[-1])
    given = _Given(r, call, units, turned, each, _mask(r, call, each, layout), not isinstance(call.get(4), Steps))
    runs = [_direction(given, weights, k) for k in range(len(turned))]
    ys = _stacked(given, [run[0] for run in runs], layout)
    finals = [_states(given, list(column), layout) for column in zip(*(run[1:] for run in runs), strict=True)]
    return (ys, *finals)


def _weights(call: Call, directions: int) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for position, port in ((1, "kernel"), (2, "recurrent_kernel"), (3, "bias"), (7, "peephole")):
        given = call.get(position)
        if given is None and position > 2:
            continue
        if not isinstance(given, Known) or given.array.dtype.kind != "f":
            called = f", {given.value.name!r}," if isinstance(given, Flow) else ""
            raise SpecError(f"its {port}{called} is no weight in the file, but an input, or computed by the model")
        found[port] = given
    return found


def _check_shapes(call: Call, weights: Mapping[str, Known], directions: int, units: int, features: int | None) -> None:
    gates = len(OPS[call.kind].gates)
    wanted = {
        "kernel": (directions, gates * units, features),
        "recurrent_kernel": (directions, gates * units, units),
        "bias": (directions, 2 * gates * units),
        "peephole": (directions, 3 * units),
    }
    for port, known in weights.items():
        if known.array.shape != wanted[port]:
            raise SpecError(f"its {port} has shape {known.array.shape}; expected {wanted[port]}")


def _mask(r: Reader, call: Call, each: Items, layout: int) -> Value | None:
    """The steps within ``sequence_lens``."""
    lengths = call.get(4)
    if lengths is None:
        return None
    time = each.value.shape[1]
    if isinstance(lengths, Known):
        if time is not None and (lengths.array == time).all():
            return None
        raise SpecError("its sequence_lens are known numbers; expected an input, or none")
    if isinstance(lengths, Steps):
        return items(r, lengths, 0).value
    flow = r.flow(lengths)
    if (flow.kind != "int" and not flow.counts) or flow.rank != 1:
        raise SpecError(f"its sequence_lens are {flow.kind} of {flow.rank} axes; expected int of one")
    counts = items(r, flow, 0).value
    count = r.op(ops.Reshape((1,)), counts if flow.counts else r.op(ops.Cast(), counts, each.value))
    return r.op(ops.Binary("less"), cells.positions(r, each.value), count)


def _direction(given: _Given, weights: Mapping[str, Known], k: int) -> tuple[Value, ...]:
    """y (items, time, units) in the original order, and the final states."""
    r, call = given.r, given.call
    x, mask = given.x, given.mask
    if given.turned[k]:
        x = r.op(ops.Reverse(), x)
        mask = None if mask is None else r.op(ops.Reverse(), mask)
    chosen = _activations(call, k, len(given.turned))
    own = {port: known.array[k : k + 1] for port, known in weights.items()}
    names = {port: _named(known, k, len(given.turned)) for port, known in weights.items()}
    if "peephole" in own and not own["peephole"].any():
        del own["peephole"]
    op = _fused(given, chosen, own)
    states = [_initial(given, position, k) for position in ((5, 6) if call.kind == "LSTM" else (5,))]
    before = [state if isinstance(state, Value) else r.build.values[state[0]] for state in states]
    if op is not None:
        paths = {
            port: r.weight(names[port], layouts.from_foreign("onnx", op, port, array), (call.kind, k))
            for port, array in own.items()
        }
        made = r.ops(op, x, *before, mask, name=f"{call.name}{_suffix(given, k)}", weights=paths)
    else:
        made = cells.over_time(
            r, call, given.units, own, names, chosen, x, before, mask, _suffix(given, k), given.zeroes
        )
    for state, after in zip(before, made[1:], strict=True):
        if state.name in {carry.before for carry in r.build.carries.values()}:
            r.build.update(state, after)
    y = r.op(ops.Reverse(), made[0]) if given.turned[k] else made[0]
    return (y, *made[1:])


def _suffix(given: _Given, k: int) -> str:
    return "" if len(given.turned) == 1 else ("/forward", "/backward")[k]


def _named(known: Known, k: int, directions: int) -> str:
    return known.name if directions == 1 or not known.name else f"{known.name}/{('forward', 'backward')[k]}"


def _activations(call: Call, k: int, directions: int) -> list[Activation]:
    """The functions of one direction, each with the numbers that it takes, in order."""
    count = len(DEFAULTS[call.kind])
    names = list(call.number("activations", [])) or list(DEFAULTS[call.kind]) * directions
    if len(names) != count * directions:
        raise SpecError(f"activations {names}; expected {count} for each of {directions} directions")
    numbers = {word: list(call.number(f"activation_{word}", [])) for word in ("alpha", "beta")}
    found = []
    for name in names:
        found.append(cells.activation(name, numbers["alpha"], numbers["beta"]))
    if numbers["alpha"] or numbers["beta"]:
        raise SpecError(f"activation_alpha or activation_beta has more numbers than {names} take")
    return found[k * count : (k + 1) * count]


def _fused(given: _Given, chosen: list[Activation], own: Mapping[str, Array]) -> Recurrent | None:
    """Our op, where it says all that the node does."""
    call = given.call
    functions = [entry.function for entry in chosen]
    plain = not call.number("clip", None) and not call.number("input_forget", 0) and "peephole" not in own
    if None in functions or not plain or (call.kind == "LSTM" and functions[1] != functions[2]):
        return None
    common: dict[str, Any] = {
        "units": given.units,
        "activation": functions[-1],
        "use_bias": "bias" in own,
        "zero_output_for_mask": given.mask is not None and given.zeroes,
    }
    if call.kind == "RNN":
        return ops.SimpleRnn(**common)
    common["recurrent_activation"] = functions[0]
    if call.kind == "LSTM":
        return ops.Lstm(**common)
    return ops.Gru(**common, reset_after=bool(call.number("linear_before_reset", 0)))


def _initial(given: _Given, position: int, k: int) -> Any:
    """The state to start from: one that the model computes, or a carry, which is zero at first."""
    r, units = given.r, given.units
    state = given.call.get(position)
    zero = state is None or (isinstance(state, Filled) and state.number == 0)
    if zero or (isinstance(state, Known) and not state.array.any()):
        if given.each.like.batch is None or given.x.name in r.folded:
            return r.op(ops.Zeros((units,)), given.x)
        with r.build.scope(f"{r._safe(given.call.name)}{_suffix(given, k)}"):
            return r.build.carry("c" if position == 6 else "h", (given.x.shape[0], units))
    assert state is not None
    like = Flow(given.each.like.value, given.each.like.batch, given.each.like.lengths)
    flow = state if isinstance(state, Flow) else _spread_state(r, state, like)
    if flow.rank != 3:
        raise SpecError(f"an initial state has {flow.rank} axes; expected 3")
    layout = given.call.number("layout", 0)
    own = items(r, flow, 1 if layout == 0 else 0).value  # (items, directions, units)
    one = r.op(ops.Slice(1, k, k + 1), own) if len(given.turned) > 1 else own
    return r.op(ops.Reshape((units,)), one)


def _spread_state(r: Reader, state: Known | Filled | Ramp, like: Flow) -> Flow:
    """Known numbers (directions, 1 or items, units) for every sample."""
    return r.spread(state, Flow(like.value, None if r.batch is None else 1, like.lengths))


def _stacked(given: _Given, ys: list[Value], layout: int) -> Flow:
    """Y: (time, directions, batch, units), or (batch, time, directions, units) in layout 1."""
    r, units = given.r, given.units
    time = given.x.shape[1]
    wide = [r.op(ops.Reshape((-1 if time is None else time, 1, units)), y) for y in ys]
    both = wide[0] if len(wide) == 1 else r.op(ops.Concat(2, len(wide)), *wide)
    flow = given.each.back(r, both)
    steps = r.lengths(given.each.like)[0 if given.each.like.batch == 1 or flow.batch is None else 1]
    if flow.batch is not None:
        flow = Flow(flow.value, flow.batch, (r.lengths(flow)[0], steps, len(ys), units))
    return flow if layout else transposed(r, flow, [1, 2, 0, 3])


def _states(given: _Given, finals: list[Value], layout: int) -> Flow:
    """(directions, batch, units), or (batch, directions, units) in layout 1."""
    r = given.r
    wide = [r.op(ops.Reshape((1, given.units)), h) for h in finals]
    both = wide[0] if len(wide) == 1 else r.op(ops.Concat(1, len(wide)), *wide)
    flow = given.each.back(r, both)
    return flow if layout else transposed(r, flow, [1, 0, 2])


TABLE: Mapping[str, Read] = MappingProxyType(dict.fromkeys(OPS, read))
