"""Sequential: a chain of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstmcore import configs
from lstmcore.errors import InputError, SpecError, near
from lstmcore.layers.base import Layer
from lstmcore.layers.core import InputLayer, symbolic_input
from lstmcore.layers.module import Lowered, Mask, Module
from lstmcore.layers.options import DTYPE
from lstmcore.layers.serialization import deserialize, serialize
from lstmcore.layers.symbolic import Call, SymbolicTensor, hint, reason
from lstmcore.models.training import TrainableModel
from lstmcore.naming import snake, unique
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Program, Value


class Sequential(TrainableModel):
    """A chain of layers, given as a list or one by one with ``add``.

    The input's shape comes from an ``Input`` at the front, from the first layer's ``input_shape``,
    ``input_dim`` or ``input_length``, from ``build``, or from the first data.
    """

    def __init__(self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None) -> None:
        super().__init__(name, trainable)
        self._input: InputLayer | None = None
        self._named: dict[str, Module] = {}
        self._chain: list[Call] = []
        if not isinstance(layers, (Iterable, type(None))) or isinstance(layers, (str, bytes)):
            raise SpecError(f"Sequential takes a list of layers, not {layers!r}; wrap one layer in [...]")
        given = [_as_layer(entry) for entry in layers or ()]
        own = {layer.name for layer in given if not layer.auto_named}
        names = {name for name in own if name is not None}
        for layer in given:
            self._append(layer, names)
        self._build()

    @property
    def named_layers(self) -> dict[str, Module]:
        return dict(self._named)

    @property
    def output_names(self) -> list[str]:
        last = list(self._named)[-1]
        count = len(self.program.outputs)
        return [last] if count == 1 else [f"{last}_{k}" for k in range(count)]

    def wanted_kind(self) -> Kind | None:
        return next((layer.wanted_kind() for layer in self.layers if layer.wanted_kind() is not None), None)

    def add(self, layer: Any) -> None:
        """Appends a layer; one that does not fit is refused, and the model stays as it was."""
        before = self._input, dict(self._named)
        try:
            self._append(_as_layer(layer), set())
            self._build()
        except SpecError:
            self._input, self._named = before
            self._changed()
            raise

    def pop(self) -> Module:
        """Takes the last layer off and returns it."""
        if not self._named:
            raise SpecError(f"model {self.name!r} has no layer to pop")
        _, layer = self._named.popitem()
        self._changed()
        return layer

    def _append(self, layer: Module, reserved: set[str]) -> None:
        if isinstance(layer, InputLayer):
            if self._input is not None or self._named:
                raise SpecError(f"Sequential {self.name!r}: an Input stands first, and alone")
            layer.name_as("input_layer")
            self._input = layer
            return
        if any(layer is other for other in self._named.values()):
            raise SpecError(f"{layer!r} is in this Sequential already; a chain uses a layer once")
        if self._input is None and not self._named:
            self._input = _declared_input(layer)
        name = layer.name
        if name is None or layer.auto_named:
            name = unique(snake(type(layer).__name__), {*self._named, *reserved})
        if name in self._named:
            raise SpecError(f"Sequential {self.name!r} has two layers called {name!r}; names must differ")
        layer.name_as(name)
        self._named[name] = layer
        self._changed()

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Makes the weights, for inputs of that shape (with batch axis) where none was declared."""
        if input_shape is not None and self._input is None:
            self._try(InputLayer(batch_shape=input_shape, name="input_layer"))
        if self._input is None:
            raise self._no_input()
        if input_shape is not None and tuple(input_shape) != self._input.batch_shape:
            raise SpecError(
                f"model {self.name!r} has inputs of shape {self._input.batch_shape}; build was given {input_shape}"
            )
        self._build()

    def _try(self, candidate: InputLayer) -> None:
        """Takes the candidate for the input if the layers take it."""
        program, steps = self._trace(candidate)
        self._input = candidate
        self._changed()
        self._finish(program, steps)

    def _build(self) -> None:
        if self._input is not None and self._named:
            self._finish(*self._trace(self._input))

    def _finish(self, program: Program, steps: Sequence[Step]) -> None:
        for step in steps:
            start = f"{step.name}/"
            own = {path.removeprefix(start): n for path, n in program.weights.items() if path.startswith(start)}
            step.layer.take(own, step.taken.shape)
        self._program, self._layer_shapes = program, {step.name: step.taken.shape for step in steps}
        self.layer_outputs = {step.name: [output.shape for output in step.outputs] for step in steps}
        self._link(steps)

    def _link(self, steps: Sequence[Step]) -> None:
        """The chain as symbolic tensors, so that models can start or end at any layer of it."""
        for old in self._chain:
            if old in old.module.calls:
                old.module.calls.remove(old)
        assert self._input is not None
        tensor = symbolic_input(self._input)
        self._chain = [tensor.call]
        for step in steps:
            call = Call(step.layer, {step.layer.call_arguments[0]: tensor}, 1)
            shapes = [(y, None if m is None else m.shape) for y, m in zip(step.outputs, step.masks, strict=True)]
            tensor = call.finish(shapes, str(step.layer.dtype))[0]
            self._chain.append(call)

    def arrange(self, outputs: Sequence[Any]) -> Any:
        *_, last = self._named.values()
        return last.arrange(outputs)

    def _ends(self) -> Sequence[SymbolicTensor]:
        return self._chain[-1].outputs if self._chain else ()

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The input as a symbolic tensor, in a list."""
        self.program  # noqa: B018  builds the chain, or says that there is no input shape yet
        return list(self._chain[0].outputs)

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The outputs as symbolic tensors."""
        self.program  # noqa: B018
        return list(self._chain[-1].outputs)

    @property
    def input(self) -> Any:
        """The input as a symbolic tensor."""
        return self.inputs[0]

    @property
    def output(self) -> Any:
        """The output as a symbolic tensor."""
        return self.arrange(self.outputs)

    def take(self, shapes: Mapping[str, tuple[int, ...]], input_shape: Any = None) -> None:
        super().take(shapes, input_shape)
        if self._input is None and input_shape is not None:
            self._try(InputLayer(batch_shape=input_shape, name="input_layer"))

    @property
    def built(self) -> bool:
        return self._input is not None and bool(self._named)

    def _build_for(self, x: Any) -> None:
        from lstmcore.runtime.feed import as_array, check_shape, feed

        if self._input is not None or not self._named:
            return
        if any(getattr(layer, "stateful", False) for layer in self.layers):
            raise SpecError(f"model {self.name!r} is stateful: give it its batch size, Input(batch_shape=(batch, ...))")
        array = as_array(x, "input_layer")
        check_shape(array.shape, (None,) * max(array.ndim, 1), "input_layer")
        candidate = InputLayer(batch_shape=(None, *array.shape[1:]), name="input_layer")
        try:
            program, _ = self._trace(candidate)
        except SpecError as error:
            raise InputError(
                f"the first data have shape {array.shape}, which the layers do not take: {error}"
            ) from None
        feed(program, array, self.dtype)
        self._try(candidate)

    def _no_input(self) -> SpecError:
        return SpecError(
            f"model {self.name!r} does not know its input's shape: start it with Input(shape), give the first "
            "layer input_shape=, call build(input_shape), or give it data"
        )

    def _lower(self) -> Program:
        if self._input is None:
            raise self._no_input()
        program, steps = self._trace(self._input)
        self._finish(program, steps)
        return program

    def _trace(self, source: InputLayer) -> tuple[Program, list[Step]]:
        """The program, and what each layer took and made."""
        build = Builder()
        steps = self._trace_into(build, source, source.batch_shape)
        return build.finish([output.name for output in steps[-1].outputs]), steps

    def _trace_into(self, build: Builder, source: InputLayer, shape: Shape) -> list[Step]:
        x = build.input(source.name or "input_layer", shape, self._kind(source))
        return self._steps(build, x, None, source)

    def lower_into(self, build: Builder, shapes: Sequence[Shape]) -> tuple[list[Value], list[Mask]]:
        assert self._input is not None
        last = self._trace_into(build, self._input, shapes[0])[-1]
        return list(last.outputs), list(last.masks)

    def lower(self, build: Builder, x: Any, mask: Any, **call: Any) -> Lowered:
        if not isinstance(x, Value):
            raise SpecError(f"{self.called()} is a chain and takes one tensor, not {x!r}")
        last = self._steps(build, x, mask, self._input or self)[-1]
        return last.outputs, last.masks

    def _steps(self, build: Builder, x: Value, mask: Mask, before: Module) -> list[Step]:
        if not self._named:
            raise SpecError(f"model {self.name!r} has no layers")
        steps: list[Step] = []
        for name, layer in self._named.items():
            if steps and len(steps[-1].outputs) > 1:
                raise SpecError(
                    f"layer {name!r} follows one with {len(steps[-1].outputs)} outputs; a chain passes on one: "
                    "leave return_state out"
                )
            outputs, masks = _lower_after(before, name, layer, build, x, mask)
            steps.append(Step(name, layer, x, outputs, masks))
            x, mask, before = outputs[0], masks[0], layer
        return steps

    def _kind(self, source: InputLayer) -> Kind:
        """What the first layer that minds wants; an integer Input must be wanted."""
        declared = source.kind
        for name, layer in self._named.items():
            wanted = layer.wanted_kind()
            if wanted is not None:
                if declared != "float" and wanted != declared:
                    raise SpecError(f"the Input declares {declared} numbers; layer {name!r} takes {wanted}")
                return wanted
        return declared

    def serialize(self) -> dict[str, Any]:
        data = configs.wrap("keras", "Sequential", self.get_config())
        if self._program is not None:
            data["build_config"] = {"input_shape": list(self.input_shape)}
        return data

    def get_config(self) -> dict[str, Any]:
        layers = [self._input] if self._input else []
        entries = [serialize(layer) for layer in (*layers, *self._named.values())]
        for name, entry in zip(self._named, entries[len(layers) :], strict=True):
            entry["config"]["name"] = name
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": DTYPE.write(self.dtype),
            "layers": entries,
        }
        if self._input is not None:
            config["build_input_shape"] = list(self._input.batch_shape or ())
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Sequential:
        """The model that has this config. SpecError for keys or layers that do not exist."""
        known = ("name", "trainable", "dtype", "layers", "build_input_shape")
        for key in config:
            if key not in known:
                raise SpecError(f"Sequential has no config key {key!r}.{near(key, known)}")
        entries = config.get("layers")
        if not isinstance(entries, (list, tuple)):
            raise SpecError(f"Sequential: the config's 'layers' is {type(entries).__name__}; expected a list")
        model = cls((deserialize(entry) for entry in entries), bool(config.get("trainable", True)), config.get("name"))
        if model._input is None and config.get("build_input_shape"):
            model.build(tuple(config["build_input_shape"]))
        return model


