"""What a wrong result looks like: the known mistakes, tried on the reference once a case has failed.

A mistake is a row: words, the op it can befall, and what it does to the weights, the op, the inputs or the
outputs. The one whose numbers are those of the backend is named in the message. Nothing here decides
whether a case passes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.activations import Function
from lstmcore.contract import Backend
from lstmcore.ops import Op, Recurrent
from lstmcore.program import Node
from lstmcore.runtime.compare import LIMIT, scale_error
from lstmcore_conformance import oracles
from lstmcore_conformance.cases import Case
from lstmcore_conformance.subjects import Subject, subject

Array = NDArray[Any]
Weights = dict[str, Array]


@dataclass(frozen=True)
class Mistake:
    """``change(subject, node)`` is what the program computes instead; ``after(y)`` what became of the output."""

    words: str
    befalls: tuple[type[Op], ...]
    change: Callable[[Subject, Node], Subject] = lambda it, node: it
    after: Callable[[Array], Array] | None = None


def diagnose(case: Case, backend: Backend) -> str:
    """``"; matches if ..."``, or "" where no known mistake explains it."""
    if case.check != "values" or case.subject[0] in ("model", "graph"):
        return ""
    try:
        it = subject(case)
        given = it.run(backend, case.dtype)
        right = list(oracles.reference(it).outputs)
        if _close(given.outputs, right, case.dtype):
            return "; it agrees with the reference, so the two contradict the oracle together"
        found = [words for words, wrong in _alternatives(it) if _close(given.outputs, wrong, case.dtype)]
    except Exception:  # a guess that cannot be computed explains nothing
        return ""
    return f"; matches if {' or if '.join(found[:3])}" if found else ""


def _alternatives(it: Subject) -> Iterator[tuple[str, list[Array]]]:
    for node in it.program.nodes:
        for mistake in MISTAKES:
            if not isinstance(node.op, mistake.befalls):
                continue
            try:
                outputs = list(oracles.reference(mistake.change(it, node)).outputs)
            except Exception:  # the mistake makes no sense with these options
                continue
            if mistake.after is not None:
                outputs[0] = mistake.after(outputs[0])
            yield mistake.words, outputs


def _close(given: tuple[Array, ...], wrong: list[Array], dtype: str) -> bool:
    return all(scale_error(a, b, dtype) <= LIMIT for a, b in zip(given, wrong, strict=True))


# Changes to a subject.


def _node(change: Callable[[Node], Node]) -> Callable[[Subject, Node], Subject]:
    def apply(it: Subject, node: Node) -> Subject:
        nodes = tuple(change(n) if n is node else n for n in it.program.nodes)
        return replace(it, program=replace(it.program, nodes=nodes))

    return apply


def _option(**options: Any) -> Callable[[Subject, Node], Subject]:
    return _node(lambda node: replace(node, op=replace(node.op, **options)))  # type: ignore[type-var]


def _weights(change: Callable[[Op, Weights], Weights]) -> Callable[[Subject, Node], Subject]:
    """``change(op, weights by port) -> weights by port``."""

    def apply(it: Subject, node: Node) -> Subject:
        own = change(node.op, {port: it.weights[path] for port, path in node.weights.items()})
        return replace(it, weights={**it.weights, **{node.weights[port]: array for port, array in own.items()}})

    return apply


def _columns(order: tuple[int, ...]) -> Callable[[Op, Weights], Weights]:
    """Gate k of the formula is taken from block ``order[k]``."""

    def change(op: Op, weights: Weights) -> Weights:
        return {
            port: np.concatenate([np.split(array, len(order), -1)[k] for k in order], -1)
            for port, array in weights.items()
        }

    return change


def _transposed(op: Op, weights: Weights) -> Weights:
    blocks = np.split(weights["recurrent_kernel"], len(getattr(op, "gates", "h")), 1)
    return {"recurrent_kernel": np.concatenate([block.T for block in blocks], 1)}


def _bias(change: Callable[[Array], Array]) -> Callable[[Subject, Node], Subject]:
    return _weights(lambda op, weights: {"bias": change(weights["bias"])})


def _forget_one(op: Op, weights: Weights) -> Weights:
    bias = weights["bias"].copy()
    units = bias.size // 4
    bias[units : 2 * units] += 1
    return {"bias": bias}


def _rows(*scales: float) -> Callable[[Array], Array]:
    def change(bias: Array) -> Array:
        if bias.ndim != 2:
            raise ValueError("one bias")
        return bias * np.array(scales)[:, None]

    return change


def _swapped(bias: Array) -> Array:
    if bias.ndim != 2:
        raise ValueError("one bias")
    return bias[::-1]


def _negated_update(op: Op, weights: Weights) -> Weights:
    """σ(-a) = 1 - σ(a)."""
    changed = {port: array.copy() for port, array in weights.items()}
    for array in changed.values():
        array[..., : array.shape[-1] // 3] *= -1
    return changed


def _without(port: str) -> Callable[[Subject, Node], Subject]:
    """An optional input is absent."""

    def change(node: Node) -> Node:
        names = (*node.op.inputs, *node.op.optional)
        if node.inputs[names.index(port)] is None:
            raise ValueError(f"no {port}")
        return replace(node, inputs=tuple(None if n == port else v for n, v in zip(names, node.inputs, strict=True)))

    return _node(change)


def _states(change: Callable[[int, Array], Array]) -> Callable[[Subject, Node], Subject]:
    """``change(k, state)`` of the states it starts from, given or carried."""

    def apply(it: Subject, node: Node) -> Subject:
        inputs, carries = dict(it.inputs), dict(it.carries)
        before = {carry.before: carry.name for carry in it.program.carries}
        for k, value in enumerate(node.inputs[1 : 1 + len(node.op.states)]):  # type: ignore[attr-defined]
            if value in inputs:
                inputs[value] = change(k, inputs[value])
            elif before.get(str(value)) in carries:
                carries[before[str(value)]] = change(k, carries[before[str(value)]])
        return replace(it, inputs=inputs, carries=carries)

    return apply


def _inputs(change: Callable[..., tuple[str | None, ...]]) -> Callable[[Subject, Node], Subject]:
    """``change(names)`` of the inputs, in their order."""
    return _node(lambda node: replace(node, inputs=change(*node.inputs)))


def _traded(first: str, second: str) -> Callable[[Subject, Node], Subject]:
    """Two weights of one shape."""
    return _weights(lambda op, weights: {first: weights[second], second: weights[first]})


def _unreversed(it: Subject, node: Node) -> Subject:
    """Reverse does nothing."""
    return _node(lambda n: replace(n, op=ops.Transpose(tuple(range(len(it.program.values[n.outputs[0]].shape))))))(
        it, node
    )


def _unreset(it: Subject, node: Node) -> Subject:
    """The other kind of GRU, its biases as one or as two."""
    after = not node.op.reset_after  # type: ignore[attr-defined]
    changed = _option(reset_after=after)(it, node)
    if "bias" not in node.weights:
        return changed
    path = node.weights["bias"]
    bias = it.weights[path]
    return replace(changed, weights={**it.weights, path: np.stack([bias, 0 * bias]) if after else bias.sum(0)})


LSTM, GRU, RNN = (ops.Lstm,), (ops.Gru,), (ops.Lstm, ops.Gru, ops.SimpleRnn)
GATED = (ops.Lstm, ops.Gru)
OVER_TIME = (*RNN, ops.Scan)
WITH_BIAS = (*RNN, ops.Affine, ops.Conv)
NORMALIZE = (ops.BatchNormalize, ops.LayerNormalize)


def _orders(op: type[Recurrent]) -> Iterator[Mistake]:
    gates, kind = op.gates, (op,)
    right = tuple(range(len(gates)))
    for order in itertools.permutations(right):
        if order != right:
            # Block order[k] holds gate k, so the layout it would be right for is the inverse permutation.
            layout = " ".join(gates[order.index(k)] for k in right)
            yield Mistake(f"the gates are ordered {layout}", kind, _weights(_columns(order)))


FUNCTIONS = (
    Function("linear"),
    Function("tanh"),
    Function("sigmoid"),
    Function("relu"),
    Function("hard_sigmoid"),
    Function("hard_sigmoid_0_2"),
    Function("leaky_relu", (("negative_slope", 0.3),)),
    Function("leaky_relu", (("negative_slope", 0.01),)),
    Function("gelu"),
    Function("gelu", (("approximate", True),)),
    Function("elu"),
    Function("softmax", (("axis", 1),)),
)

MISTAKES: tuple[Mistake, ...] = (
    *_orders(ops.Lstm),
    *_orders(ops.Gru),
    Mistake("the bias is dropped", WITH_BIAS, _bias(lambda bias: 0 * bias)),
    Mistake("the recurrent bias is dropped", GRU, _bias(_rows(1, 0))),
    Mistake("the input bias is dropped", GRU, _bias(_rows(0, 1))),
    Mistake("the two biases are swapped", GRU, _bias(_swapped)),
    Mistake("the bias is added twice", WITH_BIAS, _bias(lambda bias: 2 * bias)),
    Mistake("1 is added to the forget bias", LSTM, _weights(_forget_one)),
    Mistake("the recurrent kernel is transposed, gate by gate", RNN, _weights(_transposed)),
    Mistake("the update gate is inverted: (1 - z) h + z g", GRU, _weights(_negated_update)),
    Mistake("reset_after is the other way round", GRU, _unreset),
    Mistake("the mask is ignored", OVER_TIME, _without("mask")),
    Mistake("the output before the first step is ignored", OVER_TIME, _without("previous")),
    Mistake("zero_output_for_mask is ignored", OVER_TIME, _option(zero_output_for_mask=False)),
    Mistake("masked outputs are zero", OVER_TIME, _option(zero_output_for_mask=True)),
    Mistake("the initial states are ignored", OVER_TIME, _states(lambda k, state: 0 * state)),
    Mistake("the initial h is ignored", LSTM, _states(lambda k, state: state * (k != 0))),
    Mistake("the initial c is ignored", LSTM, _states(lambda k, state: state * (k != 1))),
    Mistake("the states h and c are swapped on entry", LSTM, _inputs(lambda x, h, c, *rest: (x, c, h, *rest))),
    Mistake("go_backwards is ignored", (ops.Reverse,), _unreversed),
    Mistake("the output is reversed in time", OVER_TIME, after=lambda y: y[:, ::-1]),
    Mistake("y holds the state before each step", RNN, after=lambda y: np.concatenate([0 * y[:, :1], y[:, :-1]], 1)),
    *(Mistake(f"the activation is {f}", RNN, _option(activation=f)) for f in FUNCTIONS),
    *(Mistake(f"the recurrent activation is {f}", GATED, _option(recurrent_activation=f)) for f in FUNCTIONS),
    *(Mistake(f"the activation is {f}", (ops.Activate,), _option(function=f)) for f in FUNCTIONS),
    Mistake("the operands are swapped", (ops.Binary,), _inputs(lambda x, other: (other, x))),
    Mistake("the branches are swapped", (ops.Select,), _inputs(lambda condition, x, other: (condition, other, x))),
    Mistake("the inputs stand in reverse", (ops.Concat,), _inputs(lambda *names: names[::-1])),
    Mistake("the kernel is flipped", (ops.Conv,), _weights(lambda op, weights: {"kernel": weights["kernel"][::-1]})),
    Mistake("the dilation is ignored", (ops.Conv,), _option(dilation=1)),
    *(Mistake(f"padding is {word}", (ops.Conv, ops.Pool), _option(padding=word)) for word in ("same", "causal")),
    *(
        Mistake(f"function is {word}", (ops.Pool, ops.Reduce), _option(function=word))
        for word in ("max", "mean", "sum")
    ),
    Mistake("gamma and beta are swapped", NORMALIZE, _traded("gamma", "beta")),
    Mistake("epsilon is ignored", NORMALIZE, _option(epsilon=0.0)),
    Mistake("epsilon is 0.001", NORMALIZE, _option(epsilon=0.001)),
)
