"""Sequential: a chain of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lstmcore.errors import InputError, SpecError, near
from lstmcore.layers.base import Layer, Lowered
from lstmcore.layers.core import InputLayer
from lstmcore.layers.options import DTYPE
from lstmcore.layers.recurrent import RecurrentLayer
from lstmcore.layers.serialization import deserialize, serialize
from lstmcore.models.base import BaseModel
from lstmcore.naming import snake, unique
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Program, Value


class Sequential(BaseModel):
    """A chain of layers, given as a list or one by one with ``add``.

    The input's shape comes from an ``Input`` at the front, from the first layer's ``input_shape``,
    ``input_dim`` or ``input_length``, from ``build``, or from the first data.
    """

    def __init__(self, layers: Iterable[Layer] | None = None, trainable: bool = True, name: str | None = None) -> None:
        super().__init__(name, trainable)
        self._input: InputLayer | None = None
        self._named: dict[str, Layer] = {}
        if not isinstance(layers, (Iterable, type(None))) or isinstance(layers, (str, bytes)):
            raise SpecError(f"Sequential takes a list of layers, not {layers!r}; wrap one layer in [...]")
        given = list(layers or ())
        own = {layer.name for layer in given if isinstance(layer, Layer) and not layer.state.auto_named}
        names = {name for name in own if name is not None}
        for layer in given:
            self._append(layer, names)
        self._build()

    @property
    def named_layers(self) -> dict[str, Layer]:
        return dict(self._named)

    def add(self, layer: Layer) -> None:
        """Appends a layer; one that does not fit is refused, and the model stays as it was."""
        before = self._input, dict(self._named)
        try:
            self._append(layer, set())
            self._build()
        except SpecError:
            self._input, self._named = before
            self._changed()
            raise

    def pop(self) -> Layer:
        """Takes the last layer off and returns it."""
        if not self._named:
            raise SpecError(f"model {self.name!r} has no layer to pop")
        _, layer = self._named.popitem()
        self._changed()
        return layer

    def _append(self, layer: Layer, reserved: set[str]) -> None:
        if not isinstance(layer, Layer):
            raise SpecError(f"Sequential takes layers, not {type(layer).__name__} {layer!r}")
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
        if name is None or layer.state.auto_named:
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
        program, shapes = self._trace(candidate)
        self._input = candidate
        self._changed()
        self._finish(program, shapes)

    def _build(self) -> None:
        if self._input is not None and self._named:
            self._finish(*self._trace(self._input))

    def _finish(self, program: Program, shapes: Mapping[str, Shape]) -> None:
        for name, layer in self._named.items():
            layer.build(shapes[name])
        self._program, self._layer_shapes = program, dict(shapes)

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
        program, shapes = self._trace(self._input)
        self._finish(program, shapes)
        return program

    def _trace(self, source: InputLayer) -> tuple[Program, dict[str, Shape]]:
        """The program, and the shape that each layer takes."""
        if not self._named:
            raise SpecError(f"model {self.name!r} has no layers")
        build = Builder()
        x = build.input(source.name or "input_layer", source.batch_shape, self._kind(source))
        outputs: tuple[Value, ...] = (x,)
        mask: Value | None = None
        shapes: dict[str, Shape] = {}
        before: Layer = source
        for name, layer in self._named.items():
            if len(outputs) > 1:
                raise SpecError(
                    f"layer {name!r} follows one with {len(outputs)} outputs; a chain passes on one: "
                    "leave return_state out"
                )
            shapes[name] = outputs[0].shape
            outputs, mask = _lower_after(before, name, layer, build, outputs[0], mask)
            before = layer
        return build.finish([output.name for output in outputs]), shapes

    def _kind(self, source: InputLayer) -> Kind:
        """What the first layer that minds wants; an integer Input must be wanted."""
        declared = source.kind
        for name, layer in self._named.items():
            if layer.input_kind is not None:
                if declared != "float" and layer.input_kind != declared:
                    raise SpecError(f"the Input declares {declared} numbers; layer {name!r} takes {layer.input_kind}")
                return layer.input_kind
        return declared

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


def _lower_after(before: Layer, name: str, layer: Layer, build: Builder, x: Value, mask: Value | None) -> Lowered:
    """Lowers a layer under its name; where that fails, says what the one before it may have to do with it."""
    try:
        _check_declared(layer, x.shape)
        layer.inventory(x.shape)
        with build.scope(name):
            return layer.lower(build, x, mask)
    except SpecError as error:
        hint = ""
        if isinstance(before, RecurrentLayer) and len(x.shape) == 2:
            hint = f" Give {before.name!r} return_sequences=True to pass on all its outputs."
        if layer.input_kind == "int" and x.kind == "float":
            hint = " It takes token ids, and so stands first."
        raise SpecError(f"layer {name!r}: {str(error).removeprefix(f'{name}: ').rstrip('.')}.{hint}") from None


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


def _declared_input(layer: Layer) -> InputLayer | None:
    """The Input that a first layer's ``input_shape=``, ``input_dim=`` and the like describe."""
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
