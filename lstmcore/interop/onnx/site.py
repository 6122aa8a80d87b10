"""What a writer is given: one node of a program, and the ONNX graph it goes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import layouts
from lstmcore.errors import ExportError
from lstmcore.interop.onnx.graph import Graph, Length
from lstmcore.ops import Recurrent, Shape, Tensor
from lstmcore.program import Node, Program

Array = NDArray[Any]


class Weights:
    """The weights by path, and what becomes of each: a constant of the ONNX graph, as it is or in ONNX's layout.

    ``kept`` says for each path which constant holds it, and how to have it back from there; ``made`` for each constant
    of which weights it is made, and how. With ``bare`` the constants have shapes and no numbers.
    """

    def __init__(self, arrays: Mapping[str, Array], bare: bool = False) -> None:
        self.arrays = arrays
        self.bare = bare
        self.made: dict[str, tuple[Recurrent | None, str, tuple[str, ...]]] = {}
        self.kept: dict[str, tuple[str, Recurrent | None, str, int]] = {}
        self._made: dict[tuple[Any, ...], str] = {}

    def plain(self, graph: Graph, path: str) -> str:
        """A weight as it is."""
        key = (path,)
        if key not in self._made:
            array = self._array(graph, path)
            self._made[key] = graph.array(path, _numberless(array.shape, array.dtype) if self.bare else array)
            self.made[self._made[key]] = (None, "", (path,))
            self.kept.setdefault(path, (self._made[key], None, "", 0))
        return self._made[key]

    def laid_out(self, graph: Graph, op: Recurrent, port: str, paths: tuple[str, ...]) -> str:
        """The same weight of one recurrent op, or of two for both directions, as ONNX's recurrent nodes take it."""
        key = (paths, type(op), port)
        if key not in self._made:
            self._made[key] = graph.array(_common(paths), self._laid_out(graph, op, port, paths))
            self.made[self._made[key]] = (op, port, paths)
            for direction, path in enumerate(paths):
                self.kept.setdefault(path, (self._made[key], op, port, direction))
        return self._made[key]

    def _laid_out(self, graph: Graph, op: Recurrent, port: str, paths: tuple[str, ...]) -> Array:
        arrays = [self._array(graph, path) for path in paths]
        if not self.bare:
            return np.concatenate([layouts.to_foreign("onnx", op, port, array) for array in arrays])
        one, *rest = layouts.foreign_shape("onnx", op, port, arrays[0].shape)
        return _numberless((one * len(paths), *rest), graph.dtype)

    def _array(self, graph: Graph, path: str) -> Array:
        array = np.asarray(self.arrays[path])
        if array.dtype != graph.dtype:
            raise ExportError(f"weight {path!r} is of {array.dtype}; the others are of {graph.dtype}")
        return array


def _numberless(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return np.broadcast_to(np.zeros((), dtype), shape)


def _common(paths: tuple[str, ...]) -> str:
    """A name for what is made of several weights: that of the first, without what only it has."""
    parts = [path.split("/") for path in paths]
    shared = [entries[0] for entries in zip(*parts, strict=False) if len(set(entries)) == 1]
    return "/".join(shared) or paths[0]


@dataclass(frozen=True)
class Site:
    """One node: the names of its inputs in the graph, None where absent, and what is known of them."""

    graph: Graph
    program: Program
    node: Node
    inputs: tuple[str | None, ...]
    tensors: tuple[Tensor | None, ...]
    weights: Weights
    zeros: frozenset[str]  # inputs that are zero: states at the start of a sequence
    partner: Site | None = None  # the same op over the same steps in reverse

    @property
    def op(self) -> Any:
        return self.node.op

    @property
    def x(self) -> str:
        """The first input."""
        return self.at(0)

    @property
    def tensor(self) -> Tensor:
        """What is known of the first input."""
        return self.tensor_at(0)

    def at(self, position: int) -> str:
        """An input that is there."""
        name = self.inputs[position]
        assert name is not None, self.node
        return name

    def tensor_at(self, position: int) -> Tensor:
        """What is known of an input that is there."""
        tensor = self.tensors[position]
        assert tensor is not None, self.node
        return tensor

    def port(self, name: str) -> int:
        """The position of an input by the name that the op has for it."""
        return (*self.op.inputs, *self.op.optional).index(name)

    @property
    def result(self) -> Shape:
        """The shape of the first output."""
        return self.program.values[self.node.outputs[0]].shape

    def lengths(self, position: int = 0) -> list[Length]:
        """The lengths of an input's axes."""
        tensor = self.tensor_at(position)
        return [self.graph.length(self.at(position), tensor, axis) for axis in range(len(tensor.shape))]

    def weight(self, port: str) -> str:
        """A weight as it is."""
        return self.weights.plain(self.graph, self.node.weights[port])

    def to(self, graph: Graph) -> Site:
        """The same for another graph."""
        return replace(self, graph=graph)
