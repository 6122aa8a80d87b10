"""A spec to begin with, from what a state_dict shows of its modules: shapes, not what is called when."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lstmcore.interop.pytorch.units import Found, Unit

_CLASSES = {
    "LSTM": "LSTM",
    "GRU": "GRU",
    "RNN": "SimpleRNN",
    "LSTMCell": "LSTM",
    "GRUCell": "GRU",
    "RNNCell": "SimpleRNN",
}


def sketched(found: Found) -> str:
    """A Sequential with a layer for each unit, in the order of the state_dict."""
    units = found.units
    lines = []
    for k, unit in enumerate(units):
        following = units[k + 1] if k + 1 < len(units) else None
        lines += _line(unit, k == 0, following)
    shape = _input(units[0], units[1] if len(units) > 1 else None) if units else "..."
    return "\n".join(["lc.Sequential([", f"    Input({shape}),", *(f"    {line}" for line in lines), "])"])


def _line(unit: Unit, first: bool, following: Unit | None) -> list[str]:
    if unit.kind in _CLASSES:
        return [_recurrent(unit, following)]
    shapes = unit.shapes
    if unit.kind == "Linear or Embedding" and first and _feeds(unit, following):
        return [f"Embedding({shapes['weight'][0]}, {shapes['weight'][1]}),"]
    return [_LINES[unit.kind](shapes)] if unit.kind in _LINES else [f"...,  # {unit.label}: nn.{unit.kind}"]


def _recurrent(unit: Unit, following: Unit | None) -> str:
    units = unit.shapes["weight_hr"][-1] if "weight_hr" in unit.shapes else unit.shapes["weight_hh"][1]
    last = following is None or "weight_ih" not in following.shapes
    options = ", return_sequences=True" if not last else ""
    options += "" if "bias_ih" in unit.shapes else ", use_bias=False"
    layer = f"{_CLASSES[unit.kind]}({units}{options})"
    if "weight_hr" in unit.shapes:
        bias = "" if "bias_ih" in unit.shapes else ", use_bias=False"
        inner = options.replace(", use_bias=False", "")
        layer = f"RNN(ProjectedLSTMCell({units}, {unit.shapes['weight_hh'][1]}{bias}){inner})"
    note = "  # or return_sequences=True" if last else ""
    return f"Bidirectional({layer}),{note}" if unit.both_ways else f"{layer},{note}"


def _feeds(unit: Unit, following: Unit | None) -> bool:
    """Whether what follows takes as many features as a row of this table has."""
    return following is not None and following.shapes.get("weight_ih", (0, 0))[1] == unit.shapes["weight"][1]


Shapes = Mapping[str, tuple[int, ...]]


def _bias(shapes: Shapes) -> str:
    return "" if "bias" in shapes else ", use_bias=False"


_LINES: Mapping[str, Callable[[Shapes], str]] = {
    "Linear": lambda s: f"Dense({s['weight'][0]}),",
    "Linear or Embedding": lambda s: f"Dense({s['weight'][0]}, use_bias=False),",
    "Conv1d": lambda s: f'Conv1D({s["weight"][0]}, {s["weight"][2]}{_bias(s)}, data_format="channels_first"),',
    "BatchNorm1d": lambda s: (
        "BatchNormalization(axis=1, momentum=0.9, epsilon=1e-5"
        f"{'' if 'weight' in s else ', center=False, scale=False'}),"
    ),
    "LayerNorm": lambda s: (
        f"LayerNormalization(axis={-1 if len(s['weight']) == 1 else list(range(-len(s['weight']), 0))}, epsilon=1e-5),"
    ),
    "MultiheadAttention": lambda s: f"...,  # MultiHeadAttention(heads, {s['out_proj.weight'][0]} // heads)",
    "PReLU or LayerNorm": lambda s: "PReLU(shared_axes=[1]),",
}


def _input(unit: Unit, following: Unit | None) -> str:
    shapes = unit.shapes
    if "weight_ih" in shapes:
        return f"(None, {shapes['weight_ih'][1]})"
    weight = shapes.get("weight", ())
    if unit.kind == "Linear or Embedding" and _feeds(unit, following):
        return '(None,), dtype="int32"'
    if len(weight) == 3:
        return f"({weight[1]}, None)"
    return f"({weight[1]},)" if len(weight) == 2 else "..."
