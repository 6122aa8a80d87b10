"""A class of the source in the making: its modules and parameters, and the body of the method that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lstmcore.errors import ExportError
from lstmcore.interop.pytorch.helpers import HELPERS
from lstmcore.interop.pytorch.state import Entry
from lstmcore.interop.pytorch.text import atom, identifier
from lstmcore.naming import unique
from lstmcore.ops import Kind, Last, Reverse, Shape, Tensor
from lstmcore.program import Node, Noise, Program, live

LONGEST = 48  # name of an attribute
INLINE = 50  # the longest expression that goes into the next one


@dataclass
class File:
    """What all classes of a file share: the helpers that it needs, and the classes made for it alone."""

    dtype: str
    trained: frozenset[str] = frozenset()
    momenta: Mapping[str, float] = field(default_factory=dict)
    helpers: dict[str, None] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: {"Model", "load", "WEIGHTS", "choose", "silenced", *HELPERS})

    def zeros(self, like: str, kind: Kind, shape: Shape) -> str:
        """Zeros for as many samples as a variable has, where it is."""
        lengths = ", ".join(f"{like}.shape[0]" if n is None else str(n) for n in shape)
        if kind == "float":
            return f"{like}.new_zeros({lengths})"
        dtype = "" if self.dtype == "float32" else f", dtype=torch.{self.dtype}"
        return f"torch.zeros({lengths}, device={like}.device{dtype})"

    def own_class(self, wanted: str, text: str) -> str:
        """The name of a class made for this file, ``NAME`` in its text; the one there is where it is the same."""
        for name, known in self.classes.items():
            if known == text.replace("NAME", name, 1):
                return name
        name = unique(wanted, self.taken)
        self.taken.add(name)
        self.classes[name] = text.replace("NAME", name, 1)
        return name

    def helper(self, name: str) -> str:
        """The name of a helper, which the file will hold."""
        for other in HELPERS[name].calls:
            self.helper(other)
        self.helpers.setdefault(name)
        return name


class Layers:
    """The attributes of a class that hold weights, or act in training, and their entries in its state_dict."""

    def __init__(self, file: File, freezes: bool = True) -> None:
        self.file, self.freezes = file, freezes
        self.made: dict[str, str] = {}  # attribute -> what makes it
        self.after: list[str] = []  # statements after all are made
        self.entries: list[Entry] = []
        self._found: dict[tuple[str, tuple[str, ...]], str] = {}
        self._holds: dict[tuple[str, int], Entry] = {}

    def add(self, wanted: str, maker: str, entries: Sequence[Entry] = (), kind: str = "") -> str:
        """An attribute made by ``maker``, with these entries; the one there is where it is the same.

        The keys of the entries follow the attribute's name: ".weight", or "" for a parameter.
        """
        paths = tuple(entry.path for entry in entries)
        known = (kind or maker, paths)
        if any(paths) and known in self._found:
            return self._found[known]
        name = identifier(wanted, self.made, LONGEST)
        self.made[name] = maker
        self._found[known] = name
        for entry in entries:
            self._take(replace(entry, key=name + entry.key))
        self._freeze(name, entries)
        return name

    def _take(self, entry: Entry) -> None:
        self.entries.append(entry)
        first = self._holds.setdefault((entry.path, entry.part), entry) if entry.path else entry
        if first is entry:
            return
        if replace(first, key="") != replace(entry, key=""):
            raise ExportError(
                f"weight {entry.path!r} is used in two ways, and PyTorch would hold it in two shapes: as "
                f"{first.key!r} and as {entry.key!r}; they would no longer be one. Make it two weights."
            )
        self.after.append(f"self.{entry.key} = self.{first.key}")

    def _freeze(self, name: str, entries: Sequence[Entry]) -> None:
        """What training leaves as it is here, it leaves as it is there."""
        if not self.freezes:
            return
        learned = [entry for entry in entries if not entry.key.startswith((".running", ".num", ".constant"))]
        fixed = [entry for entry in learned if entry.path not in self.file.trained]
        beside = [entry for entry in fixed if entry.op is None or not entry.path]
        if learned and len(fixed) == len(learned):
            self.after.append(f"self.{name}.requires_grad_(False)")
        else:
            self.after += [f"self.{name}{entry.key}.requires_grad_(False)" for entry in beside]

    def buffer(self, wanted: str, numbers: Sequence[float], shape: Shape) -> str:
        """An attribute that holds numbers which are no weights."""
        name = identifier(wanted, self.made, LONGEST)
        sizes = ", ".join(map(str, shape))
        self.made[name] = f"register_buffer:torch.zeros({sizes or '()'})"
        self.entries.append(Entry(name, tuple(n or 0 for n in shape), numbers=tuple(numbers)))
        return name


@dataclass(frozen=True)
class Expr:
    """A value as an expression; ``pending``: no variable holds it yet.

    ``literal`` is its number where it is one. ``stacked`` is the name of the same as PyTorch's recurrent modules have
    their states, (1, batch, units).
    """

    text: str
    pending: bool = False
    literal: float | None = None
    stacked: str = ""


class Scope:
    """The body of a method: statements, and what each value of the program is called by now.

    A name is given again once nothing reads what it holds.
    """

    def __init__(self, layers: Layers, program: Program, paths: Mapping[str, str], arguments: Sequence[str]) -> None:
        self.file, self.layers, self.program, self.paths = layers.file, layers, program, paths
        self.nodes = live(program)
        self.position = 0
        self.lines: list[str] = []
        self.known: dict[str, Expr] = {}
        self._bound: dict[str, set[str]] = {}
        self.leaves = leaving(program, self.nodes)
        self._words = words(program, self.nodes, self.leaves)
        self.readers = readers(program, self.nodes)
        self._next = next_statements(self.nodes)
        self.zeros = {carry.before: program.values[carry.before] for carry in program.carries if not carry.stateful}
        self.inputs = list(arguments)
        self.partners: dict[str, Node] = {}  # the first of two directions -> the second
        self.second: set[str] = set()
        self.factors: dict[str, Noise] = {}  # values that are noise plus 1
        self.halves: dict[tuple[str | None, ...], str] = {}  # both directions -> the variable that holds them together
        for name, value in zip(arguments, program.inputs, strict=True):
            self.known[value] = Expr(name)
            self._bound[name] = {value, ""}  # never given again: lengths and devices are read from the inputs

    def hold(self, states: Mapping[str, str]) -> None:
        """Says which attributes hold the states that are kept."""
        for carry in self.program.carries:
            if carry.name in states:
                self.known[carry.before] = Expr(f"self.{states[carry.name]}")

    def written(self, node: Node) -> bool:
        """Whether an earlier statement gives what the node makes, or only such a statement reads it."""
        if node.outputs[0] in self.second or node.outputs[0] in self.known:
            return True
        return isinstance(node.op, Reverse) and self._for_partners(node)

    def _for_partners(self, node: Node) -> bool:
        """Whether only second directions read it."""
        reads = self.readers.get(node.outputs[0], [])
        return all(k < len(self.nodes) and self.nodes[k].outputs[0] in self.second for k in reads)

    def reads(self, value: str, *apart: Sequence[str]) -> bool:
        """Whether a node reads the value that does not make one of ``apart``."""
        others = {name for names in apart for name in names}
        reads = self.readers.get(value, [])
        return any(k == len(self.nodes) or self.nodes[k].outputs[0] not in others for k in reads)

    def turned(self, value: str) -> list[str]:
        """The values that are this one with its steps in reverse."""
        return [n.outputs[0] for n in self.nodes if isinstance(n.op, Reverse) and n.inputs[0] == value]

    def lasts(self, value: str) -> list[str]:
        """The values that are the last step of this one."""
        return [n.outputs[0] for n in self.nodes if isinstance(n.op, Last) and n.inputs[0] == value]

    def hold_in(self, name: str, values: Mapping[str, str]) -> None:
        """Says which values a variable holds, and as which expressions of it."""
        for value, text in values.items():
            self.known[value] = Expr(text)
            self.alias(name, value)

    def last(self, value: str) -> int:
        """The position of the last node that reads a value; beyond all of them for an output."""
        return max(self.readers.get(value, [-1])) if value else len(self.nodes)

    def used(self, value: str) -> bool:
        """Whether anything reads it."""
        return bool(self.readers.get(value))

    def has_weights(self, home: str) -> bool:
        """Whether a weight of the model lies there."""
        return any(path.startswith(f"{home}/") for path in self.program.weights)

    def line(self, text: str) -> None:
        """Adds a statement."""
        self.lines.append(text)

    def read(self, value: str) -> Expr:
        """What a value is."""
        if value not in self.known and value in self.zeros:
            kind = self.program.values[self.program.inputs[0]].kind
            self.known[value] = Expr(self.file.zeros(self.inputs[0], kind, self.zeros[value].shape))
        return self.known[value]

    def tensor(self, value: str) -> str:
        """A value as a tensor, a number too."""
        expr = self.read(value)
        if expr.literal is None:
            return expr.text
        return f"torch.tensor({expr.text}, dtype=torch.{self.file.dtype})"

    def named(self, value: str) -> str:
        """The name of a variable that holds the value."""
        expr = self.read(value)
        if expr.text.replace(".", "").isidentifier():
            return expr.text
        name = self.variable(value, strictly=True)
        self.line(f"{name} = {expr.text}")
        self.known[value] = Expr(name)
        return name

    def variable(self, value: str, strictly: bool = False, beside: Iterable[str] = (), wanted: str = "") -> str:
        """A variable for a value; with ``strictly`` none that the node at hand may still read."""
        taken = {name for name in self._bound if not self._free(name, strictly)} | {*beside} | self.file.taken
        found = identifier(wanted or self._words[value], taken)
        self._bound[found] = {value}
        return found

    def _free(self, name: str, strictly: bool) -> bool:
        return all(self.last(value) < self.position + (not strictly) for value in self._bound[name])

    def alias(self, name: str, value: str) -> None:
        """Says that the expression of a value reads a variable."""
        self._bound.setdefault(name, set()).add(value)

    def settle(self, node: Node, text: str, literal: float | None = None) -> None:
        """The node's one output is this expression: put into the next one, or held by a variable."""
        (value,) = node.outputs
        if not self.used(value):
            return
        if literal is not None or text.replace(".", "").isidentifier():
            self.known[value] = Expr(text, literal=literal)
            self._alias_root(text, value)
            return
        after = self._next.get(node.name)
        if self.readers[value] == [after] and len(text) <= INLINE and self._together(node, after):
            self.known[value] = Expr(text, pending=True)
            return
        name = self.variable(value)
        self.line(f"{name} = {text}")
        self.known[value] = Expr(name)

    def _alias_root(self, text: str, value: str) -> None:
        root = text.partition(".")[0]
        if root in self._bound:
            self.alias(root, value)

    def _together(self, node: Node, after: int | None) -> bool:
        """Whether two nodes are of one layer, or the second is the end."""
        if after is None or after == len(self.nodes):
            return True
        return node.name.split("/")[0] == self.nodes[after].name.split("/")[0]


