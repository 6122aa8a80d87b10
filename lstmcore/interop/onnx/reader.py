"""An ONNX graph becomes a program: node by node, by the table of readers.

What is known before the model runs is computed here, so that the lengths that exporters compute by nodes are numbers.
The batch is tracked from axis to axis; the program has it first. A file that names no batch runs as one call: the
program's first axis is the call, and all of ONNX's axes follow (`Flow`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore import ops
from lstmcore.errors import DamagedFileError, FileError, SpecError, UnsupportedFileError, near
from lstmcore.interop.onnx.library import onnx
from lstmcore.interop.onnx.loading import Loaded, array
from lstmcore.interop.onnx.values import Array, Filled, Flow, Given, Known, Length, Open
from lstmcore.ops import Kind, Op
from lstmcore.program import Builder, Value
from lstmcore.storage.container import is_name, show

KINDS: Mapping[str, Kind] = {"f": "float", "i": "int", "u": "int", "b": "bool"}
# What comes of an attribute of another type, a number out of range, numbers of shapes that do not fit.
_MISFITS = (TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError, ZeroDivisionError)
# What all nodes together may compute before the model runs: numbers, beside so many for each that the file holds, and
# products of numbers; and into how many parts they may cut the model's values.
MOST_CONSTANT, FOR_EACH = 1 << 20, 4
MOST_PRODUCTS = 1 << 28
MOST_PARTS = 1 << 14


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

    def __init__(self, loaded: Loaded, dtype: str, batch: Open | None) -> None:
        self.loaded = loaded
        self.opset = loaded.opset
        self.dtype = dtype
        self.batch = batch
        self.build = Builder()
        self.known: dict[str, Given] = {}
        self.weights: dict[str, Array] = {}
        self._paths: dict[Any, str] = {}
        self._name = ""
        self._numbers = MOST_CONSTANT + FOR_EACH * sum(held.size for held in loaded.arrays.values())
        self._products, self._parts = MOST_PRODUCTS, MOST_PARTS

    # The graph.

    def run(self, graph: Any) -> None:
        """Reads every node of a graph."""
        from lstmcore.interop.onnx.readers import READERS

        for node in graph.node:
            self._name = node.name or (node.output[0] if node.output else node.op_type)
            if node.op_type not in READERS:
                raise UnsupportedFileError(f"{self._where(node)} is not read.{near(node.op_type, READERS)}")
            try:
                call = self.call(node)
                made = READERS[node.op_type](self, call)
                self._bind(node, made)
            except FileError:
                raise
            except SpecError as error:
                raise UnsupportedFileError(f"{self._where(node)}: {error}") from None
            except _MISFITS as error:
                raise DamagedFileError(
                    f"{self._where(node)}: its inputs or attributes are not those of such a node: {error}"
                ) from None

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
        return self.build.op(op, *inputs, name=self._safe(self._name), weights=weights)[0]

    def weight(self, name: str, array: Array, key: Any = None) -> str:
        """The path of a weight: the name that it has in ONNX, or one like it. The same ``key`` gives the same path."""
        unique = (name, key, array.shape) if name else object()
        if unique not in self._paths:
            self.limit(array.size)
            path = base = self._safe(name or f"{self._name}/constant")
            k = 0
            while path in self.weights:
                k += 1
                path = f"{base}_{k}"
            self._paths[unique] = path
            self.weights[path] = np.ascontiguousarray(array, self.dtype)
        return self._paths[unique]

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

    def flow(self, given: Given, like: Flow | None = None) -> Flow:
        """A value of the program; zeros and the like take their batch from ``like``."""
        if isinstance(given, Flow):
            return given
        if like is None:
            raise SpecError("it is given only numbers that do not depend on the model's input")
        return self.spread(given, like)

    def spread(self, given: Known | Filled, like: Flow) -> Flow:
        """Known numbers as a value with a batch: repeated along it, where they have length 1 there."""
        source = self.float_like(like)
        if isinstance(given, Known):
            if given.array.dtype.kind != "f":
                raise SpecError(f"known numbers of {given.array.dtype} meet values of the model")
            shape: tuple[Length, ...] = given.array.shape
        else:
            shape = given.shape
        batch = None if self.batch is None else next((k for k, n in enumerate(shape) if n is self.batch), like.batch)
        if batch is not None and (batch >= len(shape) or (shape[batch] is not self.batch and shape[batch] != 1)):
            raise SpecError(f"numbers of shape {shape} have no axis for the batch")
        rest = [n for k, n in enumerate(shape) if k != batch]
        if any(isinstance(n, Open) for n in rest):
            raise SpecError(f"numbers of shape {shape}: a length other than the batch is open; give lengths=")
        whole = tuple(int(n) for n in rest if not isinstance(n, Open))
        y = self.op(ops.Zeros(whole), source)
        if isinstance(given, Filled):
            y = y if given.number == 0 else self.op(ops.Binary("add"), y, self.constant(given.number, y))
        elif given.array.any():
            numbers = given.array if batch is None else np.squeeze(given.array, batch)
            y = self.op(ops.Binary("add"), y, self.parameter(given, np.ascontiguousarray(numbers)))
        lengths = list(shape)
        if batch is not None and self.batch is not None:
            lengths[batch] = self.batch
        return Flow(y, batch, tuple(lengths))

    def float_like(self, like: Flow) -> Value:
        """A float value of that batch."""
        if like.kind == "float":
            return like.value
        one = self.op(ops.Parameter((1,)), weights={"value": self.weight("one", np.ones(1))})
        return self.op(ops.Cast(), like.value, one)

    def lengths(self, flow: Flow) -> list[Length]:
        """The lengths of its axes in ONNX."""
        found: list[Length] = []
        for k in range(flow.rank):
            n = flow.value.shape[flow.axis(k)]
            if flow.batch is not None and k == flow.batch and self.batch is not None:
                found.append(self.batch)
            elif n is not None:
                found.append(n)
            else:
                told = flow.lengths[k] if k < len(flow.lengths) else None
                found.append(told if isinstance(told, Open) else Open(f"{flow.value.name}[{k}]"))
        return found

    def held(self, count: int) -> None:
        """Notes that a node holds so many numbers itself."""
        self._numbers += FOR_EACH * count

    def limit(self, *shape: int, products: int = 0) -> None:
        """Spends so many known numbers, and products of them; SpecError where these are more than the file is worth."""
        count = math.prod(shape)
        self._numbers -= count
        self._products -= count * products
        if self._numbers < 0 or self._products < 0:
            told = f"it would make {shape} numbers before the model runs"
            raise SpecError(f"{told}; with those before it, that is more than is made of a file of this size")

    def parts(self, count: int) -> None:
        """Spends parts that a value is cut into, or put together of; SpecError where they are too many."""
        self._parts -= count
        if self._parts < 0:
            raise SpecError(f"it would cut its input into {count} parts; at most {MOST_PARTS} are made of all values")
