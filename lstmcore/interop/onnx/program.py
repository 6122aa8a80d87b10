"""A program as an ONNX graph: op by op, by the table of writers."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from lstmcore.errors import ExportError
from lstmcore.interop.onnx.beside import LEAST, Beside
from lstmcore.interop.onnx.graph import Graph
from lstmcore.interop.onnx.library import onnx
from lstmcore.interop.onnx.site import Array, Site, Weights
from lstmcore.ops import Recurrent, Reverse, Shape
from lstmcore.program import Node, Program


@dataclass(frozen=True)
class Written:
    """An ONNX graph and what its inputs and outputs are.

    ``carries`` maps each state to the names of the input it enters as and the output it leaves as; ``kept`` says
    which constant holds a weight, and ``made`` what each of these constants is made of, see `Weights`.
    """

    graph: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    carries: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    kept: Mapping[str, tuple[str, Recurrent | None, str, int]] = field(default_factory=dict)
    made: Mapping[str, tuple[Recurrent | None, str, tuple[str, ...]]] = field(default_factory=dict)
    beside: Beside | None = None


def write_program(
    program: Program,
    weights: Mapping[str, Array],
    dtype: str,
    name: str,
    outputs: Sequence[str] = (),
    states: Sequence[str] | None = None,
    bare: bool = False,
    axes: Mapping[str, int | None] = MappingProxyType({}),
    beside: Beside | None = None,
    largest: int | None = None,
) -> Written:
    """The program as an ONNX graph.

    Where its constants take more than ``largest`` bytes together, those made of weights are ``beside`` it.

    ``outputs`` are the names to give to its outputs (theirs by default). The carries named in ``states`` (by default
    the stateful ones) become inputs and outputs of the graph; the others start at zero. With ``bare``, constants that
    are made of weights have no numbers. ``axes`` says, by the names of inputs and outputs, which axis of the data is
    the batch where that is not the first: None where they have none, and are one sample.
    """
    if program.noise:
        raise ExportError("this program is that of a training step: it takes random numbers")
    program = _ordered(program)
    graph = Graph(dtype)
    open_carries = [c for c in program.carries if (c.stateful if states is None else c.name in states)]
    known: dict[str, str] = {}
    inputs = [_input(graph, program, value, value, known, axes.get(value, 0)) for value in program.inputs]
    inputs += [_input(graph, program, carry.before, carry.name, known) for carry in open_carries]
    closed = [carry for carry in program.carries if carry not in open_carries]
    kept = Weights(weights, bare)
    wanted = list(outputs or program.outputs)
    leaving = [f"{carry.name}/next" for carry in open_carries]
    taken = [graph.name(name) for name in (*wanted, *leaving)]
    made = write_nodes(graph, program, kept, known, frozenset(carry.before for carry in closed))
    leaves = (*program.outputs, *(carry.after for carry in open_carries))
    ends = [_output(graph, program, made[v], v, name, axes.get(name, 0)) for v, name in zip(leaves, taken, strict=True)]
    graph.prune([info.name for info in ends])
    if largest is None or sum(array.nbytes for array in graph.arrays.values()) <= largest:
        beside = None
    arrays = [_tensor(array, name, name in kept.made, bare, beside) for name, array in graph.arrays.items()]
    proto = onnx().helper.make_graph(graph.nodes, name, inputs, ends, arrays)
    count = len(program.outputs)
    names = [info.name for info in ends]
    pairs = {
        carry.name: (before.name, after)
        for carry, before, after in zip(open_carries, inputs[len(program.inputs) :], names[count:], strict=True)
    }
    live = {path: row for path, row in kept.kept.items() if row[0] in graph.arrays}
    made_of = {name: row for name, row in kept.made.items() if name in graph.arrays}
    return Written(proto, tuple(i.name for i in inputs), tuple(names), pairs, live, made_of, beside)


def _tensor(array: Array, name: str, weight: bool, bare: bool, beside: Beside | None) -> Any:
    if beside is not None and weight and array.nbytes >= LEAST:
        return beside.tensor(array, name)
    if not bare or not weight:
        return onnx().numpy_helper.from_array(array, name)
    return onnx().TensorProto(
        dims=array.shape, data_type=onnx().helper.np_dtype_to_tensor_dtype(array.dtype), name=name
    )


def _ordered(program: Program) -> Program:
    """The same program in the one order that follows from its names, so that it is always the same graph."""
    makers = {name: k for k, node in enumerate(program.nodes) for name in node.outputs}
    waits = [{makers[name] for name in node.inputs if name in makers} for node in program.nodes]
    readers: dict[int, list[int]] = {}
    for k, sources in enumerate(waits):
        for source in sources:
            readers.setdefault(source, []).append(k)
    ready = [(program.nodes[k].name, k) for k, sources in enumerate(waits) if not sources]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        _, k = heapq.heappop(ready)
        order.append(program.nodes[k])
        for reader in readers.get(k, ()):
            waits[reader].discard(k)
            if not waits[reader]:
                heapq.heappush(ready, (program.nodes[reader].name, reader))
    carries = tuple(sorted(program.carries, key=lambda carry: carry.name))
    return replace(program, nodes=tuple(order), carries=carries)


def _input(
    graph: Graph, program: Program, value: str, wanted: str, known: dict[str, str], batch: int | None = 0
) -> Any:
    tensor = program.values[value]
    name = known[value] = graph.name(wanted)
    lengths = [_symbol(graph, wanted, axis) if n is None else n for axis, n in enumerate(tensor.shape)]
    if batch is None:
        known[value] = graph.axes("Unsqueeze", name, [0])
    elif batch:
        known[value] = graph.transpose(name, [batch, *(k for k in range(len(lengths)) if k != batch)])
    return onnx().helper.make_tensor_value_info(name, graph.element(tensor.kind), _outward(lengths, batch))


def _outward(lengths: Sequence[Any], batch: int | None) -> list[Any]:
    """The lengths of the program's axes in the order of the data's."""
    first, *rest = lengths or [None]
    return rest if batch is None else [*rest[:batch], *([first] if lengths else []), *rest[batch:]]


def _symbol(graph: Graph, owner: str, axis: int) -> str:
    return "batch" if axis == 0 else f"{owner}_time" if axis == 1 else f"{owner}_{axis}"


def _output(graph: Graph, program: Program, made: str, value: str, name: str, batch: int | None = 0) -> Any:
    tensor = program.values[value]
    if batch is None:
        made = graph.op("Squeeze", made, graph.whole([0]))
    elif batch:
        order = list(range(1, len(tensor.shape)))
        made = graph.transpose(made, [*order[:batch], 0, *order[batch:]])
    graph.nodes.append(onnx().helper.make_node("Identity", [made], [name], name=graph.name(f"{name}/output")))
    lengths = _outward(_open(tensor.shape), batch)
    return onnx().helper.make_tensor_value_info(name, graph.element(tensor.kind), lengths)


def _open(shape: Shape) -> list[int | str | None]:
    """The lengths of an output; the batch is that of the inputs, other open lengths have no name."""
    return ["batch" if axis == 0 and n is None else n for axis, n in enumerate(shape)]


def write_nodes(
    graph: Graph,
    program: Program,
    weights: Weights,
    known: Mapping[str, str],
    zeros: frozenset[str],
    paths: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Writes every node; what each value is called in the graph. The values in ``zeros`` are zero.

    ``paths`` says where the program's weights are to be found, where that is not under their own names.
    """
    from lstmcore.interop.onnx.writers import WRITERS

    called = dict(known)
    pairs = _pairs(program)
    for node in program.nodes:
        if node.outputs[0] in called:
            continue  # written together with its partner
        graph.scope = node.name
        both = pairs.get(node.name, (node,))
        sites = [_site(graph, program, one, weights, called, zeros, paths) for one in both]
        site = sites[0] if len(sites) == 1 else replace(sites[0], partner=sites[1])
        made = WRITERS[type(node.op)](site)
        called |= dict(zip((name for one in both for name in one.outputs), made, strict=True))
    return called


