"""Which layer computes an op: a row for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from lstmcore import activations, layers, ops
from lstmcore.errors import SpecError
from lstmcore.interop.layered.both_ways import both_ways
from lstmcore.interop.layered.site import Site
from lstmcore.ops import Op

_WHOLE = [None, None, None]

Row = Callable[[Site], list[Any]]


def _activate(site: Site) -> list[Any]:
    function, rank = site.op.function, len(site.shape())
    axis = function.parameters.get("axis")
    if axis is not None:
        axis %= rank
        place = -1 if axis == rank - 1 else axis + site.shift
        function = activations.function(function.name, **{**function.parameters, "axis": place})
    return [site.call(site.make(layers.Activation, function))]


def _normalize(site: Site) -> list[Any]:
    op = site.op
    axes = [axis + site.shift for axis in op.axes]
    return [site.call(site.make(layers.LayerNormalization, axes, op.epsilon, center=op.center, scale=op.scale))]


_KINDS: Mapping[type[Op], tuple[Callable[..., Any], Callable[..., Any]]] = {
    ops.Lstm: (layers.LSTM, layers.LSTMCell),
    ops.Gru: (layers.GRU, layers.GRUCell),
    ops.SimpleRnn: (layers.SimpleRNN, layers.SimpleRNNCell),
}


def _options(op: Op) -> dict[str, Any]:
    return {f.name: getattr(op, f.name) for f in fields(op) if f.name != "zero_output_for_mask"}


def _recurrent(site: Site) -> list[Any]:
    kind, cell = _KINDS[type(site.op)]
    states, mask = [site.state(port) for port in site.op.states], site.state("mask")
    if site.state("previous") is not None:
        raise SpecError("layers give zeros before the first step that is not masked")
    if len({state is None for state in states}) > 1:
        raise SpecError("one of its states is given, another is zeros")
    keywords = {"initial_state": states} if states[0] is not None else {}
    keywords |= {"mask": mask} if mask is not None else {}
    shown = {"return_sequences": True, "return_state": True}
    if site.op.zero_output_for_mask and mask is not None:
        layer = site.make(layers.RNN, cell(**_options(site.op)), **shown, zero_output_for_mask=True)
    else:
        layer = site.make(kind, **_options(site.op), **shown)
    return list(site.call(layer, **keywords))


def _sequences(op: Op) -> Any:
    return _KINDS[type(op)][0](**_options(op), return_sequences=True)


def _binary(site: Site) -> list[Any]:
    first, other = site.number(0), site.number(1)
    name = site.op.function
    if other is not None:
        return site.operation(name, site.tensor(0), other=other)
    if first is not None:
        return site.operation(name, site.tensor(1), first=first)
    return site.operation(name, site.tensor(0), site.tensor(1))


def _reduce(site: Site) -> list[Any]:
    return site.operation(site.op.function, site.tensor(), axis=list(site.op.axes), keepdims=site.op.keepdims)


def _slice(site: Site) -> list[Any]:
    op = site.op
    return site.operation("getitem", site.tensor(), key=[*[_WHOLE] * op.axis, [op.start, op.stop, None]])


def _pool(site: Site) -> list[Any]:
    op = site.op
    kinds = {"max": layers.MaxPooling1D, "mean": layers.AveragePooling1D}
    return [site.call(site.make(kinds[op.function], op.size, op.strides, op.padding))]


def _concat(site: Site) -> list[Any]:
    tensors = [site.tensor(k) for k in range(site.op.count)]
    bidirectional = both_ways(site, _sequences)
    if bidirectional is not None:
        return bidirectional
    return [site.call(site.make(layers.Concatenate, site.op.axis), *tensors)] if len(tensors) > 1 else tensors


def _pad(site: Site) -> list[Any]:
    if site.op.axis != 1 or len(site.shape()) != 3:
        raise SpecError(f"zeros on axis {site.op.axis}; a layer adds them to the steps")
    return [site.call(site.make(layers.ZeroPadding1D, (site.op.before, site.op.after)))]


def _dense(site: Site) -> list[Any]:
    return [site.call(site.make(layers.Dense, site.op.units, use_bias=site.op.use_bias))]


def _conv(site: Site) -> list[Any]:
    op = site.op
    options = {"strides": op.strides, "padding": op.padding, "dilation_rate": op.dilation, "groups": op.groups}
    return [site.call(site.make(layers.Conv1D, op.filters, op.size, use_bias=op.use_bias, **options))]


def _batch_normalize(site: Site) -> list[Any]:
    options = {f.name: getattr(site.op, f.name) for f in fields(site.op)}
    return [site.call(site.make(layers.BatchNormalization, **options))]


ROWS: Mapping[type[Op], Row] = {
    ops.Affine: _dense,
    ops.Embed: lambda site: [site.call(site.make(layers.Embedding, site.op.size, site.op.units))],
    ops.Conv: _conv,
    ops.BatchNormalize: _batch_normalize,
    ops.LayerNormalize: _normalize,
    ops.Activate: _activate,
    ops.Lstm: _recurrent,
    ops.Gru: _recurrent,
    ops.SimpleRnn: _recurrent,
    ops.Pool: _pool,
    ops.Pad: _pad,
    ops.Reshape: lambda site: [site.call(site.make(layers.Reshape, site.op.shape))],
    ops.Transpose: lambda site: [site.call(site.make(layers.Permute, site.op.axes[1:]))],
    ops.Concat: _concat,
    ops.Reverse: lambda site: site.operation("flip", axis=1),
    ops.Last: lambda site: site.operation("getitem", key=[_WHOLE, -1]),
    ops.Slice: _slice,
    ops.Repeat: lambda site: site.operation("repeat", repeats=site.op.times, axis=site.op.axis),
    ops.Reduce: _reduce,
    ops.Unary: lambda site: site.operation(site.op.function),
    ops.Binary: _binary,
    ops.Select: lambda site: site.operation("where", *map(site.tensor, range(3))),
    ops.Fold: lambda site: [site.tensor()],
    ops.Unfold: lambda site: [site.tensor()],
}
"""Op -> the layers that compute it. A `Fold` is none: the layers between it and an `Unfold` keep the steps."""

FOLDED: tuple[type[Op], ...] = (ops.Affine, ops.Activate, ops.LayerNormalize, ops.BatchNormalize, ops.Unary)
"""Ops that treat each step as each sample."""
