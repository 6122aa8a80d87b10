"""Which layer computes an op: a row for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from lstmcore import activations, layers, ops
from lstmcore.errors import SpecError
from lstmcore.layers.operation import Operation
from lstmcore.ops import Op
from lstmcore.program import Node

if TYPE_CHECKING:
    from lstmcore.interop.layered.graph import _Lifting

_WHOLE = [None, None, None]


@dataclass
class Site:
    """A node on its way to a layer: what the layers before it made, and its own weights."""

    lifting: _Lifting
    node: Node
    weights: Mapping[str, Any]

    @property
    def op(self) -> Any:
        return self.node.op

    @property
    def shift(self) -> int:
        """1 where the steps are among the samples of the op, and between layers are an axis of their own."""
        return int(self.node.inputs[0] in self.lifting.folded)

    def shape(self, k: int = 0) -> tuple[int | None, ...]:
        """The shape of an input."""
        return self.lifting.program.values[str(self.node.inputs[k])].shape

    def tensor(self, k: int = 0) -> Any:
        """An input as a layer made it; SpecError for one that is the same for all data."""
        name = self.node.inputs[k]
        if name not in self.lifting.tensors:
            raise SpecError(f"its input {name!r} is no tensor between layers")
        return self.lifting.tensors[name]

    def maker(self, k: int) -> Op | None:
        """The op that made an input; None for an input of the model."""
        made = self.lifting.makers.get(str(self.node.inputs[k]))
        return None if made is None else made.op

    def number(self, k: int) -> float | None:
        """The number that an input is, where it is one."""
        op = self.maker(k)
        return float(op.values[0]) if isinstance(op, ops.Constant) and len(op.values) == 1 else None

    def state(self, port: str) -> Any:
        """A state that enters, or a mask; None where it is not given, or zeros."""
        ports = (*self.op.inputs, *self.op.optional)
        k = ports.index(port)
        name = self.node.inputs[k] if k < len(self.node.inputs) else None
        if name is None or name in self.lifting.befores or isinstance(self.maker(k), ops.Zeros):
            return None
        return self.tensor(k)

    def call(self, layer: Any, *inputs: Any, **keywords: Any) -> Any:
        """What the layer makes of the inputs, by default of the node's first; it gets the node's weights."""
        given = list(inputs) or [self.tensor()]
        made = layer(given[0] if len(given) == 1 else given, **keywords)
        if self.weights:
            self.lifting.weights.append((layer, self.weights))
        return made

    def make(self, kind: Callable[..., Any], *options: Any, **named: Any) -> Any:
        """A layer, called as the node is; the same one for nodes with the same weights."""
        key = (kind, self.op, self.shift, *self.node.weights.items())
        if not self.weights or key not in self.lifting.layers:
            self.lifting.layers[key] = kind(*options, **named, name=self.lifting.called(self.node.name))
        return self.lifting.layers[key]

    def operation(self, function: str, *inputs: Any, **arguments: Any) -> list[Any]:
        """The outputs of an operation between layers."""
        return [self.call(self.make(Operation, function, arguments or None), *inputs)]


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


def _recurrent(kind: Callable[..., Any], cell: Callable[..., Any]) -> Row:
    def lift(site: Site) -> list[Any]:
        op = site.op
        options = {f.name: getattr(op, f.name) for f in fields(op)}
        zeros = options.pop("zero_output_for_mask")
        states = [site.state(port) for port in op.states]
        mask = site.state("mask")
        if site.state("previous") is not None:
            raise SpecError("layers give zeros before the first step that is not masked")
        keywords = {"mask": mask} if mask is not None else {}
        if any(state is not None for state in states):
            if any(state is None for state in states):
                raise SpecError("one of its states is given, another is zeros")
            keywords["initial_state"] = states
        shown = {"return_sequences": True, "return_state": True}
        if zeros and mask is not None:
            layer = site.make(layers.RNN, cell(**options), **shown, zero_output_for_mask=True)
        else:
            layer = site.make(kind, **options, **shown)
        return list(site.call(layer, **keywords))

    return lift


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
    ops.Lstm: _recurrent(layers.LSTM, layers.LSTMCell),
    ops.Gru: _recurrent(layers.GRU, layers.GRUCell),
    ops.SimpleRnn: _recurrent(layers.SimpleRNN, layers.SimpleRNNCell),
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
