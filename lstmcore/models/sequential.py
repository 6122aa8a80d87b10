"""Sequential: a chain of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lstmcore.errors import SpecError, near
from lstmcore.layers.base import Layer
from lstmcore.layers.core import InputLayer
from lstmcore.layers.options import DTYPE
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
        if isinstance(layers, Layer):
            raise SpecError("Sequential takes a list of layers; wrap the one given in [...]")
        for layer in layers or ():
            self._append(layer)
        self._build()

    @property
    def named_layers(self) -> dict[str, Layer]:
        return dict(self._named)

    def add(self, layer: Layer) -> None:
        """Appends a layer."""
        self._append(layer)
        self._build()

    def pop(self) -> Layer:
        """Takes the last layer off and returns it."""
        if not self._named:
            raise SpecError(f"model {self.name!r} has no layer to pop")
        _, layer = self._named.popitem()
        self._changed()
        return layer

    def _append(self, layer: Layer) -> None:
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
        name = (
            layer.name
            if layer.name and not layer.state.auto_named
            else unique(snake(type(layer).__name__), self._named)
        )
        if name in self._named:
            raise SpecError(f"Sequential {self.name!r} has two layers called {name!r}; names must differ")
        layer.name_as(name)
        self._named[name] = layer
        self._changed()

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Makes the weights, for inputs of that shape (with batch axis) where none was declared."""
        if input_shape is not None and self._input is None:
            self._input = InputLayer(batch_shape=tuple(input_shape), name="input_layer")
        if self._input is None:
            raise self._no_input()
        if input_shape is not None and tuple(input_shape) != self._input.batch_shape:
            raise SpecError(
                f"model {self.name!r} has inputs of shape {self._input.batch_shape}; "
                f"build was given {tuple(input_shape)}"
            )
        self._changed()
        self._build()

    def _build(self) -> None:
        if self._input is not None and self._named:
            self._program = self._lower()

    def _build_for(self, x: Any) -> None:
        if self._input is None and self._named and not isinstance(x, Mapping):
            self.build((None, *np.shape(x)[1:]))

    def _no_input(self) -> SpecError:
        return SpecError(
            f"model {self.name!r} does not know its input's shape: start it with Input(shape), give the first "
            "layer input_shape=, call build(input_shape), or give it data"
        )

    def _lower(self) -> Program:
        if self._input is None:
            raise self._no_input()
        if not self._named:
            raise SpecError(f"model {self.name!r} has no layers")
        build = Builder()
        x = build.input(self._input.name or "input_layer", self._input.batch_shape or (), self._kind())
        mask: Value | None = None
        outputs: tuple[Value, ...] = (x,)
        for name, layer in self._named.items():
            if len(outputs) > 1:
                raise SpecError(f"layer {name!r} follows one with {len(outputs)} outputs; a chain passes on one")
            layer.build(outputs[0].shape)
            with build.scope(name):
                outputs, mask = layer.lower(build, outputs[0], mask)
        return build.finish([output.name for output in outputs])

    def _kind(self) -> Kind:
        """What the first layer that minds wants; an integer Input must be wanted."""
        declared: Kind = self._input.kind if self._input else "float"
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
