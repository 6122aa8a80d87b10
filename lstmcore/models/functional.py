"""Model: any graph of layers between inputs and outputs, in Keras' functional manner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstmcore import configs, tree
from lstmcore.errors import InputError, SpecError, near
from lstmcore.layers.module import Lowered, Module
from lstmcore.layers.symbolic import SymbolicTensor
from lstmcore.models.base import BaseModel
from lstmcore.models.graph import Graph
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Program, Value


class Model(BaseModel):
    """The layers between ``inputs`` and ``outputs``: what ``Input`` and layers called on it return.

    Each may be one symbolic tensor, or a list, tuple or dict of them; ``predict`` takes and returns the same
    structure. A layer used several times shares its weights; a model is used like a layer.
    """

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True
    ) -> None:
        if inputs is None or outputs is None:
            raise SpecError(
                f"{type(self).__name__} takes inputs and outputs: x = Input(...); y = layer(x); Model(x, y). "
                "A model of your own class with a call method is not supported: its code runs on one engine only"
            )
        super().__init__(name, trainable)
        self._inputs, self._outputs = inputs, outputs
        self._graph = Graph(f"model {self.name!r}", inputs, outputs)
        self._program = self._lower()
        for module, name in self._graph.names.items():
            call = self._graph.uses(module)[-1]
            self._layer_shapes[name] = tree.transform(lambda tensor: tensor.shape, call.first)
            self.layer_outputs[name] = [tensor.shape for tensor in call.outputs]

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The input tensors."""
        return list(self._graph.inputs)

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The output tensors."""
        return list(self._graph.outputs)

    @property
    def input(self) -> Any:
        """The inputs in their structure."""
        return self._inputs

    @property
    def output(self) -> Any:
        """The outputs in their structure."""
        return self._outputs

    @property
    def graph(self) -> Graph:
        """The calls of the layers."""
        return self._graph

    @property
    def named_layers(self) -> dict[str, Module]:
        return {name: module for module, name in self._graph.names.items()}

    def arrange(self, outputs: Sequence[Any]) -> Any:
        return tree.fill(self._outputs, iter(outputs))

    def _arrange_inputs(self, inputs: Sequence[Any]) -> Any:
        return tree.fill(self._inputs, iter(inputs))

    # Lowering.

    def wanted_kind(self) -> Kind | None:
        kinds = set(self._graph.kinds().values())
        return kinds.pop() if len(kinds) == 1 else None

    @property
    def input_names(self) -> list[str]:
        """What the program calls the inputs."""
        return [
            self._graph.names.get(tensor.call.module, tensor.name)
            if tensor.is_input
            else f"{tensor.name}_{tensor.index}"
            for tensor in self._graph.inputs
        ]

    def _lower(self) -> Program:
        return self._lower_for([tensor.shape for tensor in self._graph.inputs])

    def _lower_for(self, shapes: Sequence[Shape]) -> Program:
        """The program for inputs of these shapes."""
        build = Builder()
        kinds = self._graph.kinds()
        given = {
            tensor: (build.input(name, shape, kinds[tensor]), None)
            for tensor, name, shape in zip(self._graph.inputs, self.input_names, shapes, strict=True)
        }
        outputs, _ = self._graph.lower(build, given)
        return build.finish([output.name for output in outputs])

    def lower(self, build: Builder, x: Any, mask: Any, **call: Any) -> Lowered:
        values = list(tree.leaves(self._matching(x)))
        masks = list(tree.leaves(mask)) if isinstance(mask, (list, tuple, Mapping)) else [mask] * len(values)
        for tensor, value in zip(self._graph.inputs, values, strict=True):
            _check_fits(self.called(), tensor, value)
        given = dict(zip(self._graph.inputs, zip(values, masks, strict=True), strict=True))
        outputs, after = self._graph.lower(build, given)
        return tuple(outputs), tuple(after)

    def _matching(self, x: Any) -> Any:
        """The inputs in the order of this model's, from a list or a dict of them."""
        if isinstance(x, Mapping):
            return list(self._by_input(x).values())
        given = list(tree.leaves(x))
        if len(given) != len(self._graph.inputs):
            raise SpecError(f"it is called on {len(given)} tensors; it takes {len(self._graph.inputs)}")
        return given

    def _by_input(self, x: Any) -> Any:
        names = self.input_names
        if isinstance(x, Mapping) and isinstance(self._inputs, Mapping) and set(x) == set(self._inputs):
            return dict(zip(names, tree.leaves({key: x[key] for key in self._inputs}), strict=True))
        if isinstance(x, Mapping):
            if not set(names) <= set(x):
                raise InputError(f"inputs given: {sorted(map(str, x))}; expected {sorted(names)}")
            return {name: x[name] for name in names}
        if isinstance(self._inputs, Mapping) and len(names) == 1 and not isinstance(x, (list, tuple)):
            return {names[0]: x}
        return x

    # Description.

    def serialize(self) -> dict[str, Any]:
        data = configs.wrap("keras.src.models.functional", "Functional", self.get_config())
        return {**data, "registered_name": "Functional", "build_config": {"input_shape": None}}

    def get_config(self) -> dict[str, Any]:
        from lstmcore.models.wiring import write

        return {"name": self.name, "trainable": self.trainable, **write(self._graph, self._inputs, self._outputs)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Model:
        """The model that has this config. SpecError for what does not hold together in it."""
        from lstmcore.models.wiring import read

        known = ("name", "trainable", "dtype", "layers", "input_layers", "output_layers")
        for key in config:
            if key not in known:
                raise SpecError(f"a functional model has no config key {key!r}.{near(key, known)}")
        inputs, outputs = read(config)
        return cls(inputs, outputs, config.get("name"), bool(config.get("trainable", True)))


def _check_fits(owner: str, tensor: SymbolicTensor, value: Value) -> None:
    same = len(tensor.shape) == len(value.shape) and all(
        a is None or b is None or a == b for a, b in zip(tensor.shape, value.shape, strict=True)
    )
    if not same:
        raise SpecError(f"{owner} has an input {tensor.name!r} of shape {tensor.shape}; it is called on {value.shape}")
