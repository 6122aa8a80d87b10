"""An ONNX graph becomes a program: node by node, by the table of readers.

What is known before the model runs is computed here, so that the lengths that exporters compute by nodes are numbers.
The batch is tracked from axis to axis; the program has it first. A file that names no batch runs as one call: the
program's first axis is the call, and all of ONNX's axes follow (`Flow`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore import ops
from lstmcore.axes import contiguous
from lstmcore.errors import DamagedFileError, FileError, SpecError, UnsupportedFileError, near
from lstmcore.interop.onnx.budget import Budget
from lstmcore.interop.onnx.lengths import Length, Open, opened, roots, times
from lstmcore.interop.onnx.library import onnx
from lstmcore.interop.onnx.loading import Loaded, array
from lstmcore.interop.onnx.values import Array, Filled, Flow, Given, Known, Ramp
from lstmcore.ops import Kind, Op
from lstmcore.program import Builder, Value
from lstmcore.storage.container import is_name, show

KINDS: Mapping[str, Kind] = {"f": "float", "i": "int", "u": "int", "b": "bool"}
# What comes of an attribute of another type, a number out of range, numbers of shapes that do not fit.
_MISFITS = (TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError, RuntimeError)


def give(*lengths: Length) -> str:
    """What a user does about open lengths: with the names to give."""
    names = ", ".join(f"{name!r}: N" for name in sorted(roots(*lengths)))
    return f"give lengths={{{names}}}, N being the number" if names else "give lengths="


@dataclass(frozen=True)
class Call:
    """A node of ONNX with what it is given."""

    kind: str
    name: str
    inputs: tuple[Given | None, ...]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]

    def get(self, position: int) -> Given | None:
        """An input, None where it is absent."""
        return self.inputs[position] if position < len(self.inputs) else None

    def at(self, position: int) -> Given:
        """An input that must be there."""
        found = self.get(position)
        if found is None:
            raise SpecError(f"input {position} is missing")
        return found

    def number(self, name: str, default: Any) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def only(self, *known: str) -> None:
        """SpecError for an attribute that is not read."""
        for key in self.attributes:
            if key not in known:
                raise SpecError(f"attribute {key!r} is not known.{near(key, known)}")


class Reader:
    """The program in the making, and what each value of the graph is."""

    def __init__(
        self, loaded: Loaded, dtype: str, batch: Open | None, budget: Budget, samples: int | None = None
    ) -> None:
        self.loaded = loaded
        self.opset = loaded.opset
        self.dtype = dtype
        self.batch = batch
        self.samples = samples
        """How many samples the file was made for, where its batch is open only here."""
        self.build = Builder()
        self.known: dict[str, Given] = {}
        self.weights: dict[str, Array] = {}
        self.like: Flow | None = None
        """Some value of the model, for what needs its batch and nothing else of it."""
        self.folded: dict[str, Flow] = {}
        """What a value was before another axis went into its batch, by the value's name."""
        self._blanks: dict[Open, Value] = {}
        self._unbatched: set[str] = set()
        self._paths: dict[Any, str] = {}
        self._name = ""
        self.gives: Mapping[str, Any] = {}
        """What values are instead of what their nodes say (`patterns`)."""
        self.pieces: dict[str, Any] = {}
        """How whole numbers depend on one id, by the value's name (`readers.counts`)."""
        self.fixed: dict[str, int] = {}
        """Lengths that the file leaves open, and for which alone it computes, as far as is known."""
        self.done = 0
        """How many nodes have been read."""
        self.budget = budget

    # The graph.

    def run(self, graph: Any) -> None:
        """Reads every node of a graph."""
        self.run_nodes(graph.node)

    def run_nodes(self, nodes: Iterable[Any]) -> None:
        """Reads these nodes."""
        from lstmcore.interop.onnx.readers import READERS, counts

        for node in nodes:
            self._name = node.name or (node.output[0] if node.output else node.op_type)
            if node.op_type not in READERS and not self._given(node):
                raise UnsupportedFileError(f"{self._where(node)} is not read.{near(node.op_type, READERS)}")
            try:
                if self._given(node):
                    make, bound = self.gives[node.output[0]]
                    made: Sequence[Given] = (make(self, bound),)
                else:
                    call = counts.prepared(self, self.call(node))
                    made = counts.marked(self, call, READERS[node.op_type](self, call))
                self._bind(node, made)
                self.done += 1
            except FileError:
                raise
            except SpecError as error:
                raise UnsupportedFileError(f"{self._where(node)}: {error}") from None
            except _MISFITS as error:
                raise DamagedFileError(
                    f"{self._where(node)}: its inputs or attributes are not those of such a node: {error}"
                ) from None

    def _given(self, node: Any) -> bool:
        """Whether what it makes is known without it."""
        return bool(node.output) and node.output[0] in self.gives

    def _where(self, node: Any) -> str:
        kind = node.op_type if node.op_type.isidentifier() else show(node.op_type)
        return f"{self.loaded.name}: node {show(node.name or ''.join(node.output[:1]))}, {kind},"

    def _bind(self, node: Any, made: Sequence[Given]) -> None:
        if len([name for name in node.output if name]) > len(made):
            raise SpecError(f"it has {len(node.output)} outputs; {len(made)} are read")
        for name, value in zip(node.output, made, strict=False):
            if name in self.known:
                raise SpecError(f"it makes {name!r}, which exists already")
            if name:
                self.known[name] = value

    def call(self, node: Any) -> Call:
        """A node with its inputs and attributes."""
        for name in node.input:
            if name and name not in self.known:
                raise SpecError(f"it reads {name!r}, which nothing before it makes")
        inputs = tuple(self.known[name] if name else None for name in node.input)
        attributes = {entry.name: self._attribute(entry) for entry in node.attribute}
        return Call(node.op_type, self._name, inputs, attributes, tuple(node.output))

    def _attribute(self, entry: Any) -> Any:
        types = onnx().AttributeProto
        if entry.type == types.TENSOR:
            return array(self.loaded, entry.t)
        if entry.type == types.GRAPH:
            return entry.g
        value = onnx().helper.get_attribute_value(entry)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, list):
            return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
        return value

    # Making.

    def op(self, op: Op, *inputs: Value | None, weights: Mapping[str, str] | None = None) -> Value:
        """Applies an op; its first output."""
        return self.ops(op, *inputs, name=self._name, weights=weights)[0]

    def ops(
        self, op: Op, *inputs: Value | None, name: str, weights: Mapping[str, str] | None = None
    ) -> tuple[Value, ...]:
        """Applies an op; its outputs."""
        made = self.build.op(op, *inputs, name=self._safe(name), weights=weights)
        if self.batch is not None:
            self._follow(op, [value for value in inputs if value is not None], made)
        return made

    def _follow(self, op: Op, inputs: Sequence[Value], made: Sequence[Value]) -> None:
        """Keeps account of which values have another axis in their batch."""
        names = {value.name for value in made}
        if isinstance(op, (ops.Constant, ops.Parameter)) or (inputs and {v.name for v in inputs} <= self._unbatched):
            self._unbatched |= names
            return
        if op.inputs[-1:] == ("like",) and not isinstance(op, (ops.Zeros, ops.Unfold)):
            inputs = inputs[:-1]  # the other gives its dtype alone
        batched = [value.name for value in inputs if value.name not in self._unbatched]
        if isinstance(op, (ops.Fold, ops.Unfold)):  # `fold` says what it is; an unfolded value is as its like
            if isinstance(op, ops.Unfold) and inputs[1].name in self.folded:
                self.folded |= dict.fromkeys(names, self.folded[inputs[1].name])
            return
        found = [self.folded.get(name) for name in batched]
        known = next((like for like in found if like is not None), None)
        if known is None:
            return
        if any(like is None or self.lengths(like)[:2] != self.lengths(known)[:2] for like in found):
            raise SpecError("one of its inputs has another axis in its batch, and another has not")
        self.folded |= dict.fromkeys(names, known)

    def fold(self, x: Flow) -> Flow:
        """The first two axes as one, of which one is the batch."""
        value = self.op(ops.Fold(), x.value)
        self.folded[value.name] = x
        have = self.lengths(x)
        return Flow(value, 0, (times(have[0], have[1]), *have[2:]))

    def unfold(self, x: Flow) -> Flow:
        """The way back."""
        like = self.folded[x.value.name]
        if x.batch != 0:
            raise SpecError("it takes apart a batch that holds another axis, and is not first")
        value = self.op(ops.Unfold(), x.value, like.value)
        return Flow(value, like.batch, (*self.lengths(like)[:2], *self.lengths(x)[1:]))

    def weight(self, name: str, array: Array, key: Any = None) -> str:
        """The path of a weight: the name that it has in ONNX, or one like it. The same ``key`` gives the same path."""
        unique = (name, key, array.shape) if name else object()
        if unique not in self._paths:
            self.budget.limit(array.size)
            path = base = self._safe(name or f"{self._name}/constant")
            k = 0
            while path in self.weights:
                k += 1
                path = f"{base}_{k}"
            self._paths[unique] = path
            self.weights[path] = contiguous(np.asarray(array, self.dtype))
        return self._paths[unique]

    def named(self, path: str) -> tuple[str, Array, Any]:
        """What a weight was made of: its name, its numbers, and its key."""
        made = next(unique for unique, known in self._paths.items() if known == path)
        name, key = made[:2] if isinstance(made, tuple) else (path, object())
        return name, self.weights[path], key

    def _safe(self, name: str) -> str:
        """A name that files may have: the same, but for what they may not."""
        kept = re.sub(r"[^\w.:\-/]", "_", name)
        parts = [part if part.strip(".") else part.replace(".", "_") for part in kept.split("/") if part]
        found = "/".join(parts)[:200] or "value"
        return found if is_name(found) else "value"

    def parameter(self, known: Known, array: Array | None = None) -> Value:
        """Known floats as a value of the program; a single number as a constant needs a value ``like``."""
        numbers = known.array if array is None else array
        key = None if array is None else array.shape
        path = self.weight(known.name, numbers, key)
        return self.op(ops.Parameter(numbers.shape), weights={"value": path})

    def constant(self, number: float, like: Value) -> Value:
        """One number."""
        return self.op(ops.Constant((float(number),), ()), like)

    @property
    def first(self) -> Flow:
        """Some value of the model."""
        if self.like is None:
            raise SpecError("it is given only numbers that do not depend on the model's input")
        return self.like

    def flow(self, given: Given, like: Flow | None = None) -> Flow:
        """A value of the program; zeros and the like take their batch from ``like``."""
        if isinstance(given, Flow):
            return given
        return self.spread(given, like or self.first)

    def spread(self, given: Known | Filled | Ramp, like: Flow) -> Flow:
        """Known numbers as a value with a batch: repeated along it, where they have length 1 there."""
        from lstmcore.interop.onnx.readers import open_numbers

        source = self.float_like(like)
        if isinstance(given, Ramp):
            return open_numbers.ramp(self, given, like)
        if isinstance(given, Known) and not given.whole and given.array.size == 1:
            return open_numbers.length(self, given.lengths()[0], like.batch, given.rank, like)
        if isinstance(given, Known):
            if given.array.dtype.kind != "f":
                raise SpecError(f"known numbers of {given.array.dtype} meet values of the model")
            shape: tuple[Length, ...] = given.array.shape
        else:
            shape = given.shape
        batch = None if self.batch is None else next((k for k, n in enumerate(shape) if n == self.batch), like.batch)
        if batch is not None and (batch >= len(shape) or (shape[batch] != self.batch and shape[batch] != 1)):
            raise SpecError(f"numbers of shape {shape} have no axis for the batch")
        y = self.zeros([n for k, n in enumerate(shape) if k != batch], source)
        if isinstance(given, Filled):
            y = y if given.number == 0 else self.op(ops.Binary("add"), y, self.constant(given.number, y))
        elif given.array.any():
            numbers = given.array if batch is None else np.squeeze(given.array, batch)
            y = self.op(ops.Binary("add"), y, self.parameter(given, np.ascontiguousarray(numbers)))
        lengths = list(shape)
        if batch is not None and self.batch is not None:
            lengths[batch] = self.batch
        return Flow(y, batch, tuple(lengths))

    def zeros(self, rest: Sequence[Length], like: Value) -> Value:
        """Zeros (batch, *rest), also where lengths of the rest are open."""
        y = self.op(ops.Zeros(tuple(1 if isinstance(n, Open) else n for n in rest)), like)
        for k, n in enumerate(rest):
            if isinstance(n, Open):
                shape = tuple(-1 if place == k else 1 for place in range(len(rest)))
                y = self.op(ops.Binary("add"), y, self.op(ops.Reshape(shape), self.zeros_along(n)))
        return y

    def zeros_along(self, n: Open) -> Value:
        """Zeros (batch, n) for a length that is open: that of an axis of some value."""
        if n not in self._blanks:
            self._blanks[n] = self._new_zeros_along(n)
        return self._blanks[n]

    def _new_zeros_along(self, n: Open) -> Value:
        for given in self.known.values():
            if not isinstance(given, Flow) or given.value.name in self.folded:
                continue
            for k, length in enumerate(self.lengths(given)):
                if length == n and k != given.batch:
                    return self._blank(given, given.axis(k))
        raise SpecError(f"it makes numbers along the open length {n}, which no value has; {give(n)}")

    def _blank(self, like: Flow, place: int) -> Value:
        """Zeros as long as one axis of the program's."""
        value = like.value
        for axis in range(1, len(value.shape)):
            if axis != place:
                value = self.op(ops.Slice(axis, 0, 1), value)
        value = self.float_like(Flow(value, like.batch))
        value = self.op(ops.Reshape((-1,)), value)
        return self.op(ops.Cast(), self.op(ops.Binary("less"), value, value), value)

    def float_like(self, like: Flow) -> Value:
        """A float value of that batch."""
        if like.kind == "float":
            return like.value
        return self.op(ops.Cast(), like.value, self.some_float())

    def some_float(self) -> Value:
        """A float value, for its dtype: one of the model, or if there is none a weight.

        That is an embedding, where there is one: files in which ids come first have it anyway.
        """
        for given in self.known.values():
            if isinstance(given, Flow) and given.kind == "float":
                return given.value
        tables = (node.input[0] for node in self.loaded.graph.node if node.op_type == "Gather")
        found = (self.loaded.arrays[name] for name in tables if name in self.loaded.arrays)
        table = next((array for array in found if array.ndim == 2 and array.dtype.kind == "f"), None)
        if table is None:
            return self.op(ops.Parameter((1,)), weights={"value": self.weight("one", np.ones(1), "one")})
        name = next(name for name, array in self.loaded.arrays.items() if array is table)
        return self.op(ops.Parameter(table.shape), weights={"value": self.weight(name, table)})

    def lengths(self, flow: Flow) -> list[Length]:
        """The lengths of its axes in ONNX."""
        found: list[Length] = []
        for k in range(flow.rank):
            n = flow.value.shape[flow.axis(k)]
            if flow.batch is not None and k == flow.batch and self.batch is not None:
                inside = self.folded.get(flow.value.name)
                found.append(self.batch if inside is None else times(*self.lengths(inside)[:2]))
            elif n is not None:
                found.append(n)
            else:
                told = flow.lengths[k] if k < len(flow.lengths) else None
                found.append(told if isinstance(told, Open) else opened(f"{flow.value.name}[{k}]", ()))
        return found
