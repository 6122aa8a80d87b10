"""The known mistakes of converters: in words, the ops that they befall, and what is computed instead.

A mistake changes nodes of a layer and their weights. Those that change the layer as a whole are in `TOGETHER`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.activations import Function
from lstmcore.ops import Op, Recurrent
from lstmcore.program import Node

Array = NDArray[Any]
Weights = dict[str, Array]


class Senseless(Exception):  # noqa: N818  no error: it says that there is nothing to try
    """A mistake that cannot be made here, such as halving a bias where there is none."""


@dataclass(frozen=True)
class Edit:
    """A layer as it is computed wrongly: nodes, and the weights (by path) and values that are not what they were."""

    nodes: tuple[Node, ...]
    weights: Mapping[str, Array]
    values: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Mistake:
    """``change(node, its weights by port, what the values are)`` gives nodes, weights by port and values.

    Mistakes of one ``aspect`` exclude each other; those of several can be made together.
    """

    words: str
    befalls: tuple[type[Op], ...]
    aspect: str
    change: Callable[[Node, Weights, Mapping[str, Array]], tuple[tuple[Node, ...], Weights, Mapping[str, Array]]]

    def apply(self, edit: Edit, name: str, weights: Mapping[str, Array], values: Mapping[str, Array]) -> Edit:
        """The layer with this mistake made at the node of that name, whatever was wrong there before."""
        node = next(node for node in edit.nodes if node.name == name)
        own = {port: edit.weights.get(path, weights[path]) for port, path in node.weights.items()}
        nodes, changed, extra = self.change(node, own, {**values, **edit.values})
        whole = tuple(new for old in edit.nodes for new in (nodes if old is node else (old,)))
        mine = {node.weights[port]: array for port, array in changed.items()}
        return Edit(whole, {**edit.weights, **mine}, {**edit.values, **extra})


# Ways to change a node.


def _option(**options: Any) -> Callable[..., Any]:
    def change(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
        if all(getattr(node.op, key, None) == value for key, value in options.items()):
            raise Senseless
        return (replace(node, op=replace(node.op, **options)),), {}, {}

    return change


def _with(change_weights: Callable[[Op, Weights], Weights]) -> Callable[..., Any]:
    """``change_weights(op, weights by port)`` gives those that change."""

    def change(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
        changed = change_weights(node.op, weights)
        if all(np.array_equal(weights[port], array, equal_nan=True) for port, array in changed.items()):
            raise Senseless
        return (node,), changed, {}

    return change


def _bias(change: Callable[[Op, Array], Array]) -> Callable[..., Any]:
    def changed(op: Op, weights: Weights) -> Weights:
        if "bias" not in weights:
            raise Senseless
        return {"bias": change(op, weights["bias"])}

    return _with(changed)


def _rows(*scales: float) -> Callable[[Op, Array], Array]:
    def change(op: Op, bias: Array) -> Array:
        scaled: Array = _two(bias) * np.array(scales)[:, None]
        return scaled

    return change


def _two(bias: Array) -> Array:
    if bias.ndim != 2:
        raise Senseless
    return bias


def _forget_one(op: Op, bias: Array) -> Array:
    changed: Array = bias.copy()
    units = bias.size // 4
    changed[units : 2 * units] += 1
    return changed


def _gates(order: Sequence[int]) -> Callable[..., Any]:
    """Gate k is taken from block ``order[k]``."""

    def changed(op: Op, weights: Weights) -> Weights:
        return {
            port: np.concatenate([np.split(array, len(order), -1)[k] for k in order], -1)
            for port, array in weights.items()
        }

    return _with(changed)


def _transposed(port: str) -> Callable[..., Any]:
    """Each gate's block is transposed; it must be square."""

    def changed(op: Op, weights: Weights) -> Weights:
        blocks = np.split(weights[port], len(op.gates) if isinstance(op, Recurrent) else 1, -1)
        if blocks[0].ndim != 2 or blocks[0].shape[0] != blocks[0].shape[1]:
            raise Senseless
        return {port: np.concatenate([block.T for block in blocks], 1)}

    return _with(changed)


def _reshaped(port: str) -> Callable[..., Any]:
    """The bytes of the transposed array are taken for those of the array."""

    def changed(op: Op, weights: Weights) -> Weights:
        array = weights[port]
        return {port: array.T.reshape(array.shape)}

    return _with(changed)


def _traded(first: str, second: str) -> Callable[..., Any]:
    def changed(op: Op, weights: Weights) -> Weights:
        if first not in weights or second not in weights:
            raise Senseless
        return {first: weights[second], second: weights[first]}

    return _with(changed)


