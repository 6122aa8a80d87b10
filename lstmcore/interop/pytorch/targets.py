"""The layers of a model that have weights, and how each takes them from a module of PyTorch: a row for each class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import layers, layouts, ops
from lstmcore.activations import Function
from lstmcore.interop.pytorch.units import REVERSE, Unit
from lstmcore.layers.module import Module

Array = NDArray[Any]
Shape = tuple[int, ...]
Make = Callable[[Sequence[Array]], Array]


@dataclass(frozen=True)
class Fill:
    """Where one weight comes from: its owner and its name there, the roles in the unit, and what is made of them.

    ``gates`` is there where ``make`` only transposes a matrix and sorts its gates: which of theirs each of ours is.
    Such a weight can be read some rows at a time.
    """

    owner: Module
    weight: str
    roles: tuple[str, ...]
    make: Make
    gates: tuple[int, ...] = ()


@dataclass(frozen=True)
class Target:
    """A layer with weights, by the path that its weights begin with."""

    path: str
    layer: Module

    @property
    def kind(self) -> str:
        return type(self.layer).__name__

    def weights(self) -> dict[str, Shape]:
        """Its weights and their shapes."""
        return {name: owner.own_weights[weight].shape for name, owner, weight in self.layer.owners()}

    def plan(self, unit: Unit) -> list[Fill] | str:
        """How it takes its weights from that unit; or why it cannot."""
        layer = _cell(self.layer) or self.layer
        row = ROWS.get(type(layer).__name__)
        return row(layer, unit) if row else f"there is no module of PyTorch for {self.kind}"


def find_targets(model: Module) -> list[Target]:
    """The layers of a model that have weights, in its order, each once."""
    seen: set[int] = set()

    def within(module: Module, path: str) -> Iterator[Target]:
        if id(module) in seen:
            return
        seen.add(id(module))
        wrapped = isinstance(module, layers.Bidirectional) and _plain_sides(module)
        if module.own_weights or wrapped:
            yield Target(path, module)
            return
        for prefix, part in module.parts.items():
            yield from within(part, "/".join(p for p in (path, prefix) if p))

    return [target for target in within(model, "") if any(True for _ in target.layer.owners())]


def _plain_sides(module: Any) -> bool:
    """Whether both sides of a Bidirectional are one op each, and not several cells."""
    return all(_cell(side) is not None for side in (module.layer, module.backward_layer))


# The rows.


def _mismatch(what: str, wanted: Any, found: Any) -> str:
    return f"{what} {found} where {wanted} is wanted"


def _expects(unit: Unit, wanted: Mapping[str, Shape]) -> str | None:
    """Why the unit has not exactly these roles in these shapes; None where it has."""
    if set(unit.shapes) != set(wanted):
        more = [f"no {role}" for role in wanted if role not in unit.shapes]
        return ", ".join(more + [f"{role} is left over" for role in unit.shapes if role not in wanted])
    wrong = [role for role, shape in wanted.items() if unit.shapes[role] != shape]
    return "; ".join(_mismatch(f"{role} is", wanted[role], unit.shapes[role]) for role in wrong) or None


def _as_it_is(arrays: Sequence[Array]) -> Array:
    return arrays[0]


def _turned(arrays: Sequence[Array]) -> Array:
    """Axes in the opposite order: (out, in) to (in, out), (out, in, width) to (width, in, out)."""
    return np.ascontiguousarray(arrays[0].T)


def _simple(kinds: str, **rows: tuple[str, Make]) -> Callable[[Any, Unit], list[Fill] | str]:
    """A layer whose weights are each one tensor: weight=(role, how)."""

    def row(layer: Any, unit: Unit) -> list[Fill] | str:
        if not any(kind in kinds.split() for kind in unit.kind.split(" or ")):
            return f"it is an nn.{unit.kind}"
        own = {weight: array.shape for weight, array in layer.own_weights.items()}
        wanted = {
            rows[weight][0]: shape[::-1] if rows[weight][1] is _turned else shape for weight, shape in own.items()
        }
        fault = _expects(unit, wanted)
        return fault or [
            Fill(layer, weight, (role,), make, (0,) if make is _turned and len(own[weight]) == 2 else ())
            for weight, (role, make) in rows.items()
            if weight in own
        ]

    return row


_NORMALIZED = {"gamma": ("weight", _as_it_is), "beta": ("bias", _as_it_is)}
_STATISTICS = {"moving_mean": ("running_mean", _as_it_is), "moving_variance": ("running_var", _as_it_is)}


def _prelu(layer: Any, unit: Unit) -> list[Fill] | str:
    """A slope for all, or one for each channel: alpha may have further axes of length 1."""
    shape = layer.own_weights["alpha"].shape
    found = unit.shapes.get("weight", ())
    if not unit.kind.startswith("PReLU"):
        return f"it is an nn.{unit.kind}"
    if found != (1,) and (math.prod(shape) != found[0] or found[0] not in shape):
        return _mismatch("weight is", f"(1,) or {shape}", found)

    def make(arrays: Sequence[Array]) -> Array:
        (weight,) = arrays
        return np.broadcast_to(weight if weight.size == 1 else weight.reshape(shape), shape)

    return [Fill(layer, "alpha", ("weight",), make)]


_OPS: Mapping[str, Callable[[Any], ops.Recurrent]] = {
    "LSTM": lambda c: ops.Lstm(c.units, c.activation, c.use_bias, False, c.recurrent_activation),
    "GRU": lambda c: ops.Gru(c.units, c.activation, c.use_bias, False, c.recurrent_activation, c.reset_after),
    "RNN": lambda c: ops.SimpleRnn(c.units, c.activation, c.use_bias, False),
}
_CLASSES = {
    "LSTM": "LSTM",
    "GRU": "GRU",
    "SimpleRNN": "RNN",
    "LSTMCell": "LSTM",
    "GRUCell": "GRU",
    "SimpleRNNCell": "RNN",
}
_FUNCTIONS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "LSTM": (("tanh",), ("sigmoid",)),
    "GRU": (("tanh",), ("sigmoid",)),
    "RNN": (("tanh", "relu"),),
}


def _cell(layer: Any) -> Any:
    """What holds the weights of a recurrent layer: itself, or its one cell; None where it is something else."""
    while isinstance(layer, layers.RNN):
        layer = layer.cell
    return layer if type(layer).__name__ in (*_CLASSES, "ProjectedLSTMCell") else None


def _functions(kind: str, layer: Any) -> str | None:
    """Why a module of PyTorch computes something else: its activation functions are fixed."""
    names = ("activation", "recurrent_activation")
    for name, allowed in zip(names, _FUNCTIONS[kind], strict=False):
        function: Function = getattr(layer, name)
        if str(function) not in allowed:
            return f"its {name} is {str(function)!r}, and that of nn.{kind} is {' or '.join(allowed)}"
    if kind == "GRU" and not layer.reset_after:
        return "it has reset_after=False, and nn.GRU resets after the product: reset_after=True"
    return None


def _recurrent(layer: Any, unit: Unit) -> list[Fill] | str:
    kind = _CLASSES[type(layer).__name__]
    if unit.kind.removesuffix("Cell") != kind:
        return f"it is an nn.{unit.kind}"
    if unit.both_ways:
        return "it is bidirectional; a Bidirectional takes it"
    fault = _functions(kind, layer)
    if fault:
        return fault
    own = {weight: array.shape for weight, array in layer.own_weights.items()}
    wanted = {"weight_ih": own["kernel"][::-1], "weight_hh": own["recurrent_kernel"][::-1]}
    if "bias" in own:
        wanted |= dict.fromkeys(("bias_ih", "bias_hh"), (own["kernel"][1],))
    fault = _expects(unit, wanted)
    if fault:
        return _with_reason(fault, unit, own)
    op = _OPS[kind](layer)
    return [_filled(layer, op, weight) for weight in own]


def _filled(layer: Any, op: ops.Recurrent, port: str) -> Fill:
    """A weight with gates, as `layouts` has it."""
    gates = tuple(layouts.LAYOUTS["pytorch"][type(op)].gates.index(gate) for gate in op.gates)
    roles = layouts.names("pytorch", type(op), port)
    return Fill(layer, port, roles, _maker(op, port), () if port == "bias" else gates)


def _maker(op: ops.Recurrent, port: str) -> Make:
    return lambda arrays: layouts.from_foreign("pytorch", op, port, np.stack(arrays) if port == "bias" else arrays[0])


def _with_reason(fault: str, unit: Unit, own: Mapping[str, Shape]) -> str:
    if "weight_hr" in unit.shapes:
        return f"{fault} (it has proj_size, which an LSTM has not: RNN(ProjectedLSTMCell(...)) has)"
    if ("bias" in own) != ("bias_ih" in unit.shapes):
        return f"{fault} (use_bias={'bias_ih' in unit.shapes} would fit)"
    return fault


def _projected(layer: Any, unit: Unit) -> list[Fill] | str:
    if unit.kind not in ("LSTM", "LSTMCell") or unit.both_ways:
        return f"it is an nn.{unit.kind}" if not unit.both_ways else "it is bidirectional; a Bidirectional takes it"
    own = {weight: array.shape for weight, array in layer.own_weights.items()}
    wanted = {"weight_ih": own["kernel"][::-1], "weight_hh": own["recurrent_kernel"][::-1]}
    wanted |= {"weight_hr": own["projection_kernel"][::-1]}
    if "bias" in own:
        wanted |= dict.fromkeys(("bias_ih", "bias_hh"), own["bias"])
    fault = _expects(unit, wanted)
    if fault:
        return fault
    op = ops.Lstm(layer.units, use_bias=layer.use_bias)
    projection = Fill(layer, "projection_kernel", ("weight_hr",), _turned, (0,))
    return [projection, *(_filled(layer, op, weight) for weight in own if weight != "projection_kernel")]


def _bidirectional(layer: Any, unit: Unit) -> list[Fill] | str:
    if "weight_ih" not in unit.shapes:
        return f"it is an nn.{unit.kind}"
    if not unit.both_ways:
        return "it has one direction"
    made: list[Fill] = []
    for side in (layer.layer, layer.backward_layer):
        # the layer that goes backwards may stand first
        half = unit.half(reverse=side.go_backwards)
        fills = ROWS[type(_cell(side)).__name__](_cell(side), half)
        if isinstance(fills, str):
            return fills
        ending = REVERSE if side.go_backwards else ""
        made += [Fill(f.owner, f.weight, tuple(f"{role}{ending}" for role in f.roles), f.make, f.gates) for f in fills]
    return made


def _attention(layer: Any, unit: Unit) -> list[Fill] | str:
    """``in_proj_weight`` holds the projections of query, key and value one below the other."""
    if unit.kind != "MultiheadAttention":
        return f"it is an nn.{unit.kind}"
    own = {weight: array.shape for weight, array in layer.own_weights.items()}
    heads, size = layer.num_heads, layer.key_dim
    parts = ("query", "key", "value")
    width = heads * size
    features = {part: own[f"{part}/kernel"][0] for part in parts}
    if layer.use_gate or layer.value_dim != size or own["attention_output/kernel"][2:] != (width,):
        return f"it has not {heads} heads of {size} that make {width} features of {width}, as nn.MultiheadAttention has"
    together = "in_proj_weight" in unit.shapes
    wanted: dict[str, Shape] = {"out_proj.weight": (width, width)}
    if together:
        wanted["in_proj_weight"] = (3 * width, features["query"])
        if len(set(features.values())) > 1:
            return "query, key and value have different features, and it has one weight for all"
    else:
        wanted |= {f"{part[0]}_proj_weight": (width, features[part]) for part in parts}
    if layer.use_bias:
        wanted |= {"in_proj_bias": (3 * width,), "out_proj.bias": (width,)}
    fault = _expects(unit, wanted)
    if fault:
        return fault

    def part_of(k: int, shape: Shape) -> Make:
        def make(arrays: Sequence[Array]) -> Array:
            piece = arrays[0] if len(arrays[0]) == width else arrays[0][k * width : (k + 1) * width]
            return np.ascontiguousarray(piece.T.reshape(shape))

        return make

    made = []
    for k, part in enumerate(parts):
        role = "in_proj_weight" if together else f"{part[0]}_proj_weight"
        made.append(Fill(layer, f"{part}/kernel", (role,), part_of(k, own[f"{part}/kernel"])))
        if layer.use_bias:
            made.append(Fill(layer, f"{part}/bias", ("in_proj_bias",), part_of(k, own[f"{part}/bias"])))
    out = own["attention_output/kernel"]
    made.append(
        Fill(
            layer, "attention_output/kernel", ("out_proj.weight",), lambda a: np.ascontiguousarray(a[0].T.reshape(out))
        )
    )
    return made + ([Fill(layer, "attention_output/bias", ("out_proj.bias",), _as_it_is)] if layer.use_bias else [])


ROWS: Mapping[str, Callable[[Any, Unit], list[Fill] | str]] = {
    "Dense": _simple("Linear", kernel=("weight", _turned), bias=("bias", _as_it_is)),
    "Embedding": _simple("Embedding", embeddings=("weight", _as_it_is)),
    "Conv1D": _simple("Conv1d", kernel=("weight", _turned), bias=("bias", _as_it_is)),
    "BatchNormalization": _simple("BatchNorm1d", **_NORMALIZED, **_STATISTICS),
    "LayerNormalization": _simple("LayerNorm", **_NORMALIZED),
    "PReLU": _prelu,
    "MultiHeadAttention": _attention,
    "Bidirectional": _bidirectional,
    "ProjectedLSTMCell": _projected,
    **dict.fromkeys(_CLASSES, _recurrent),
}


def single(layer: Module, weight: str, shapes: Sequence[Shape]) -> Fill | str:
    """How one weight of a layer takes given tensors alone, for an entry of a map that names a weight."""
    kind, shape = type(layer).__name__, layer.own_weights[weight].shape
    roles = tuple(map(str, range(len(shapes))))
    wanted = [shape]
    make: Make = _as_it_is
    if kind in _CLASSES:
        fault = _functions(_CLASSES[kind], layer)
        if fault:
            return fault
        wanted = [(shape[-1],)] * 2 if weight == "bias" else [shape[::-1]]
        make = _maker(_OPS[_CLASSES[kind]](layer), weight)
    elif (kind, weight) in _TURNED:
        wanted, make = [shape[::-1]], _turned
    fits = list(shapes) == wanted
    return Fill(layer, weight, roles, make) if fits else _mismatch("the tensor is", wanted, list(shapes))


_TURNED = {("Dense", "kernel"), ("Conv1D", "kernel")}
