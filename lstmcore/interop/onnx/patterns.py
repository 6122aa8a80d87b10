"""What the writers of this package write as several nodes, and readers have one op for: found again in a graph.

That is masks of any form around a recurrent node (`writers.recurrent.Compact`), and padding that depends on an open
length (`writers.linear.padded_to_fit`). What to look for is what these write, so it cannot differ from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop.onnx.graph import Graph, read_inside
from lstmcore.interop.onnx.loading import Loaded
from lstmcore.interop.onnx.reader import Reader
from lstmcore.interop.onnx.values import Fit, Flow, Given, Steps
from lstmcore.interop.onnx.writers.linear import padded_to_fit
from lstmcore.interop.onnx.writers.recurrent import Compact

Bound = dict[str, str]  # what the names in a pattern are in the file
Give = Callable[[Reader, Bound], Given]
RECURRENT = ("LSTM", "GRU", "RNN")
BETWEEN = ("Transpose", "Squeeze", "Gather")
"""What lies between a recurrent node and where its outputs are moved back."""


@dataclass(frozen=True)
class Pattern:
    """Nodes that end in ``end``; what they read from outside are ``leaves``."""

    graph: Graph
    end: str
    leaves: tuple[str, ...]


@dataclass
class Found:
    """What values are instead of what their nodes say, and the nodes that are read."""

    gives: dict[str, tuple[Give, Bound]] = field(default_factory=dict)
    nodes: list[Any] = field(default_factory=list)


def find(loaded: Loaded) -> Found:
    """The patterns of a graph."""
    search = _Search(loaded)
    found = Found()
    search.masks(found)
    search.paddings(found)
    found.nodes = list(loaded.graph.node) if not found.gives else search.needed(found)
    return found


class _Search:
    def __init__(self, loaded: Loaded) -> None:
        self.graph, self.arrays = loaded.graph, loaded.arrays
        self.makers = {name: node for node in self.graph.node for name in node.output if name}
        self.users: dict[str, list[Any]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.outputs = {entry.name for entry in self.graph.output}

    # Matching.

    def match(self, name: str, pattern: Pattern) -> Bound | None:
        """What the leaves are if a value of the file is what a pattern ends in."""
        makers = {output: node for node in pattern.graph.nodes for output in node.output}
        bound: Bound = {}
        waiting = [(name, pattern.end)]
        while waiting:
            own, wanted = waiting.pop()
            if wanted in pattern.leaves or (wanted in bound):
                if bound.setdefault(wanted, own) != own:
                    return None
            elif wanted in pattern.graph.arrays:
                array = self.arrays.get(own)
                given = pattern.graph.arrays[wanted]
                if array is None or array.dtype != given.dtype or not np.array_equal(array, given):
                    return None
            else:
                bound[wanted] = own
                pairs = self._inputs(own, makers[wanted], wanted)
                if pairs is None:
                    return None
                waiting += pairs
        return bound

    def _inputs(self, own: str, wanted: Any, output: str) -> list[tuple[str, str]] | None:
        node = self.makers.get(own)
        if node is None or node.op_type != wanted.op_type or len(node.input) != len(wanted.input):
            return None
        if list(node.output).index(own) != list(wanted.output).index(output) or _told(node) != _told(wanted):
            return None
        return list(zip(node.input, wanted.input, strict=True))

    # Masks.

    def masks(self, found: Found) -> None:
        """Around each recurrent node whose steps are moved to the front: all of it, or nothing."""
        for node in self.graph.node:
            if node.op_type in RECURRENT and len(node.input) > 4 and node.input[4]:
                gives = self._around(node)
                if gives is not None:
                    found.gives |= gives

    def _around(self, node: Any) -> dict[str, tuple[Give, Bound]] | None:
        lengths = self.match(node.input[4], _lengths())
        turned = self.makers.get(node.input[0])
        if lengths is None or turned is None or turned.op_type != "Transpose":
            return None
        front = self.match(turned.input[0], _front())
        if front is None or front["mask"] != lengths["mask"] or self._others(turned.input[0], node, turned):
            return None
        gives: dict[str, tuple[Give, Bound]] = {
            node.input[4]: (_give_lengths, lengths),
            turned.input[0]: (_give_front, front),
        }
        for end in self._ends(node.output[0], lengths["mask"]):
            if end is None:
                return None
            gives[end[0]] = end[1]
        return {**gives, **self._asked.get(lengths["mask"], {})}

    @cached_property
    def _asked(self) -> dict[str, dict[str, tuple[Give, Bound]]]:
        """By mask, the values that ask whether any step counts."""
        found: dict[str, dict[str, tuple[Give, Bound]]] = {}
        for name, node in self.makers.items():
            bound = self.match(name, _any()) if node.op_type == "Greater" else None
            if bound is not None:
                found.setdefault(bound["mask"], {})[name] = (_give_any, bound)
        return found

    def _others(self, front: str, node: Any, turned: Any) -> bool:
        """Whether what was moved to the front is used by other nodes."""
        return self.users[front] != [turned] or any(user is not node for user in self.users[turned.output[0]])

    def _ends(self, y: str, mask: str) -> Iterator[tuple[str, tuple[Give, Bound]] | None]:
        """Where the outputs at each step are moved back; None where they are used otherwise."""
        waiting = [y] if y else []
        while waiting:
            name = waiting.pop()
            if name in self.outputs:
                yield None
            for user in self.users.get(name, ()):
                if user.op_type in BETWEEN and user.input[0] == name:
                    waiting.append(user.output[0])
                else:
                    yield self._spread(name, mask)

    def _spread(self, y: str, mask: str) -> tuple[str, tuple[Give, Bound]] | None:
        gathered = {user.output[0] for user in self.users[y] if user.op_type == "GatherND"}
        if len(gathered) != len(self.users[y]):
            return None
        chosen = [user.output[0] for name in gathered for user in self.users.get(name, ())]
        for turned in (False, True):
            for zeroed in (False, True):
                for name in chosen:
                    bound = self.match(name, _spread(turned, zeroed))
                    if len(chosen) == 1 and bound is not None and (bound["y"], bound["mask"]) == (y, mask):
                        return name, (_give_zeroed if zeroed else _give_held[turned], bound)
        return None

    # Padding.

    def paddings(self, found: Found) -> None:
        """Before a convolution with strides."""
        for node in self.graph.node:
            told = {entry.name: list(entry.ints) for entry in node.attribute}
            one = all(len(told.get(key, ())) == 1 for key in ("strides", "dilations", "kernel_shape"))
            if node.op_type != "Conv" or not one or told["strides"] == [1]:
                continue
            reach = told["dilations"][0] * (told["kernel_shape"][0] - 1) + 1
            bound = self.match(node.input[0], _padded(reach, told["strides"][0]))
            if bound is not None and len(self.users[node.input[0]]) == 1 and node.input[0] not in self.outputs:
                found.gives[node.input[0]] = (_give_fit, bound)

    # What is left to read.

    def needed(self, found: Found) -> list[Any]:
        """The nodes that outputs depend on."""
        waiting, seen = sorted(self.outputs), set(self.outputs)
        kept: set[int] = set()
        while waiting:
            name = waiting.pop()
            node = self.makers.get(name)
            if node is None:
                continue
            kept.add(id(node))
            give = found.gives.get(name)
            reads = [n for leaf, n in give[1].items() if leaf in LEAVES] if give else [*node.input, *read_inside(node)]
            fresh = set(reads) - seen
            seen |= fresh
            waiting += sorted(fresh)
        return [node for node in self.graph.node if id(node) in kept]


def _told(node: Any) -> list[bytes]:
    return sorted(entry.SerializeToString(deterministic=True) for entry in node.attribute)


# The patterns, written by the writers.

LEAVES = ("x", "mask", "y", "default")


def _scratch() -> Graph:
    graph = Graph("float32")
    graph.taken |= set(LEAVES)
    return graph


@cache
def _lengths() -> Pattern:
    graph = _scratch()
    return Pattern(graph, Compact(graph, "mask").lengths, ("mask",))


@cache
def _any() -> Pattern:
    graph = _scratch()
    return Pattern(graph, Compact(graph, "mask").any_counts, ("mask",))


@cache
def _front() -> Pattern:
    graph = _scratch()
    return Pattern(graph, Compact(graph, "mask").front("x"), ("mask", "x"))


@cache
def _spread(turned: bool, zeroed: bool) -> Pattern:
    graph = _scratch()
    end = Compact(graph, "mask").spread("y", turned, zeroed, "default")
    return Pattern(graph, end, ("mask", "y", "default"))


@lru_cache(64)
def _padded(reach: int, strides: int) -> Pattern:
    graph = _scratch()
    return Pattern(graph, padded_to_fit(graph, "x", reach, strides), ("x",))


# What the values are.


def _known(r: Reader, bound: Mapping[str, str], leaf: str) -> Given:
    if bound[leaf] not in r.known:
        raise SpecError(f"it reads {bound[leaf]!r}, which nothing before it makes")
    return r.known[bound[leaf]]


def _flow(r: Reader, bound: Mapping[str, str], leaf: str) -> Flow:
    return r.flow(_known(r, bound, leaf))


def _give_lengths(r: Reader, bound: Bound) -> Given:
    mask = _flow(r, bound, "mask")
    return Steps(mask.value, mask.batch, mask.lengths)


def _give_front(r: Reader, bound: Bound) -> Given:
    return _flow(r, bound, "x")


def _give_any(r: Reader, bound: Bound) -> Given:
    mask = _flow(r, bound, "mask")
    return Flow(r.op(ops.Reduce("any", (1,), keepdims=True), mask.value), mask.batch, (r.lengths(mask)[0], 1))


def _wide(r: Reader, mask: Flow) -> Flow:
    from lstmcore.interop.onnx.readers.shape import unsqueezed

    return unsqueezed(r, mask, [2])


def _chosen(r: Reader, condition: Flow, bound: Bound) -> Given:
    from lstmcore.interop.onnx.readers.elements import combine

    return combine(r, ops.Select(), condition, _flow(r, bound, "y"), _known(r, bound, "default"))


def _give_zeroed(r: Reader, bound: Bound) -> Given:
    """Of a step that does not count the default."""
    return _chosen(r, _wide(r, _flow(r, bound, "mask")), bound)


def _held(turned: bool) -> Give:
    def give(r: Reader, bound: Bound) -> Given:
        """Of one before the first that counts the default, and after it what the recurrence repeats by itself."""
        from lstmcore.interop.onnx.readers import counts
        from lstmcore.interop.onnx.readers.parts import reversed_

        mask = _flow(r, bound, "mask")
        there = counts.made(r, reversed_(r, mask, 1) if turned else mask)
        so_far = counts.summed(r, there.value)
        known = Flow(r.op(ops.Binary("less"), r.constant(0.0, so_far), so_far), mask.batch, mask.lengths)
        return _chosen(r, _wide(r, reversed_(r, known, 1) if turned else known), bound)

    return give


_give_held = {turned: _held(turned) for turned in (False, True)}


def _give_fit(r: Reader, bound: Bound) -> Given:
    flow = _flow(r, bound, "x")
    return Fit(flow.value, flow.batch, flow.lengths)