def _set(port: str, change: Callable[[Array], Array]) -> Callable[..., Any]:
    def changed(op: Op, weights: Weights) -> Weights:
        if port not in weights:
            raise Senseless
        return {port: change(weights[port])}

    return _with(changed)


def _negated_update(op: Op, weights: Weights) -> Weights:
    """σ(-a) = 1 - σ(a)."""
    changed = {port: array.copy() for port, array in weights.items()}
    for array in changed.values():
        array[..., : array.shape[-1] // 3] *= -1
    return changed


def _reset(after: bool) -> Callable[..., Any]:
    """The other kind of GRU, its biases as one or as two."""

    def change(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
        if node.op.reset_after == after:  # type: ignore[attr-defined]
            raise Senseless
        changed = {}
        if "bias" in weights:
            bias = weights["bias"]
            changed["bias"] = np.stack([bias, np.zeros_like(bias)]) if after else bias.sum(0)
        return (replace(node, op=replace(node.op, reset_after=after)),), changed, {}  # type: ignore[call-arg]

    return change


def _without(port: str) -> Callable[..., Any]:
    """An optional input is absent."""

    def change(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
        ports = (*node.op.inputs, *node.op.optional)
        if node.inputs[ports.index(port)] is None:
            raise Senseless
        inputs = tuple(None if p == port else v for p, v in zip(ports, node.inputs, strict=True))
        return (replace(node, inputs=inputs),), {}, {}

    return change


def _states(*which: str) -> Callable[..., Any]:
    """These states start at zero."""

    def change(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
        zeros = {}
        inputs = list(node.inputs)
        for k, port in enumerate(node.op.inputs):
            name = inputs[k]
            if port in (which or node.op.inputs[1:]) and name is not None and values[name].any():
                inputs[k] = f"{name}~zero"
                zeros[f"{name}~zero"] = np.zeros_like(values[name])
        if not zeros:
            raise Senseless
        return (replace(node, inputs=tuple(inputs)),), {}, zeros

    return change


def _inputs(change_inputs: Callable[..., Sequence[str | None]]) -> Callable[..., Any]:
    """``change_inputs(*names)`` of the inputs, in their order."""

    def change(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
        inputs = tuple(change_inputs(*node.inputs))
        if inputs == node.inputs:
            raise Senseless
        return (replace(node, inputs=inputs),), {}, {}

    return change


def _then(op: Op) -> Callable[..., Any]:
    """Another op follows, and its output stands for the first one's."""

    def change(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
        first, inner = node.outputs[0], f"{node.outputs[0]}~"
        before = replace(node, outputs=(inner, *node.outputs[1:]))
        return (before, Node(f"{node.name}~", op, (inner,), (first,))), {}, {}

    return change


def _dropped(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
    """The op does nothing: its output is its first input."""
    rank = values[str(node.inputs[0])].ndim
    return (replace(node, op=ops.Transpose(tuple(range(rank)))),), {}, {}


def _first(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
    """The first step is taken for the last."""
    inner = f"{node.outputs[0]}~"
    return (Node(f"{node.name}~", ops.Reverse(), node.inputs, (inner,)), replace(node, inputs=(inner,))), {}, {}


def _halved(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
    """Two are averaged where they are added."""
    if node.op != ops.Binary("add"):
        raise Senseless
    first, inner, half = node.outputs[0], f"{node.outputs[0]}~", f"{node.name}~half"
    added = replace(node, outputs=(inner,))
    halves = np.full((1,), 0.5)
    return (added, Node(f"{node.name}~", ops.Binary("multiply"), (inner, half), (first,))), {}, {half: halves}


def _summed(node: Node, weights: Weights, values: Mapping[str, Array]) -> Any:
    """Nothing is multiplied by a number, or divided by one."""
    by_number = node.op in (ops.Binary("multiply"), ops.Binary("divide")) and values[str(node.inputs[1])].size == 1
    if not by_number:
        raise Senseless
    return _dropped(replace(node, inputs=node.inputs[:1]), weights, values)


# The table.

RNN = (ops.Lstm, ops.Gru, ops.SimpleRnn)
GATED = (ops.Lstm, ops.Gru)
OVER_TIME = (*RNN, ops.Scan)
KERNEL = (*RNN, ops.Affine)
WITH_BIAS = (*RNN, ops.Affine, ops.Conv)
NORMALIZE = (ops.BatchNormalize, ops.LayerNormalize)

_FUNCTIONS: tuple[tuple[str, Function], ...] = (
    ("hard_sigmoid of Keras 2, 0.2 x + 0.5", Function("hard_sigmoid_0_2")),
    ("hard_sigmoid of Keras 3, x/6 + 0.5", Function("hard_sigmoid")),
    ("sigmoid", Function("sigmoid")),
    ("tanh", Function("tanh")),
    ("relu", Function("relu")),
    ("linear", Function("linear")),
    ("gelu", Function("gelu")),
    ("gelu with tanh", Function("gelu", (("approximate", True),))),
    ("elu", Function("elu")),
    ("leaky_relu with slope 0.3, as in Keras 2", Function("leaky_relu", (("negative_slope", 0.3),))),
    ("leaky_relu with slope 0.2", Function("leaky_relu", (("negative_slope", 0.2),))),
    ("leaky_relu with slope 0.01, as in PyTorch", Function("leaky_relu", (("negative_slope", 0.01),))),
    ("silu", Function("silu")),
    ("softmax over axis 1", Function("softmax", (("axis", 1),))),
)


def _orders(kind: type[Recurrent]) -> Iterator[Mistake]:
    gates = kind.gates
    right = tuple(range(len(gates)))
    swaps = [
        order for order in itertools.permutations(right) if sum(a != b for a, b in zip(order, right, strict=True)) == 2
    ]
    others = [order for order in itertools.permutations(right) if order != right and order not in swaps]
    for order in (*swaps, *others):
        moved = [gates[k] for k in right if order[k] != k]
        layout = " ".join(gates[order.index(k)] for k in right)
        words = (
            f"gates {moved[0]} and {moved[1]} are swapped"
            if order in swaps
            else f"the gates are read in the order {layout}"
        )
        yield Mistake(words, (kind,), "order", _gates(order))


def _activations() -> Iterator[Mistake]:
    for words, function in _FUNCTIONS:
        yield Mistake(f"recurrent_activation is {words}", GATED, "gates", _option(recurrent_activation=function))
    for words, function in _FUNCTIONS:
        yield Mistake(f"activation is {words}", RNN, "function", _option(activation=function))
    for words, function in _FUNCTIONS:
        yield Mistake(f"activation is {words}", (ops.Activate,), "function", _option(function=function))


MISTAKES: tuple[Mistake, ...] = (
    *_orders(ops.Lstm),
    *_orders(ops.Gru),
    Mistake("reset_after=True", (ops.Gru,), "reset", _reset(True)),
    Mistake("reset_after=False", (ops.Gru,), "reset", _reset(False)),
    *_activations(),
    Mistake("the bias is missing", WITH_BIAS, "bias", _bias(lambda op, b: 0 * b)),
    Mistake("the bias is halved", WITH_BIAS, "bias", _bias(lambda op, b: b / 2)),
    Mistake("the bias is added twice", WITH_BIAS, "bias", _bias(lambda op, b: 2 * b)),
    Mistake("the second bias is dropped", (ops.Gru,), "bias", _bias(_rows(1, 0))),
    Mistake("the first bias is dropped", (ops.Gru,), "bias", _bias(_rows(0, 1))),
    Mistake("the two biases are swapped", (ops.Gru,), "bias", _bias(lambda op, b: _two(b)[::-1])),
    Mistake("1 is added to the forget bias", (ops.Lstm,), "bias", _bias(_forget_one)),
    Mistake("the recurrent kernel is transposed, gate by gate", RNN, "recurrent", _transposed("recurrent_kernel")),
    Mistake("the recurrent kernel is reshaped, not transposed", RNN, "recurrent", _reshaped("recurrent_kernel")),
    Mistake("the kernel is transposed", KERNEL, "kernel", _transposed("kernel")),
    Mistake("the kernel is reshaped, not transposed", KERNEL, "kernel", _reshaped("kernel")),
    Mistake("the kernel and the recurrent kernel are swapped", RNN, "kernel", _traded("kernel", "recurrent_kernel")),
    Mistake("the update gate is inverted, (1 - z) h + z g", (ops.Gru,), "update", _with(_negated_update)),
    Mistake("the mask is ignored", OVER_TIME, "mask", _without("mask")),
    Mistake("masked outputs are zero", OVER_TIME, "masked", _option(zero_output_for_mask=True)),
    Mistake("masked outputs repeat the one before", OVER_TIME, "masked", _option(zero_output_for_mask=False)),
    Mistake("the initial states are not passed", OVER_TIME, "states", _states()),
    Mistake("the initial h is not passed", (ops.Lstm,), "states", _states("h")),
    Mistake("the initial c is not passed", (ops.Lstm,), "states", _states("c")),
    Mistake("the initial h and c are swapped", (ops.Lstm,), "states", _inputs(lambda x, h, c, *rest: (x, c, h, *rest))),
    Mistake("the steps are not reversed", (ops.Reverse,), "time", _dropped),
    Mistake("the outputs stand in reversed time", OVER_TIME, "time", _then(ops.Reverse())),
    Mistake("the first step is taken, not the last", (ops.Last,), "time", _first),
    Mistake("the kernel is flipped", (ops.Conv,), "kernel", _set("kernel", lambda kernel: kernel[::-1])),
    Mistake("the dilation is ignored", (ops.Conv,), "dilation", _option(dilation=1)),
    *(Mistake(f"padding={word!r}", (ops.Conv,), "padding", _option(padding=word)) for word in ("same", "causal")),
    Mistake("the ids are one too large", (ops.Embed,), "ids", _set("embeddings", lambda e: np.roll(e, -1, 0))),
    Mistake("the ids are one too small", (ops.Embed,), "ids", _set("embeddings", lambda e: np.roll(e, 1, 0))),
    *(
        Mistake(f"epsilon is {number:g}", NORMALIZE, "epsilon", _option(epsilon=number))
        for number in (1e-3, 1e-5, 1e-6, 1e-7, 0.0)
    ),
    Mistake("gamma and beta are swapped", NORMALIZE, "scale", _traded("gamma", "beta")),
    Mistake("gamma is ignored", NORMALIZE, "scale", _set("gamma", np.ones_like)),
    Mistake("beta is ignored", NORMALIZE, "shift", _set("beta", np.zeros_like)),
    Mistake(
        "mean and variance are swapped",
        (ops.BatchNormalize,),
        "moments",
        _traded("moving_mean", "moving_variance"),
    ),
    Mistake("the variance is squared", (ops.BatchNormalize,), "moments", _set("moving_variance", np.square)),
    Mistake("the variance is a square root", (ops.BatchNormalize,), "moments", _set("moving_variance", np.sqrt)),
    *(
        Mistake(f"they are merged by {word}", (ops.Binary,), "merge", _option(function=function))
        for word, function in (("add", "add"), ("subtract", "subtract"), ("mul", "multiply"), ("max", "maximum"))
    ),
    Mistake("they are merged by average", (ops.Binary,), "merge", _halved),
    Mistake("they are added, not averaged", (ops.Binary,), "merge", _summed),
    *(
        Mistake(f"the pooling takes the {word}", (ops.Pool, ops.Reduce), "pool", _option(function=word))
        for word in ("max", "mean", "sum")
    ),
    Mistake("the operands are swapped", (ops.Binary,), "operands", _inputs(lambda x, other: (other, x))),
    Mistake("the parts are put together in reverse", (ops.Concat,), "operands", _inputs(lambda *names: names[::-1])),
)


# What befalls a layer as a whole.


def _directions(edit: Edit, weights: Mapping[str, Array]) -> Edit:
    """The weights of forward and backward are swapped."""
    pair = [node for node in edit.nodes if isinstance(node.op, OVER_TIME)]
    if len(pair) != 2 or pair[0].op != pair[1].op:
        raise Senseless
    first, second = pair
    changed = {first.weights[port]: weights[second.weights[port]] for port in first.weights}
    changed |= {second.weights[port]: weights[first.weights[port]] for port in first.weights}
    return Edit(edit.nodes, {**edit.weights, **changed}, edit.values)


def _one_way(keep: int) -> Callable[[Edit, Mapping[str, Array]], Edit]:
    """Both directions have the weights of one."""

    def apply(edit: Edit, weights: Mapping[str, Array]) -> Edit:
        pair = [node for node in edit.nodes if isinstance(node.op, OVER_TIME)]
        if len(pair) != 2 or pair[0].op != pair[1].op:
            raise Senseless
        kept, other = pair[keep], pair[1 - keep]
        changed = {other.weights[port]: weights[kept.weights[port]] for port in kept.weights}
        return Edit(edit.nodes, {**edit.weights, **changed}, edit.values)

    return apply


TOGETHER: tuple[tuple[str, Callable[[Edit, Mapping[str, Array]], Edit]], ...] = (
    ("forward and backward are swapped", _directions),
    ("backward has the weights of forward", _one_way(0)),
    ("forward has the weights of backward", _one_way(1)),
)
