"""Model: any graph of layers between inputs and outputs, in Keras' functional manner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lstmcore import configs, tree
from lstmcore.errors import InputError, SpecError, near
from lstmcore.layers.module import Lowered, Mask, Module
from lstmcore.layers.symbolic import SymbolicTensor
from lstmcore.models.graph import Graph
from lstmcore.models.training import TrainableModel
from lstmcore.naming import unique
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Program, Value


class Model(TrainableModel):
    """The layers between ``inputs`` and ``outputs``: what ``Input`` and layers called on it return.

    Each may be one symbolic tensor, or a list, tuple or dict of them; ``predict`` takes and returns the same
    structure. A layer used several times shares its weights; a model is used like a layer.
    """

    takes_several: ClassVar[bool] = True

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
        self._input_names = self._name_inputs()
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
        return list(self._input_names)

    @property
    def output_names(self) -> list[str]:
        names: list[str] = []
        for tensor in self._graph.outputs:
            names.append(unique(self._graph.names.get(tensor.call.module, tensor.name), set(names)))
        return names

    def _name_inputs(self) -> list[str]:
        names: dict[SymbolicTensor, str] = {
            tensor: self._graph.names[tensor.call.module] for tensor in self._graph.inputs if tensor.is_input
        }
        for tensor in self._graph.inputs:
            if not tensor.is_input:
                names[tensor] = unique(f"{tensor.name}_{tensor.index}", set(names.values()))
        return [names[tensor] for tensor in self._graph.inputs]

    def _ends(self) -> Sequence[SymbolicTensor]:
        return (*self._graph.inputs, *self._graph.outputs)

    def _lower(self) -> Program:
        return self._lower_for([tensor.shape for tensor in self._graph.inputs])

    def lower_into(self, build: Builder, shapes: Sequence[Shape]) -> tuple[list[Value], list[Mask]]:
        kinds = self._graph.kinds()
        given = {
            tensor: (build.input(name, shape, kinds[tensor]), None)
            for tensor, name, shape in zip(self._graph.inputs, self.input_names, shapes, strict=True)
        }
        return self._graph.lower(build, given)

    def lower(self, build: Builder, x: Any, mask: Any, **call: Any) -> Lowered:
        values = self._matching(x, "tensors")
        several = isinstance(mask, (list, tuple, Mapping))
        masks = self._matching(mask, "masks") if several else [mask] * len(values)
        for tensor, value in zip(self._graph.inputs, values, strict=True):
            _check_fits(self.called(), tensor, value)
        given = dict(zip(self._graph.inputs, zip(values, masks, strict=True), strict=True))
        outputs, after = self._graph.lower(build, given)
        return tuple(outputs), tuple(after)

    def _matching(self, x: Any, what: str) -> list[Any]:
        """The inputs, or their masks, in the order of this model's, from a list or a dict of them."""
        try:
            given = list(self._by_input(x).values()) if isinstance(x, Mapping) else list(tree.leaves(x))
        except InputError as error:
            raise SpecError(str(error)) from None
        if len(given) != len(self._graph.inputs):
            raise SpecError(f"it is called on {len(given)} {what}; it takes {len(self._graph.inputs)}")
        return given

    def _by_input(self, x: Any) -> Any:
        names = self.input_names
        if _nests(self._inputs) and (entries := _matched(self._inputs, x)) is not None:
            return dict(zip(names, entries, strict=True))
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


def _nests(structure: Any) -> bool:
    """Whether it is a dict, or a list of lists or dicts."""
    below = structure if isinstance(structure, (list, tuple)) else ()
    return isinstance(structure, Mapping) or any(isinstance(entry, (list, tuple, Mapping)) for entry in below)


def _matched(structure: Any, x: Any) -> list[Any] | None:
    try:
        return list(tree.matched(structure, x))
    except ValueError:
        return None


def _check_fits(owner: str, tensor: SymbolicTensor, value: Value) -> None:
    same = len(tensor.shape) == len(value.shape) and all(
        a is None or b is None or a == b for a, b in zip(tensor.shape, value.shape, strict=True)
    )
    if not same:
        raise SpecError(f"{owner} has an input {tensor.name!r} of shape {tensor.shape}; it is called on {value.shape}")