@dataclass(frozen=True)
class Step:
    """A layer in its place in the chain: the value that it takes, and what it makes of it."""

    name: str
    layer: Module
    taken: Value
    outputs: tuple[Value, ...]
    masks: tuple[Mask, ...]


def _as_layer(entry: Any) -> Module:
    """A layer or a model; what ``Input`` returns stands for its InputLayer."""
    if isinstance(entry, SymbolicTensor) and entry.is_input:
        return entry.call.module
    if not isinstance(entry, Module):
        raise SpecError(f"Sequential takes layers, not {type(entry).__name__} {entry!r}")
    return entry


def _lower_after(
    before: Module, name: str, layer: Module, build: Builder, x: Value, mask: Mask
) -> tuple[tuple[Value, ...], tuple[Mask, ...]]:
    """Lowers a layer under its name; where that fails, says what the one before it may have to do with it."""
    try:
        if isinstance(layer, Layer):
            _check_declared(layer, x.shape)
        with build.scope(name):
            outputs, masks = layer.lowered(build, x, mask)
    except SpecError as error:
        told = f"{reason(error, layer)}{hint(before, layer, x)}"
        raise SpecError(f"layer {name!r}: {told.removeprefix(f'{name}: ')}") from None
    return outputs, masks if isinstance(masks, tuple) else (masks, *[None] * (len(outputs) - 1))