def _site(
    graph: Graph,
    program: Program,
    node: Node,
    weights: Weights,
    called: dict[str, str],
    zeros: frozenset[str],
    paths: Mapping[str, str] | None,
) -> Site:
    for name in node.inputs:
        if name is not None and name in zeros and name not in called:
            called[name] = _zero(graph, program, name, called)
    inputs = tuple(None if name is None else called.get(name) for name in node.inputs)
    tensors = tuple(None if name is None else program.values[name] for name in node.inputs)
    if paths is not None:
        node = Node(node.name, node.op, node.inputs, node.outputs, {p: paths[w] for p, w in node.weights.items()})
    return Site(graph, program, node, inputs, tensors, weights, zeros)


def _zero(graph: Graph, program: Program, name: str, called: Mapping[str, str]) -> str:
    """A state at the start of a sequence; it is dropped again where no node reads it."""
    shape = program.values[name].shape
    like = program.inputs[0]
    batch = graph.length(called[like], program.values[like], 0) if shape[0] is None else shape[0]
    return graph.zeros([batch, *(n or 0 for n in shape[1:])])


def _pairs(program: Program) -> dict[str, tuple[Node, Node]]:
    """The recurrent nodes that read the same steps forward and backward, by the name of the first of each two.

    The states of both are known before the first one runs.
    """
    turned = {node.inputs[0]: node.outputs[0] for node in program.nodes if isinstance(node.op, Reverse)}
    made = {name: k for k, node in enumerate(program.nodes) for name in node.outputs}
    found: dict[str, tuple[Node, Node]] = {}
    paired: set[str] = set()
    recurrent = [(k, node) for k, node in enumerate(program.nodes) if isinstance(node.op, Recurrent)]
    for k, first in recurrent:
        for _, second in recurrent:
            if first.name in paired or second.name in paired or second is first:
                continue
            both = [pair for pair in ((first, second), (second, first)) if _mirrors(*pair, turned)]
            if both and made[second.outputs[0]] > k and _ready(second, made, k):
                found[first.name] = both[0]
                paired |= {first.name, second.name}
    return found


def _mirrors(first: Node, second: Node, turned: Mapping[str | None, str]) -> bool:
    if first.op != second.op or not isinstance(second.op, Recurrent):
        return False
    ports = (*first.op.inputs, *first.op.optional)
    pairs = {port: (first.inputs[k], second.inputs[k]) for k, port in enumerate(ports)}
    same = all(
        a is None and b is None if a is None or b is None else turned.get(a) == b
        for a, b in (pairs["x"], pairs["mask"])
    )
    return same and not set(first.weights.values()) & set(second.weights.values())


def _ready(node: Node, made: Mapping[str, int], before: int) -> bool:
    """Whether the states and all but x and mask are known before that node."""
    ports = (*node.op.inputs, *node.op.optional)
    others = [name for port, name in zip(ports, node.inputs, strict=True) if port not in ("x", "mask")]
    return all(name is None or made.get(name, -1) < before for name in others)