@dataclass(frozen=True)
class Site:
    """One node to be written."""

    scope: Scope
    node: Node

    @property
    def op(self) -> Any:
        return self.node.op

    @property
    def file(self) -> File:
        """The file that it goes to."""
        return self.scope.file

    def there(self, position: int) -> str:
        """The value of an input that is there."""
        name = self.node.inputs[position]
        assert name is not None, self.node
        return name

    def tensor(self, position: int = 0) -> Tensor:
        """What is known of an input."""
        return self.scope.program.values[self.there(position)]

    @property
    def result(self) -> Shape:
        """The shape of the first output."""
        return self.scope.program.values[self.node.outputs[0]].shape

    def text(self, position: int = 0) -> str:
        """An input as an argument of a call."""
        return self.scope.read(self.there(position)).text

    def atom(self, position: int = 0) -> str:
        """An input beside an operator."""
        return atom(self.text(position))

    def name(self, position: int = 0) -> str:
        """An input as a name, which may stand more than once."""
        return self.scope.named(self.there(position))

    def literal(self, position: int) -> float | None:
        """The number that an input is, where it is one."""
        return self.scope.read(self.there(position)).literal

    def port(self, name: str) -> str | None:
        """The value of an input by the op's name for it; None where it is absent."""
        ports = (*self.op.inputs, *self.op.optional)
        return self.node.inputs[ports.index(name)]

    def path(self, port: str) -> str:
        """The model's name of a weight."""
        return self.scope.paths.get(self.node.weights[port], self.node.weights[port])

    def home(self, others: Sequence[Node] = ()) -> str:
        """What all weights of the node have in common in their paths, or its own name."""
        paths = [self.scope.paths.get(p, p) for one in (self.node, *others) for p in one.weights.values()]
        folders = [path.split("/")[:-1] for path in paths]
        shared = [parts[0] for parts in zip(*folders, strict=False) if len(set(parts)) == 1]
        return "/".join(shared) or self.node.name

    def shape(self, port: str) -> tuple[int, ...]:
        """The shape of a weight."""
        return self.scope.program.weights[self.node.weights[port]]

    def parameter(self, port: str) -> str:
        """A weight as a parameter of the class, as it is here."""
        path, shape = self.path(port), self.shape(port)
        maker = f"nn.Parameter(torch.zeros({', '.join(map(str, shape)) or '()'}))"
        entries = [Entry("", shape, path)]
        return "self." + self.scope.layers.add(self.node.weights[port], maker, entries, kind="parameter")

    def add(self, maker: str, entries: Sequence[Entry] = (), others: Sequence[Node] = ()) -> str:
        """A module of the class."""
        return "self." + self.scope.layers.add(self.home(others), maker, entries)

    def entry(self, key: str, port: str, layout: str = "plain", **more: Any) -> Entry:
        """An entry for one of its weights."""
        shape = self.shape(port)
        return Entry(key, shape[::-1] if layout == "reversed" else shape, self.path(port), layout, **more)


