"""The program: what a model lowers to, as plain data.

A `Program` is a graph of `Node`s in single-assignment form. It reads inputs, weights and carries
(states that outlive the call) by name and yields outputs and the carries' next values. It knows no
layer and no engine. A `Builder` makes one and checks every node as it comes; `interpret` runs one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.ops import OPTIONS, Kind, Op, Option, Shape, Tensor
from lstmcore.ops.base import may_equal


@dataclass(frozen=True)
class Value(Tensor):
    """A named value of a program."""

    name: str = ""


@dataclass(frozen=True)
class Node:
    """One op applied: names of the values it reads (None: an optional one is absent) and makes.

    ``weights`` maps the op's own names to the program's: ``{"kernel": "encoder/kernel"}``.
    """

    name: str
    op: Op
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Carry:
    """A state: it enters as the value ``before`` (zeros at the start) and leaves as ``after``.

    A ``stateful`` one is kept from batch to batch by the model; others start each batch at zero.
    """

    name: str
    before: str
    after: str
    stateful: bool = False


@dataclass(frozen=True)
class Noise:
    """Random numbers that a training step is given: the value ``name``, drawn anew for each step.

    ``kind`` "dropout": 0 with probability ``rate``, else 1 / (1 - rate); "normal": mean 0, deviation ``rate``.
    Where the shape of the value leaves an axis open, it is as long as that axis of the value ``like``.
    """

    name: str
    kind: str
    rate: float
    like: str


@dataclass(frozen=True)
class Program:
    """Nodes in an order in which they can run; ``values`` tells shape and kind of every value.

    ``limits`` maps an integer input to the number of tokens it may name: ids lie in [0, limit).
    ``notes`` name the options of layers that change no number here, so that none goes unsaid.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    weights: Mapping[str, tuple[int, ...]]
    carries: tuple[Carry, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    noise: tuple[Noise, ...] = ()
    opset: int = ops.OPSET

    @property
    def entering(self) -> tuple[str, ...]:
        """The names of all values that come from outside: inputs, carries, noise."""
        return (*self.inputs, *(carry.before for carry in self.carries), *(noise.name for noise in self.noise))

    @property
    def weight_tensors(self) -> dict[str, Tensor]:
        """What each weight is, by path."""
        return {path: Tensor(shape) for path, shape in self.weights.items()}

    @property
    def entering_tensors(self) -> dict[str, Tensor]:
        """What each value that comes from outside is, by name."""
        return {name: Tensor(self.values[name].shape, self.values[name].kind) for name in self.entering}

    def __str__(self) -> str:
        def typed(name: str) -> str:
            value = self.values[name]
            return f"{name}: {value.kind}{list(value.shape)}".replace("None", "?")

        lines = [f"program, opset {self.opset}", *(f"  input   {typed(name)}" for name in self.inputs)]
        lines += [f"  carry   {typed(c.before)}, next {c.after}" for c in self.carries]
        lines += [f"  noise   {typed(n.name)}, {n.kind} {n.rate:g}" for n in self.noise]
        for node in self.nodes:
            reads = ", ".join(name or "-" for name in node.inputs)
            uses = f" with {', '.join(node.weights.values())}" if node.weights else ""
            of = f" of {reads}" if reads else ""
            lines.append(f"  {', '.join(typed(name) for name in node.outputs)} = {node.op}{of}{uses}")
            body = getattr(node.op, "body", None)
            lines += [] if body is None else [f"  | {line}" for line in str(body).splitlines()[1:]]
        lines += [f"  output  {name}" for name in self.outputs]
        return "\n".join([*lines, *(f"  note    {note}" for note in self.notes)])

    def to_json(self, indent: int | None = None) -> str:
        """The program as JSON; `from_json` gives an equal one back."""
        return json.dumps(self.to_data(), indent=indent)

    def to_data(self) -> dict[str, Any]:
        """The program as JSON values; `from_data` gives an equal one back."""
        return {
            "opset": self.opset,
            "inputs": [{"name": n, "shape": self.values[n].shape, "kind": self.values[n].kind} for n in self.inputs],
            "carries": [{**asdict(carry), "shape": self.values[carry.before].shape} for carry in self.carries],
            "noise": [{**asdict(noise), "shape": self.values[noise.name].shape} for noise in self.noise],
            "nodes": [
                {
                    "name": node.name,
                    "op": type(node.op).__name__,
                    "attributes": node.op.attributes(),
                    "inputs": node.inputs,
                    "outputs": node.outputs,
                    "weights": dict(node.weights),
                }
                for node in self.nodes
            ],
            "outputs": self.outputs,
            "notes": self.notes,
        }

    def infer(self, shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
        """What every value becomes where the inputs have these shapes; SpecError names the node that refuses."""
        known: dict[str, Tensor] = dict(self.values)
        known |= {name: Tensor(shape, self.values[name].kind) for name, shape in shapes.items()}
        for node in self.nodes:
            try:
                made = node.op.infer(*(None if name is None else known[name] for name in node.inputs))
            except SpecError as error:
                raise SpecError(f"{node.name}: {error}") from None
            known |= dict(zip(node.outputs, made, strict=True))
        return known


def from_json(text: str) -> Program:
    """A program from its JSON; every node is checked again. SpecError where it does not hold together."""
    if not isinstance(text, str):
        raise SpecError(f"the JSON of a program is a string, not {type(text).__name__}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"not the JSON of a program: {error}") from None
    return from_data(data)


def from_data(data: Any) -> Program:
    """A program from what ``to_data`` gives."""
    if not isinstance(data, dict) or data.get("opset") is not ops.OPSET:
        given = data.get("opset") if isinstance(data, dict) else type(data).__name__
        raise SpecError(f"program has opset {given!r}; this version reads opset {ops.OPSET}")
    try:
        return _rebuild(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"not the JSON of a program: {type(error).__name__} {error}") from None
    except RecursionError:
        raise SpecError("not the JSON of a program: its bodies are nested too deeply") from None


OPTIONS["Program"] = Option(
    "a Program", lambda value: isinstance(value, Program), lambda program: program.to_data(), from_data
)


def _rebuild(data: Mapping[str, Any]) -> Program:
    build = Builder()
    for item in data["inputs"]:
        build.input(item["name"], tuple(item["shape"]), item["kind"])
    for item in data["carries"]:
        build.enter(item["before"], tuple(item["shape"]))
    for item in data["noise"]:
        build.enter(item["name"], tuple(item["shape"]))
        build.noises[item["name"]] = Noise(item["name"], item["kind"], item["rate"], item["like"])
    for item in data["nodes"]:
        op = ops.from_attributes(item["op"], item["attributes"])
        build.add(Node(item["name"], op, tuple(item["inputs"]), tuple(item["outputs"]), item["weights"]))
    for note in data["notes"]:
        build.note(note)
    build.carries = {c["name"]: Carry(c["name"], c["before"], c["after"], c["stateful"]) for c in data["carries"]}
    return build.finish(tuple(data["outputs"]))


class Builder:
    """Makes a program node by node, inferring and checking shapes; names follow the open scope."""

    def __init__(self) -> None:
        self.inputs: list[str] = []
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.weights: dict[str, tuple[int, ...]] = {}
        self.carries: dict[str, Carry] = {}
        self.calls = 0  # of layers in graphs, which nested models multiply
        self._tried: dict[tuple[int, str], int] = {}
        self.limits: dict[str, int] = {}
        self.apart: tuple[Value, ...] = ()
        self.training = False
        self.noisy = False  # outside training too: what acts in training only is to be told of
        self.noises: dict[str, Noise] = {}
        self.updates: dict[str, str] = {}
        self.penalties: list[Value] | None = None  # a list where a loss follows, which adds them
        self.frozen: Container[int] = ()  # the ids of the layers that training leaves as they are
        self.one_path: Mapping[str, str] = {}  # the path that stands for a weight, by its other ones
        self._scope: tuple[str, ...] = ()
        self.notes: list[str] = []
        self._names: set[str] = set()

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Within it, nodes, weights and carries are named ``name/...``."""
        outer, self._scope = self._scope, (*self._scope, name)
        try:
            yield
        finally:
            self._scope = outer

    @contextmanager
    def each_apart(self, x: Value) -> Iterator[None]:
        """Within it, every time step of x is a sample by itself, and no state outlives the call.

        ``apart`` holds x, and before it those of the scopes around, whose steps x has for samples.
        """
        outer, self.apart = self.apart, (*self.apart, x)
        try:
            yield
        finally:
            self.apart = outer

    def path(self, name: str) -> str:
        """``name`` under the open scope."""
        return "/".join((*self._scope, name))

    def enter(self, name: str, shape: Shape, kind: Kind = "float") -> Value:
        """Declares a value that comes from outside."""
        if not isinstance(name, str) or not name:
            raise SpecError(f"{name!r} is no name of a value")
        if name in self.values:
            raise SpecError(f"the value {name!r} exists already")
        whole = isinstance(shape, tuple) and all(n is None or (type(n) is int and 0 < n < 2**31) for n in shape)
        if not whole or kind not in ("float", "int", "bool"):
            raise SpecError(
                f"{name!r} is declared as {kind!r} of shape {shape!r}; expected lengths or None for each axis"
            )
        self.values[name] = Value(shape, kind, name)
        return self.values[name]

    def input(self, name: str, shape: Shape, kind: Kind = "float") -> Value:
        """Declares an input."""
        if name in self.inputs:
            raise SpecError(f"two inputs are called {name!r}")
        value = self.enter(name, shape, kind)
        self.inputs.append(name)
        return value

    def _limit(self, ids: str | None, size: int) -> None:
        """Ids must lie in [0, size): noted for the input that they come from, to be checked at the edge."""
        makers = {output: node for node in self.nodes for output in node.outputs}
        source = ids
        while source in makers and makers[source].op.moves:
            source = makers[source].inputs[0]
        if source in self.inputs:
            self.limits[source] = min(size, self.limits.get(source, size))

    def carry(self, name: str, shape: Shape, stateful: bool = False) -> Value:
        """Declares a state of the open scope and gives its value before the call.

        Where the scope has one of that name already, a layer is used twice: the second use of a stateful
        one goes on from what the first leaves, any other has a state of its own.
        """
        path = self.path(name)
        if path in self.carries and stateful:
            return self.values[self.carries[path].after]
        path = self._unique(path, self.carries)
        value = self.enter(f"{path}.before", shape)
        self.carries[path] = Carry(path, value.name, value.name, stateful)
        return value

    def update(self, before: Value, after: Value) -> None:
        """Says what the state that had the value ``before`` becomes."""
        carry = next(carry for carry in self.carries.values() if carry.after == before.name)
        self.carries[carry.name] = replace(carry, after=after.name)

    def noise(
        self, name: str, kind: str, rate: float, like: Value, ones: tuple[int, ...] = (), shape: Shape | None = None
    ) -> Value:
        """Declares random numbers of a training step; see `Noise`.

        Their shape is that of ``like``, but of length 1 along ``ones``, where all entries share a number; or it is
        ``shape``, whose open axes are as long as those of ``like``.
        """
        path = self._unique(self.path(name), self.values)
        self.noises[path] = Noise(path, kind, rate, like.name)
        return self.enter(path, shape or tuple(1 if axis in ones else n for axis, n in enumerate(like.shape)))

    def hold_noise(self) -> list[Noise]:
        """Makes inputs of the noise declared so far; whoever runs the program gives it. Returns what it was."""
        held = list(self.noises.values())
        self.inputs += [noise.name for noise in held]
        self.noises = {}
        return held

    def weight(self, name: str, shape: tuple[int, ...]) -> Value:
        """A weight of the open scope as a value."""
        (value,) = self.op(ops.Parameter(shape), name=name, weights={"value": self.path(name)})
        return value

    def latest(self, name: str, shape: tuple[int, ...]) -> Value:
        """A weight of the open scope as it is by now: what it was assigned last, or how it came in."""
        path = self._path(name)
        return self.values[self.updates[path]] if path in self.updates else self.weight(name, shape)

    def assign(self, name: str, value: Value) -> None:
        """Says what a weight of the open scope, which no gradient moves, is after a training step."""
        path = self._path(name)
        if value.shape != self.weights.get(path):
            raise SpecError(f"weight {path!r} has shape {self.weights.get(path)}; it is assigned {value.shape}")
        self.updates[path] = value.name

    def _path(self, name: str) -> str:
        path = self.path(name)
        return self.one_path.get(path, path)

    def note(self, text: str) -> None:
        """Adds a remark, once."""
        if not isinstance(text, str):
            raise SpecError(f"a note is a text, not {text!r}")
        if text not in self.notes:
            self.notes.append(text)

    def op(
        self, op: Op, *inputs: Value | None, name: str = "", weights: Mapping[str, str] | None = None
    ) -> tuple[Value, ...]:
        """Applies an op; its weights are those of the open scope. Returns its outputs."""
        node_name = self.path(name) if name else "/".join(self._scope) or type(op).__name__.lower()
        node_name = self._unique(node_name, self._names)
        for value in inputs:
            if not isinstance(value, (Value, type(None))):
                raise SpecError(f"{type(op).__name__}: given {value!r}; expected a tensor")
        padded = (*inputs, *[None] * (len(op.inputs) + len(op.optional) - len(inputs)))
        paths = {port: self.path(port) for port in op.ports()} if weights is None else weights
        self.add(
            Node(
                name=node_name,
                op=op,
                inputs=tuple(None if value is None else value.name for value in padded),
                outputs=tuple(f"{node_name}.{port}" for port in op.outputs),
                weights={port: self.one_path.get(path, path) for port, path in paths.items()},
            )
        )
        return tuple(self.values[output] for output in self.nodes[-1].outputs)

    def _unique(self, name: str, taken: Container[str]) -> str:
        first = self._tried.get((id(taken), name), 0)
        for k in itertools.count(first):
            candidate = name if k == 0 else f"{name}_{k}"
            if candidate not in taken:
                self._tried[id(taken), name] = k
                return candidate
        raise AssertionError

    def add(self, node: Node) -> None:
        """Appends a finished node. SpecError names the node where something does not fit."""
        for name in (node.name, *node.outputs, *node.weights.values()):
            if not isinstance(name, str) or not name:
                raise SpecError(f"node {node.name!r}: {name!r} is no name")
        for given in node.inputs:
            if given is not None and given not in self.values:
                raise SpecError(f"node {node.name!r} reads {given!r}, which no earlier node makes")
        for made in node.outputs:
            if made in self.values:
                raise SpecError(f"node {node.name!r} makes {made!r}, which exists already")
        tensors = [None if given is None else self.values[given] for given in node.inputs]
        arity = len(node.op.inputs) + len(node.op.optional)
        if len(tensors) != arity or len(node.outputs) != len(node.op.outputs):
            raise SpecError(
                f"node {node.name!r}: {node.op} takes {arity} inputs and makes {len(node.op.outputs)} outputs"
            )
        try:
            outputs, shapes = node.op.infer(*tensors), node.op.inventory(*tensors)
        except SpecError as error:
            raise SpecError(f"{node.name}: {error}") from None
        if node.name in self._names:
            raise SpecError(f"two nodes are called {node.name!r}")
        if set(shapes) != set(node.weights):
            raise SpecError(f"node {node.name!r} has weights {sorted(node.weights)}; {node.op} uses {sorted(shapes)}")
        for port, path in node.weights.items():
            if self.weights.setdefault(path, shapes[port]) != shapes[port]:
                raise SpecError(f"weight {path!r} is used with shapes {self.weights[path]} and {shapes[port]}")
        if isinstance(node.op, ops.Embed):
            self._limit(node.inputs[0], node.op.size)
        self.nodes.append(node)
        self._names.add(node.name)
        for name, tensor in zip(node.outputs, outputs, strict=True):
            self.values[name] = Value(tensor.shape, tensor.kind, name)

    def finish(self, outputs: Sequence[str]) -> Program:
        """The program that yields ``outputs``."""
        if not outputs:
            raise SpecError("a program has at least one output")
        for name in (*outputs, *(c.after for c in self.carries.values())):
            if name not in self.values:
                raise SpecError(f"the program should yield {name!r}, which no node makes")
        for noise in self.noises.values():
            if noise.like not in self.values:
                raise SpecError(f"the noise {noise.name!r} is to be like {noise.like!r}, which no node makes")
        for carry in self.carries.values():
            if not isinstance(carry.name, str) or not carry.name or not isinstance(carry.stateful, bool):
                raise SpecError(f"{carry} is no state; expected a name, and stateful True or False")
            before, after = self.values[carry.before], self.values[carry.after]
            alike = len(before.shape) == len(after.shape) and all(map(may_equal, before.shape, after.shape))
            if before.kind != after.kind or not alike:
                raise SpecError(
                    f"state {carry.name!r} has shape {before.shape} before the call and {after.shape} after it"
                )
        return Program(
            inputs=tuple(self.inputs),
            outputs=tuple(outputs),
            nodes=tuple(self.nodes),
            values=dict(self.values),
            weights=dict(self.weights),
            carries=tuple(self.carries.values()),
            limits=dict(self.limits),
            notes=tuple(self.notes),
            noise=tuple(self.noises.values()),
        )


Run = Callable[..., tuple[Any, ...]]


def live(program: Program) -> tuple[Node, ...]:
    """The nodes on which an output depends, or a state that is kept, in their order."""
    needed = {*program.outputs, *(carry.after for carry in program.carries if carry.stateful)}
    kept = []
    for node in reversed(program.nodes):
        if not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed |= {name for name in node.inputs if name is not None}
    return tuple(reversed(kept))


def interpret(
    program: Program, runs: Iterable[Run], weights: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runs a program, one chosen ``run`` per node, on whatever tensors it is given.

    ``values`` holds the inputs by name and the carries by their ``before`` names. Returns the
    outputs by name and the next carries by carry name.
    """
    known = dict(values)
    for node, run in zip(program.nodes, runs, strict=True):
        own = {port: weights[path] for port, path in node.weights.items()}
        outputs = run(node.op, own, *(None if name is None else known[name] for name in node.inputs))
        known.update(zip(node.outputs, outputs, strict=True))
    return {name: known[name] for name in program.outputs}, {c.name: known[c.after] for c in program.carries}
