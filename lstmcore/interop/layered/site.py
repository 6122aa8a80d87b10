"""A node on its way to a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.layers.operation import Operation
from lstmcore.ops import Op
from lstmcore.program import Node

if TYPE_CHECKING:
    from lstmcore.interop.layered.graph import Lifting


@dataclass
class Site:
    """A node on its way to a layer: what the layers before it made, and its own weights."""

    lifting: Lifting
    node: Node
    weights: Mapping[str, Any]

    @property
    def op(self) -> Any:
        return self.node.op

    @property
    def shift(self) -> int:
        """1 where the steps are among the samples of the op, and between layers are an axis of their own."""
        return int(self.node.inputs[0] in self.lifting.folded)

    def shape(self, k: int = 0) -> tuple[int | None, ...]:
        """The shape of an input."""
        return self.lifting.program.values[str(self.node.inputs[k])].shape

    def tensor(self, k: int = 0) -> Any:
        """An input as a layer made it; SpecError for one that is the same for all data."""
        name = self.node.inputs[k]
        if name not in self.lifting.tensors:
            raise SpecError(f"its input {name!r} is no tensor between layers")
        return self.lifting.tensors[name]

    def maker(self, k: int) -> Op | None:
        """The op that made an input; None for an input of the model."""
        made = self.lifting.makers.get(str(self.node.inputs[k]))
        return None if made is None else made.op

    def number(self, k: int) -> float | None:
        """The number that an input is, where it is one."""
        op = self.maker(k)
        return float(op.values[0]) if isinstance(op, ops.Constant) and len(op.values) == 1 else None

    def state(self, port: str) -> Any:
        """A state that enters, or a mask; None where it is not given, or zeros."""
        ports = (*self.op.inputs, *self.op.optional)
        k = ports.index(port)
        name = self.node.inputs[k] if k < len(self.node.inputs) else None
        if name is None or name in self.lifting.befores or isinstance(self.maker(k), ops.Zeros):
            return None
        return self.tensor(k)

    def call(self, layer: Any, *inputs: Any, **keywords: Any) -> Any:
        """What the layer makes of the inputs, by default of the node's first; it gets the node's weights."""
        given = list(inputs) or [self.tensor()]
        made = layer(given[0] if len(given) == 1 else given, **keywords)
        if self.weights:
            self.lifting.weights.append((layer, self.weights))
        return made

    def make(self, kind: Callable[..., Any], *options: Any, **named: Any) -> Any:
        """A layer, called as the node is; the same one for nodes with the same weights."""
        key = (kind, self.op, self.shift, *self.node.weights.items())
        if not self.weights or key not in self.lifting.layers:
            # what it makes then is not what the node makes, and has another name
            name = f"{self.node.name}_at_each_step" if self.shift else self.node.name
            common = {"name": self.lifting.called(name), "dtype": self.lifting.model.dtype}
            self.lifting.layers[key] = kind(*options, **named, **common)
        return self.lifting.layers[key]

    def operation(self, function: str, *inputs: Any, **arguments: Any) -> list[Any]:
        """The outputs of an operation between layers."""
        return [self.call(self.make(Operation, function, arguments or None), *inputs)]