def readers(program: Program, nodes: Sequence[Node]) -> dict[str, list[int]]:
    """The positions of the nodes that read a value; one past the last for what leaves."""
    found: dict[str, list[int]] = {}
    for position, node in enumerate(nodes):
        for name in node.inputs:
            if name is not None:
                found.setdefault(name, []).append(position)
    for name in (*program.outputs, *(carry.after for carry in program.carries if carry.stateful)):
        found.setdefault(name, []).append(len(nodes))
    return found


SILENT = ("Parameter", "Constant")  # they become part of what reads them


def next_statements(nodes: Sequence[Node]) -> dict[str, int]:
    """For each node the position of the next one that makes a statement."""
    found, following = {}, len(nodes)
    for position in range(len(nodes) - 1, -1, -1):
        found[nodes[position].name] = following
        if type(nodes[position].op).__name__ not in SILENT:
            following = position
    return found


def leaving(program: Program, nodes: Sequence[Node]) -> dict[str, list[str]]:
    """The values that leave each layer, or part of one, by its path."""
    leaves: dict[str, list[str]] = {}
    of = readers(program, nodes)
    for node in nodes:
        for value in node.outputs:
            for prefix in _prefixes(node.name):
                inside = [k for k in of.get(value, []) if k < len(nodes) and _within(nodes[k].name, prefix)]
                if len(inside) < len(of.get(value, [])):
                    leaves.setdefault(prefix, []).append(value)
    return leaves


def words(program: Program, nodes: Sequence[Node], leaves: Mapping[str, list[str]]) -> dict[str, str]:
    """What to call each value: as the layer that it leaves, or by its place inside."""
    found = {value: value for value in program.values}
    for node in nodes:
        for value, port in zip(node.outputs, node.op.outputs, strict=True):
            found[value] = _called(node.name, value, port, leaves)
    return found


def _prefixes(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[: k + 1]) for k in range(len(parts))]


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}/")


def _called(name: str, value: str, port: str, leaves: Mapping[str, list[str]]) -> str:
    parts = name.split("/")
    suffix = "" if port == "y" else f"_{port}"
    out = leaves.get(parts[0], [])
    if value in out:
        return parts[0] if len(out) == 1 else f"{parts[0]}{suffix}" if suffix else "_".join(parts)
    for k in range(2, len(parts) + 1):
        if leaves.get("/".join(parts[:k])) == [value]:
            return "_".join(parts[1:k])
    return ("_".join(parts[1:]) or parts[0]) + suffix
