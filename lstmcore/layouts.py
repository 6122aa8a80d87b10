"""How other formats store the weights of the recurrent ops: a row for each format and op, one function each way.

A row says, in the language of `lstmcore.axes`, where the axes of each weight are, and in which order its gates
stand. Every row is exact in both directions, but for biases: a format with two biases where the op has one gets
zeros for the second, and two that come in are added where both are other than zero. `docs/layouts.md` shows the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import axes, ops
from lstmcore.errors import SpecError
from lstmcore.ops import Recurrent

Array = NDArray[Any]
Shape = tuple[int, ...]
_Texts = Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """One op in one format: the order of its gates, and the axes of each weight, by our names.

    ``a -> b = c`` in the place of axes: the array is laid out as ``a``; moved to ``b``, its memory reads ``c``.

    ``names`` is what the format calls each weight. One with ``{gate}`` or ``{part}`` in its name is several arrays,
    stacked here along a first axis. ``parts`` are the biases that the format has: the one beside the
    input first, then the one beside the state. ``peepholes`` is the order of those, where the format has them.
    ``resets`` are the kinds of GRU that the format has, by their ``reset_after``.
    """

    gates: str
    weights: Mapping[str, str]
    names: Mapping[str, str]
    parts: tuple[str, ...] = ("",)
    peepholes: str = ""
    resets: tuple[bool, ...] = (True, False)


_ONNX: tuple[_Texts, _Texts, tuple[str, str]] = (
    {
        "kernel": "direction (gate unit) input",
        "recurrent_kernel": "direction (gate unit) state",
        "bias": "direction (part gate unit)",
    },
    {"kernel": "W", "recurrent_kernel": "R", "bias": "B"},
    ("Wb", "Rb"),
)

_PYTORCH: tuple[_Texts, _Texts, tuple[str, str]] = (
    {"kernel": "(gate unit) input", "recurrent_kernel": "(gate unit) state", "bias": "part (gate unit)"},
    {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias_{part}"},
    ("ih", "hh"),
)

_KERAS_1: tuple[_Texts, _Texts] = (
    {"kernel": "gate input unit", "recurrent_kernel": "gate state unit", "bias": "gate unit"},
    {"kernel": "W_{gate}", "recurrent_kernel": "U_{gate}", "bias": "b_{gate}"},
)

# The same with consume_less="gpu", and what has one gate.
_KERAS_1_FUSED: tuple[_Texts, _Texts] = (
    {"kernel": "input (gate unit)", "recurrent_kernel": "state (gate unit)", "bias": "(gate unit)"},
    {"kernel": "W", "recurrent_kernel": "U", "bias": "b"},
)

# The blocks of the kernel lie in memory as cuDNN has them, under the shape that Keras gives them.
_CUDNN: tuple[_Texts, _Texts, tuple[str, str]] = (
    {
        "kernel": "row (gate column) -> gate (row column) = gate (unit input)",
        "recurrent_kernel": "unit (gate state)",
        "bias": "(part gate unit)",
    },
    {"kernel": "kernel", "recurrent_kernel": "recurrent_kernel", "bias": "bias"},
    ("input", "state"),
)

LAYOUTS: Mapping[str, Mapping[type[Recurrent], Row]] = MappingProxyType(
    {
        "keras 1": MappingProxyType(
            {
                ops.Lstm: Row("icfo", *_KERAS_1),
                ops.Gru: Row("zrh", *_KERAS_1, resets=(False,)),
                ops.SimpleRnn: Row("h", *_KERAS_1_FUSED),
            }
        ),
        "keras 1 gpu": MappingProxyType(
            {
                ops.Lstm: Row("ifco", *_KERAS_1_FUSED),
                ops.Gru: Row("zrh", *_KERAS_1_FUSED, resets=(False,)),
            }
        ),
        "cudnn": MappingProxyType(
            {
                ops.Lstm: Row("ifco", *_CUDNN),
                ops.Gru: Row("zrh", *_CUDNN, resets=(True,)),
            }
        ),
        "onnx": MappingProxyType(
            {
                ops.Lstm: Row("iofc", *_ONNX, peepholes="iof"),
                ops.Gru: Row("zrh", *_ONNX),
                ops.SimpleRnn: Row("h", *_ONNX),
            }
        ),
        "pytorch": MappingProxyType(
            {
                ops.Lstm: Row("ifco", *_PYTORCH),
                ops.Gru: Row("rzh", *_PYTORCH),
                ops.SimpleRnn: Row("h", *_PYTORCH),
            }
        ),
    }
)

# Our own axes with the part of the bias and the gate of a SimpleRnn spelled out, each of length 1 where it is alone.
_OURS = MappingProxyType(
    {"kernel": "input (gate unit)", "recurrent_kernel": "state (gate unit)", "bias": "(part gate unit)"}
)


def holds(form: str, op: Recurrent) -> bool:
    """Whether the format stores that op: it has a row, and of a GRU that kind."""
    row = LAYOUTS[form].get(type(op))
    return row is not None and (not isinstance(op, ops.Gru) or op.reset_after in row.resets)


def names(form: str, kind: type[Recurrent], port: str) -> tuple[str, ...]:
    """What the format calls the arrays of a weight, in their order."""
    row = LAYOUTS[form][kind]
    name = row.names[port]
    found = [name.format(gate=gate, part=part) for part in row.parts for gate in row.gates]
    return tuple(dict.fromkeys(found))


def to_foreign(form: str, op: Recurrent, port: str, array: Array) -> Array:
    """A weight of the op as the format stores it; where it is several arrays there, they are stacked.

    SpecError where the format does not store that op.
    """
    row = _row(form, op)
    flat = array
    if port == "bias":
        flat = np.zeros((len(row.parts), len(op.gates) * op.units), array.dtype)
        own = array.reshape(_own_parts(op), -1)
        flat[: len(own)] = own
        flat = flat.reshape(-1)
    sizes = _sizes(op, row, port, array.size)
    *moves, last = _steps(row, port)
    laid_out: Array = axes.relayout(flat, _OURS[port], last[0], sizes, (op.gates, row.gates))
    for stored, moved in reversed(moves):
        laid_out = axes.relayout(laid_out, moved, stored, sizes)
    return laid_out


def foreign_shape(form: str, op: Recurrent, port: str, shape: Shape) -> Shape:
    """The shape that a weight of the op, of this shape, has in the format."""
    row = _row(form, op)
    return axes.shape(_steps(row, port)[0][0], _sizes(op, row, port, int(np.prod(shape, dtype=object))))


def from_foreign(form: str, op: Recurrent, port: str, array: Array) -> Array:
    """A weight as the format stores it, for the op. SpecError where its shape is another."""
    row = _row(form, op)
    sizes = _sizes(op, row, port, array.size)
    *moves, last = _steps(row, port)
    for stored, moved in moves:
        array = axes.relayout(array, stored, moved, sizes)
    flat = axes.relayout(array, last[0], _OURS[port], sizes, (row.gates, op.gates))
    if port != "bias":
        return axes.contiguous(flat)
    parts = flat.reshape(len(row.parts), -1)
    return np.ascontiguousarray(parts if _own_parts(op) > 1 else _sum(parts))


def _row(form: str, op: Recurrent) -> Row:
    if not holds(form, op):
        raise SpecError(f"{op}: weights in the layout {form!r} are of no such op; see docs/layouts.md")
    return LAYOUTS[form][type(op)]


def _steps(row: Row, port: str) -> list[tuple[str, str]]:
    """``"a -> b = c"``: [(a, b), (c, "")]."""
    found = [step.partition(" -> ") for step in row.weights[port].split(" = ")]
    return [(stored, moved) for stored, _, moved in found]


def _sizes(op: Recurrent, row: Row, port: str, size: int) -> dict[str, int]:
    """The length of each axis, where the array has that many numbers."""
    entering = size // (len(op.gates) * op.units)
    return {
        "input": entering,
        "row": entering,
        "state": entering,
        "unit": op.units,
        "column": op.units,
        "gate": len(op.gates),
        "part": len(row.parts) if port == "bias" else 1,
        "direction": 1,
    }


def _own_parts(op: Recurrent) -> int:
    return 2 if isinstance(op, ops.Gru) and op.reset_after else 1


def _sum(parts: Array) -> Array:
    """The bias that acts as all parts do; one alone stays as it is, to the sign of its zeros."""
    found = [part for part in parts if part.any() or np.signbit(part).any()]
    if len(found) > 1:
        return np.asarray(np.sum(found, axis=0, dtype=parts.dtype))
    return np.asarray(found[0] if found else parts[0])
