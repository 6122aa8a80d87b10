"""BatchNormalization and LayerNormalization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.reader import Call, Reader
from lstmcore.interop.onnx.values import Flow, Given, Known
from lstmcore.program import Value

Read = Callable[[Reader, Call], tuple[Given, ...]]


def batch(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("epsilon", "momentum", "training_mode", "spatial")
    if call.number("training_mode", 0) or not call.number("spatial", 1):
        raise SpecError("training_mode=1 and spatial=0 are not read")
    x = r.flow(call.at(0))
    ports = ("gamma", "beta", "moving_mean", "moving_variance")
    paths = {port: _weight(r, call, k + 1, port) for k, port in enumerate(ports)}
    op = ops.BatchNormalize(float(call.number("epsilon", 1e-5)))
    value, place, rank = x.value, x.axis(1), len(x.value.shape)
    if place == 0:
        raise SpecError("its features are the batch")
    last = [k for k in range(rank) if k != place]
    if place != rank - 1:
        value = r.op(ops.Transpose((*last, place)), value)
    value = r.op(op, value, weights=paths)
    if place != rank - 1:
        order = [*last, place]
        value = r.op(ops.Transpose(tuple(order.index(k) for k in range(rank))), value)
    return (Flow(value, x.batch, x.lengths),)


def _weight(r: Reader, call: Call, position: int, port: str) -> str:
    given = call.at(position)
    if not isinstance(given, Known) or given.array.dtype.kind != "f":
        raise SpecError(f"its {port} is computed by the model")
    return r.weight(given.name, given.array, port)


def layer(r: Reader, call: Call) -> tuple[Given, ...]:
    call.only("axis", "epsilon", "stash_type")
    x = r.flow(call.at(0))
    axis = call.number("axis", -1) % x.rank
    axes = [x.axis(k) for k in range(axis, x.rank)]
    if 0 in axes or axes != sorted(axes):
        raise SpecError("it normalizes over the batch")
    ports = ["gamma", *(["beta"] if call.get(2) is not None else [])]
    shape = tuple(x.value.shape[k] or 0 for k in axes)
    paths = {}
    for k, port in enumerate(ports):
        given = call.at(k + 1)
        if not isinstance(given, Known) or given.array.shape != shape:
            raise SpecError(f"its {port} is not known numbers of shape {shape}")
        paths[port] = r.weight(given.name, given.array, port)
    op = ops.LayerNormalize(tuple(axes), float(call.number("epsilon", 1e-5)), center=len(ports) == 2)
    return (Flow(r.op(op, x.value, weights=paths), x.batch, x.lengths),)


def instance(r: Reader, call: Call) -> tuple[Given, ...]:
    """Over the axes after the features."""
    call.only("epsilon")
    x = r.flow(call.at(0))
    axes = tuple(sorted(x.axis(k) for k in range(2, x.rank)))
    op = ops.LayerNormalize(axes, float(call.number("epsilon", 1e-5)), center=False, scale=False)
    y: Value = r.op(op, x.value)
    for k, function in ((1, "multiply"), (2, "add")):
        given = call.at(k)
        if not isinstance(given, Known):
            raise SpecError("its scale is computed by the model")
        wide = np.ascontiguousarray(given.array).reshape(-1, *[1] * (x.rank - 2))
        y = r.op(ops.Binary(function), y, r.parameter(given, wide))
    return (Flow(y, x.batch, x.lengths),)


TABLE: Mapping[str, Read] = MappingProxyType(
    {"BatchNormalization": batch, "LayerNormalization": layer, "InstanceNormalization": instance}
)