def _check_declared(layer: Layer, shape: Shape) -> None:
    """What a layer says of its own input must be so, also where it is not the first."""
    declared: Shape | None = layer.input_shape
    if layer.batch_input_shape is not None:
        declared = layer.batch_input_shape[1:]
    if declared is not None and not (
        len(declared) == len(shape) - 1
        and all(d is None or s is None or d == s for d, s in zip(declared, shape[1:], strict=True))
    ):
        raise SpecError(f"it declares inputs of shape {declared}, and gets {shape[1:]}")


def _declared_input(layer: Module) -> InputLayer | None:
    """The Input that a first layer's ``input_shape=``, ``input_dim=`` and the like describe, or a first model has."""
    if not isinstance(layer, Layer):
        inputs = getattr(layer, "inputs", ()) if getattr(layer, "_program", None) else ()
        return InputLayer(batch_shape=inputs[0].shape, dtype=inputs[0].dtype, name="input_layer") if inputs else None
    shape = _declared_shape(layer)
    batch = layer.batch_size
    if layer.batch_input_shape is not None:
        return InputLayer(batch_shape=layer.batch_input_shape, name="input_layer")
    return None if shape is None else InputLayer(shape=shape, batch_size=batch, name="input_layer")


def _declared_shape(layer: Layer) -> Shape | None:
    shape: Shape | None = layer.input_shape
    length: Shape | None = layer.input_length
    if shape is not None or layer.input_kind == "int":  # an Embedding's input_dim is its vocabulary
        return length if shape is None else shape
    features: Shape | None = layer.input_dim
    return features if features is None or length is None else (*length, *features)
