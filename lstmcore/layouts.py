"""How other formats store the weights of the recurrent ops: a row for each format and op, one function each way.

A row says, in the language of `lstmcore.axes`, where the axes of each weight are, and in which order its gates
stand. Every row is exact in both directions, but for biases: a format with two biases where the op has one gets
zeros for the second, and two that come in are added where both are other than zero.
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


@dataclass(frozen=True)
class Row:
    """One op in one format: the order of its gates, and the axes of each weight, by our names.

    ``parts`` is how many biases the format has: the one beside the input first, then the one beside the state.
    """

    gates: str
    weights: Mapping[str, str]
    parts: int = 1


_ONNX = MappingProxyType(
    {
        "kernel": "direction (gate unit) input",
        "recurrent_kernel": "direction (gate unit) state",
        "bias": "direction (part gate unit)",
    }
)

_PYTORCH = MappingProxyType(
    {"kernel": "(gate unit) input", "recurrent_kernel": "(gate unit) state", "bias": "part (gate unit)"}
)

LAYOUTS: Mapping[str, Mapping[type[Recurrent], Row]] = MappingProxyType(
    {
        "onnx": MappingProxyType(
            {
                ops.Lstm: Row("iofc", _ONNX, parts=2),
                ops.Gru: Row("zrh", _ONNX, parts=2),
                ops.SimpleRnn: Row("h", _ONNX, parts=2),
            }
        ),
        "pytorch": MappingProxyType(
            {
                ops.Lstm: Row("ifco", _PYTORCH, parts=2),
                ops.Gru: Row("rzh", _PYTORCH, parts=2),
                ops.SimpleRnn: Row("h", _PYTORCH, parts=2),
            }
        ),
    }
)

# Our own axes with the part of the bias and the gate of a SimpleRnn spelled out, each of length 1 where it is alone.
_OURS = MappingProxyType(
    {"kernel": "input (gate unit)", "recurrent_kernel": "state (gate unit)", "bias": "(part gate unit)"}
)


def _sizes(op: Recurrent, features: int, parts: int) -> dict[str, int]:
    return {
        "input": features,
        "state": op.units,
        "unit": op.units,
        "gate": len(op.gates),
        "part": parts,
        "direction": 1,
    }


def _own_parts(op: Recurrent) -> int:
    return 2 if isinstance(op, ops.Gru) and op.reset_after else 1


def to_foreign(form: str, op: Recurrent, port: str, array: Array) -> Array:
    """A weight of the op as the format stores it."""
    row = LAYOUTS[form][type(op)]
    features = array.shape[0] if port == "kernel" else 1
    sizes = _sizes(op, features, row.parts if port == "bias" else 1)
    flat = array
    if port == "bias":
        flat = np.zeros((row.parts, len(op.gates) * op.units), array.dtype)
        own = array.reshape(_own_parts(op), -1)
        flat[: len(own)] = own
        flat = flat.reshape(-1)
    laid_out: Array = axes.relayout(flat, _OURS[port], row.weights[port], sizes, (op.gates, row.gates))
    return laid_out


def foreign_shape(form: str, op: Recurrent, port: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a weight of the op, of this shape, has in the format."""
    row = LAYOUTS[form][type(op)]
    sizes = _sizes(op, shape[0] if port == "kernel" else 1, row.parts if port == "bias" else 1)
    return axes.shape(row.weights[port], sizes)


def from_foreign(form: str, op: Recurrent, port: str, array: Array) -> Array:
    """A weight as the format stores it, for the op. SpecError where its shape is another."""
    row = LAYOUTS[form][type(op)]
    features = array.shape[-1] if port == "kernel" else 1
    sizes = _sizes(op, features, row.parts if port == "bias" else 1)
    flat = axes.relayout(array, row.weights[port], _OURS[port], sizes, (row.gates, op.gates))
    if port != "bias":
        return axes.contiguous(flat)
    parts = flat.reshape(row.parts, -1)
    own = _own_parts(op)
    if own > row.parts:
        raise SpecError(f"{op}: it has {own} biases; the format holds {row.parts}")
    return np.ascontiguousarray(parts if own == row.parts and own > 1 else _sum(parts))


def _sum(parts: Array) -> Array:
    """The bias that acts as all parts do; one alone stays as it is, to the sign of its zeros."""
    found = [part for part in parts if part.any() or np.signbit(part).any()]
    if len(found) > 1:
        return np.asarray(np.sum(found, axis=0, dtype=parts.dtype))
    return np.asarray(found[0] if found else parts[0])
