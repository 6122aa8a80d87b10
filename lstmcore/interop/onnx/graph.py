"""A graph of ONNX nodes in the making: names, constants, lengths that are known and lengths that are not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.interop.onnx.library import onnx
from lstmcore.naming import unique
from lstmcore.ops import Kind, Tensor

Array = NDArray[Any]
OPSET = 17
OPTIONAL_OUTPUTS = ("LSTM", "GRU", "RNN")
Length = int | str  # known, or the name of a tensor with that one number


class Graph:
    """Nodes in order, and what they read. A graph within another (`inner`) sees the values of the outer one.

    Every name is given once. Constants of the same bytes are one.
    """

    def __init__(self, dtype: str, outer: Graph | None = None) -> None:
        self.dtype = np.dtype(dtype)
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {} if outer is None else outer.arrays
        self.taken: set[str] = set() if outer is None else outer.taken
        self._constants: dict[tuple[Any, ...], str] = {} if outer is None else outer._constants
        self.reverses: dict[str, str] = {}  # a value -> its steps in reverse, both ways
        self.scope: str = "graph" if outer is None else outer.scope
        self.outer = outer

    def inner(self) -> Graph:
        """A graph inside, whose nodes may read what is here."""
        return Graph(self.dtype.name, self)

    def name(self, wanted: str) -> str:
        """A name not given before, the wanted one if that is free."""
        found = unique(wanted, self.taken)
        self.taken.add(found)
        return found

    def op(self, kind: str, *inputs: str | None, **attributes: Any) -> str:
        """A node of one output; the output's name."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str | None, **attributes: Any) -> tuple[str, ...]:
        """A node of several outputs; their names."""
        name = self.name(f"{self.scope}/{kind}")
        made = tuple(self.name(f"{name}:{k}") for k in range(outputs))
        given = [entry or "" for entry in inputs]
        while given and not given[-1]:
            given.pop()
        self.nodes.append(onnx().helper.make_node(kind, given, made, name=name, **attributes))
        return made

    # Constants.

    def array(self, name: str, array: Array) -> str:
        """A constant under a name of its own."""
        given = self.name(name)
        self.arrays[given] = array
        return given

    def constant(self, value: Any, dtype: Any) -> str:
        """A constant of which nobody asks the name."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.array("constant", array)
        return self._constants[key]

    def number(self, value: float) -> str:
        """A scalar in the dtype of the model."""
        return self.constant(value, self.dtype)

    def whole(self, value: int | Sequence[int]) -> str:
        """int64, as lengths and axes are."""
        return self.constant(value, np.int64)

    def holds(self, number: float | None) -> bool:
        """Whether an attribute of a node, which is float32, can hold a number to the model's precision."""
        return number is None or self.dtype == np.float32 or float(np.float32(number)) == number

    # Types and lengths.

    def element(self, kind: Kind) -> int:
        """ONNX's number for a kind."""
        types = onnx().TensorProto
        floats = {"float32": types.FLOAT, "float64": types.DOUBLE}
        return int({"float": floats[self.dtype.name], "int": types.INT32, "bool": types.BOOL}[kind])

    def length(self, value: str, tensor: Tensor, axis: int) -> Length:
        """The length of an axis: a number where it is known."""
        known = tensor.shape[axis]
        if known is not None:
            return known
        axis %= len(tensor.shape)
        return self.op("Shape", value, start=axis, end=axis + 1)

    def shape(self, lengths: Sequence[Length]) -> str:
        """Lengths as one int64 tensor."""
        if all(isinstance(length, int) for length in lengths):
            return self.whole([int(length) for length in lengths])
        parts: list[str] = []
        run: list[int] = []
        for length in (*lengths, None):
            if isinstance(length, int):
                run.append(length)
                continue
            if run:
                parts.append(self.whole(run))
                run = []
            if length is not None:
                parts.append(length)
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0)

    def reshape(self, value: str, lengths: Sequence[Length]) -> str:
        """The value in another shape; one length may be -1."""
        return self.op("Reshape", value, self.shape(lengths))

    def zeros(self, lengths: Sequence[Length], kind: Kind = "float") -> str:
        """Zeros, a constant where all lengths are known."""
        if all(isinstance(length, int) for length in lengths):
            dtypes = {"float": self.dtype, "int": np.int32, "bool": np.bool_}
            return self.constant(np.zeros([int(length) for length in lengths]), dtypes[kind])
        helper = onnx().helper
        return self.op(
            "ConstantOfShape", self.shape(lengths), value=helper.make_tensor("", self.element(kind), [1], [0])
        )

    # What many writers need.

    def axes(self, kind: str, value: str, axes: Iterable[int]) -> str:
        """Squeeze or Unsqueeze."""
        return self.op(kind, value, self.whole(list(axes)))

    def transpose(self, value: str, order: Sequence[int]) -> str:
        """The axes in another order; nothing where they are in it."""
        return value if list(order) == list(range(len(order))) else self.op("Transpose", value, perm=list(order))

    def reverse(self, value: str) -> str:
        """The steps, axis 1, in reverse; turned round twice it is what it was."""
        if value not in self.reverses:
            limit = np.iinfo(np.int64)
            made = self.op("Slice", value, *(self.whole([k]) for k in (-1, int(limit.min), 1, -1)))
            self.reverses |= {value: made, made: value}
        return self.reverses[value]

    def prune(self, wanted: Sequence[str]) -> None:
        """Drops the nodes and constants that nothing wanted depends on."""
        needed, kept = set(wanted), []
        for node in reversed(self.nodes):
            if needed.isdisjoint(node.output):
                continue
            kept.append(node)
            needed |= {*node.input, *read_inside(node)}
            if node.op_type in OPTIONAL_OUTPUTS:
                _drop_outputs(node, needed)
        self.nodes = kept[::-1]
        if self.outer is None:
            self.arrays = {name: array for name, array in self.arrays.items() if name in needed}


def _drop_outputs(node: Any, needed: set[str]) -> None:
    for k, output in enumerate(node.output):
        if output not in needed:
            node.output[k] = ""
    while node.output and not node.output[-1]:
        node.output.pop()


def read_inside(node: Any) -> set[str]:
    """What the graphs within a node read."""
    found: set[str] = set()
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found |= {output.name for output in attribute.g.output}
            for inner in attribute.g.node:
                found |= {*inner.input, *read_inside(inner)}
    return found
