"""The modules of a state_dict, told from the names and shapes of its tensors.

A state_dict says nothing of classes. What an `nn.LSTM` calls its tensors nothing else does, though, and the rest are
told by shape as far as shapes tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lstmcore.interop.pytorch.described import Tensor

_RECURRENT = re.compile(r"(?P<role>(?:weight|bias)_(?:ih|hh|hr))_l(?P<layer>0|[1-9]\d{0,3})(?P<side>_reverse)?")
_CELL = frozenset({"weight_ih", "weight_hh", "bias_ih", "bias_hh"})
_PLAIN = frozenset({"weight", "bias", "running_mean", "running_var", "num_batches_tracked"})
_ATTENTION = frozenset(
    {"in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight", "bias_k", "bias_v"}
)
_OUT = "out_proj"
GATED = {4: "LSTM", 3: "GRU", 1: "RNN"}
REVERSE = "_reverse"


@dataclass(frozen=True)
class Unit:
    """One module, or one layer of an ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN``: its tensors by role.

    ``label`` is what it is called in a map: the module's name, with ``.l1`` for a layer. Roles are the names without
    the number of the layer, such as ``weight_ih`` and ``weight_ih_reverse``.
    """

    module: str
    label: str
    kind: str
    tensors: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    beside: tuple[str, ...] = field(default=())

    @property
    def both_ways(self) -> bool:
        """Whether it has a backward half."""
        return any(role.endswith(REVERSE) for role in self.tensors)

    def half(self, reverse: bool) -> Unit:
        """Its forward or its backward half, as a unit of its own."""
        roles = {role: role.removesuffix(REVERSE) for role in self.tensors if role.endswith(REVERSE) == reverse}
        return Unit(
            self.module,
            f"{self.label}{REVERSE if reverse else ''}",
            self.kind,
            {new: self.tensors[role] for role, new in roles.items()},
            {new: self.shapes[role] for role, new in roles.items()},
        )

    def names(self) -> set[str]:
        """The names of all its tensors."""
        return {*self.tensors.values(), *self.beside}


@dataclass(frozen=True)
class Found:
    """The units of a state_dict, in its order, and the tensors that belong to none."""

    units: tuple[Unit, ...]
    loose: tuple[str, ...]


def find_units(tensors: Mapping[str, Tensor]) -> Found:
    """The units in a state_dict."""
    groups: dict[tuple[str, str, str], dict[str, str]] = {}
    loose = []
    attentive = {name.rpartition(".")[0] for name in tensors if name.rpartition(".")[2] in _ATTENTION}
    for name in tensors:
        place = _place(name, attentive)
        if place is None:
            loose.append(name)
        else:
            module, label, kind, role = place
            groups.setdefault((module, label, kind), {})[role] = name
    units = []
    for (module, label, kind), roles in groups.items():
        unit = _unit(module, label, kind, roles, tensors)
        if unit is None:
            loose += roles.values()
        else:
            units.append(unit)
    return Found(tuple(units), tuple(loose))


def _place(name: str, attentive: Iterable[str]) -> tuple[str, str, str, str] | None:
    """Module, label, kind and role of a tensor by its name."""
    module, _, leaf = name.rpartition(".")
    recurrent = _RECURRENT.fullmatch(leaf)
    if recurrent:
        label = f"l{recurrent['layer']}"
        role = f"{recurrent['role']}{recurrent['side'] or ''}"
        return module, f"{module}.{label}" if module else label, "recurrent", role
    if leaf in _CELL:
        return module, module, "cell", leaf
    outer, _, inner = module.rpartition(".")
    if module in attentive and leaf in _ATTENTION:
        return module, module, "attention", leaf
    if inner == _OUT and outer in attentive and leaf in ("weight", "bias"):
        return outer, outer, "attention", f"{_OUT}.{leaf}"
    return (module, module, "plain", leaf) if leaf in _PLAIN else None


def _unit(module: str, label: str, kind: str, roles: dict[str, str], tensors: Mapping[str, Tensor]) -> Unit | None:
    counter = tuple(name for role, name in roles.items() if role == "num_batches_tracked")
    roles = {role: name for role, name in roles.items() if role != "num_batches_tracked"}
    shapes = {role: tensors[name].shape for role, name in roles.items()}
    if kind == "plain":
        named = _plain(shapes)
    elif kind == "attention":
        named = "MultiheadAttention" if f"{_OUT}.weight" in shapes else None
    else:
        named = _gated(shapes)
        named = f"{named}Cell" if named and kind == "cell" else named
    return None if named is None else Unit(module, label, named, roles, shapes, counter)


def _plain(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The kind of a module with ``weight`` and ``bias``, by their shapes."""
    weight = shapes.get("weight")
    if "running_mean" in shapes:
        return "BatchNorm1d"
    if weight is None or "running_var" in shapes:
        return None
    if shapes.get("bias") == weight:
        return "LayerNorm"
    if len(weight) == 2:
        return "Linear" if "bias" in shapes else "Linear or Embedding"
    if len(weight) == 3:
        return "Conv1d"
    return "PReLU or LayerNorm" if len(weight) == 1 and "bias" not in shapes else None


def _gated(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """LSTM, GRU or RNN, by how many times the units the rows of the weights are; None where they are no such."""
    inner, outer, projected = (shapes.get(role) for role in ("weight_hh", "weight_ih", "weight_hr"))
    if inner is None or outer is None or len(inner) != 2 or len(outer) != 2 or inner[0] != outer[0]:
        return None
    units = inner[1] if projected is None else projected[-1]
    return GATED.get(inner[0] // units) if units and inner[0] % units == 0 else None


def describe(unit: Unit) -> str:
    """Such as ``nn.LSTM(3 -> 50, bidirectional)``."""
    shapes = unit.shapes
    said = []
    if "weight_ih" in shapes:
        sizes = f"{shapes['weight_ih'][1]} -> {shapes['weight_hh'][1]}"
        said += ["bidirectional"] if unit.both_ways else []
        said += [f"proj_size={shapes['weight_hh'][1]}"] if "weight_hr" in shapes else []
        said += [] if "bias_ih" in shapes else ["bias=False"]
    elif unit.kind == "MultiheadAttention":
        sizes = f"{shapes[f'{_OUT}.weight'][0]}"
    elif unit.kind == "BatchNorm1d":
        sizes = str(shapes["running_mean"][0])
    else:
        weight = shapes["weight"]
        sizes = {
            2: lambda: f"{weight[1]} -> {weight[0]}",
            3: lambda: f"{weight[1]} -> {weight[0]}, {weight[2]} wide",
        }.get(len(weight), lambda: " x ".join(map(str, weight)))()
        said += ["bias=False"] if len(weight) == 3 and "bias" not in shapes else []
    return f"nn.{unit.kind.replace(' or ', ' or nn.')}({', '.join([sizes, *said])})"


def describe_all(found: Found) -> list[str]:
    """A line for each module, the layers of one together."""
    lines: dict[str, list[Unit]] = {}
    for unit in found.units:
        lines.setdefault(unit.module, []).append(unit)
    told = []
    for module, units in lines.items():
        for unit in units[:1]:
            layers = f", {len(units)} layers)" if len(units) > 1 else ")"
            told.append(f"{module or '(top)'}: {describe(unit)[:-1]}{layers}")
    return told + [f"{name}: a tensor of no module that is known" for name in found.loose]
