"""Lstm, Gru, SimpleRnn: one recurrent node of ONNX, whatever the mask; a Scan where their functions are others.

In float64 they are a Scan too: ONNX Runtime has no recurrent nodes for it (1.31: "does not support double yet").

**Masks.** A masked step changes no state, so the op computes what it would on the steps that count alone, moved
together to the front (`Compact`). That is a right-padded sequence, as ``sequence_lens`` wants it, and for masks that
are right-padded already nothing moves. Afterwards each step takes the output of the last one before it that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lstmcore import ops
from lstmcore.interop.onnx.graph import Graph
from lstmcore.interop.onnx.site import Site
from lstmcore.interop.onnx.writers import formulas
from lstmcore.interop.onnx.writers.functions import Gate, gate
from lstmcore.ops import Recurrent

KINDS: Mapping[type[Recurrent], str] = MappingProxyType({ops.Lstm: "LSTM", ops.Gru: "GRU", ops.SimpleRnn: "RNN"})
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def write(site: Site) -> tuple[str, ...]:
    """The outputs and the final states; those of the partner follow where both directions are one node."""
    gates = gates_of(site.op)
    if gates is None or site.graph.dtype == np.float64:
        return formulas.write(site)
    reverses = site.graph.reverses
    mask = site.inputs[site.port("mask")]
    turned = site.x in reverses and (mask is None or mask in reverses)
    if site.partner is not None:
        return _Node(site, gates, [site, site.partner], "bidirectional").outputs()
    return _Node(site, gates, [site], "reverse" if turned else "forward").outputs()


def gates_of(op: Recurrent) -> list[Gate] | None:
    """The functions in ONNX's order; None where one of them has no name there."""
    inner = getattr(op, "recurrent_activation", None)
    functions = {ops.Lstm: (inner, op.activation, op.activation), ops.Gru: (inner, op.activation)}
    found = [gate(function) for function in functions.get(type(op), (op.activation,)) if function is not None]
    return None if None in found else [entry for entry in found if entry is not None]


@dataclass(frozen=True)
class _Node:
    """One node for one direction or both; ``sites`` has one for each."""

    site: Site
    gates: list[Gate]
    sites: list[Site]
    direction: str

    @property
    def graph(self) -> Graph:
        return self.site.graph

    def outputs(self) -> tuple[str, ...]:
        op, graph = self.site.op, self.graph
        x, mask = self._original("x"), self._original("mask")
        assert x is not None
        compact = None if mask is None else Compact(graph, mask)
        if compact is not None:
            x = compact.front(x)
        lengths = None if compact is None else compact.lengths
        bias = self._weight("bias") if op.use_bias else None
        states = [self._initial(name) for name in op.states]
        found = graph.ops(
            KINDS[type(op)],
            1 + len(op.states),
            graph.transpose(x, (1, 0, 2)),
            self._weight("kernel"),
            self._weight("recurrent_kernel"),
            bias,
            lengths,
            *states,
            **self._attributes(),
        )
        made: list[str] = []
        for direction, site in enumerate(self.sites):
            y, *finals = (self._of(direction, name) for name in found)
            y = graph.transpose(y, (1, 0, 2))
            if compact is not None:
                finals = [self._kept(compact, site, *pair) for pair in zip(op.states, finals, strict=True)]
                y = compact.spread(y, self._turned(direction), *self._held(site, compact))
            made += [graph.reverse(y) if self._turned(direction) else y, *finals]
        return tuple(made)

    def _turned(self, direction: int) -> bool:
        """Whether the op of that direction has its steps in reverse, which the node has not."""
        return self.direction == "reverse" or direction == 1

    def _original(self, port: str) -> str | None:
        """The input in the order of the node."""
        name = self.site.inputs[self.site.port(port)]
        return self.graph.reverses[name] if name is not None and self.direction == "reverse" else name

    def _weight(self, port: str) -> str:
        paths = tuple(site.node.weights[port] for site in self.sites)
        return self.site.weights.laid_out(self.graph, self.site.op, port, paths)

    def _initial(self, state: str) -> str | None:
        position = self.site.port(state)
        if all(site.node.inputs[position] in site.zeros for site in self.sites):
            return None
        given = [self.graph.axes("Unsqueeze", site.at(position), [0]) for site in self.sites]
        return given[0] if len(given) == 1 else self.graph.op("Concat", *given, axis=0)

    def _of(self, direction: int, name: str) -> str:
        """What is of one direction in an output (..., directions, batch, units)."""
        axis = [1] if name.endswith(":0") else [0]
        if len(self.sites) == 1:
            return self.graph.axes("Squeeze", name, axis)
        return self.graph.op("Gather", name, self.graph.whole(direction), axis=axis[0])

    def _kept(self, compact: Compact, site: Site, state: str, final: str) -> str:
        """A sequence in which no step counts leaves the states as they were."""
        position = site.port(state)
        zero = site.node.inputs[position] in site.zeros
        before = self.graph.number(0.0) if zero else site.at(position)
        return self.graph.op("Where", compact.any_counts, final, before)

    def _held(self, site: Site, compact: Compact) -> tuple[bool, str]:
        previous = site.inputs[site.port("previous")]
        if previous is None or site.op.zero_output_for_mask:
            return site.op.zero_output_for_mask, self.graph.number(0.0)
        return False, self.graph.axes("Unsqueeze", previous, [1])

    def _attributes(self) -> dict[str, object]:
        op, kind = self.site.op, KINDS[type(self.site.op)]
        found: dict[str, object] = {"hidden_size": op.units}
        if self.direction != "forward":
            found["direction"] = self.direction
        if isinstance(op, ops.Gru):
            found["linear_before_reset"] = int(op.reset_after)
        names = [entry.name for entry in self.gates]
        if names != DEFAULTS[kind]:
            found["activations"] = names * len(self.sites)
            for word in ("alpha", "beta"):
                numbers = [n for entry in self.gates if (n := getattr(entry, word)) is not None]
                if numbers:
                    found[f"activation_{word}"] = numbers * len(self.sites)
        return found


class Compact:
    """A mask (batch, time) as ``sequence_lens`` and the way there and back.

    With n the number of steps up to t that count: step t moves to place n - 1 if it counts, and otherwise behind
    them all; on the way back it takes what is at place n - 1.
    """

    def __init__(self, graph: Graph, mask: str) -> None:
        self.graph, self.mask = graph, mask
        whole = graph.whole
        self.ones = graph.op("Cast", mask, to=7)
        self.counts = graph.op("CumSum", self.ones, whole(1))
        self.total = graph.op("ReduceSum", self.ones, whole([1]), keepdims=1)
        self.lengths = graph.op("Cast", graph.axes("Squeeze", self.total, [1]), to=6)
        self.any_counts = graph.op("Greater", self.total, whole([0]))

    def front(self, x: str) -> str:
        """The steps that count of x (batch, time, features), in order, before those that do not."""
        graph, whole = self.graph, self.graph.whole
        time = graph.op("Shape", self.mask, start=1, end=2)
        steps = graph.op("Range", whole(0), graph.axes("Squeeze", time, [0]), whole(1))
        rank = graph.op("Sub", graph.op("Mul", self.ones, time), steps)  # T - t where it counts, else -t
        _, order = graph.ops("TopK", 2, rank, time, axis=1)
        return graph.op("GatherND", x, graph.axes("Unsqueeze", order, [-1]), batch_dims=1)

    def spread(self, y: str, turned: bool, zeroed: bool, default: str) -> str:
        """y (batch, time, units) of the steps moved together, for every step, in the original order.

        A step that does not count repeats the one before it, of ``turned`` steps the one after it; where there is
        none, or all such steps are ``zeroed``, it is ``default``.
        """
        graph, whole = self.graph, self.graph.whole
        place = graph.op("Sub", self.counts, self.ones if turned else whole([1]))
        if turned:
            known = graph.op("Less", place, self.total)
            place = graph.op("Min", place, graph.op("Max", graph.op("Sub", self.total, whole([1])), whole([0])))
        else:
            known = graph.op("Greater", self.counts, whole([0]))
            place = graph.op("Max", place, whole([0]))
        known = self.mask if zeroed else known
        taken = graph.op("GatherND", y, graph.axes("Unsqueeze", place, [-1]), batch_dims=1)
        return graph.op("Where", graph.axes("Unsqueeze", known, [-1]), taken, default)
