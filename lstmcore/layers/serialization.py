"""Layers to and from Keras 3's serialized form. Classes are looked up in our registry, never imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmcore import configs
from lstmcore.errors import SpecError
from lstmcore.layers.base import Layer

# What Keras writes beside a layer's config and what follows from the config anyway.
DERIVED = ("build_config", "compile_config", "name", "inbound_nodes")


def serialize(layer: Layer) -> dict[str, Any]:
    """Keras 3's form: ``{"module": "keras.layers", "class_name": ..., "config": ...}``."""
    data = configs.wrap("keras.layers", type(layer).__name__, layer.get_config())
    if layer.built and layer.state.input_shape is not None:
        data["build_config"] = {"input_shape": list(layer.state.input_shape)}
    return data


def deserialize(data: Mapping[str, Any]) -> Layer:
    """A layer from Keras 3's form. SpecError for an unknown class or key, and for ``Lambda`` and the like."""
    if not isinstance(data, Mapping):
        raise SpecError(f"a layer is a mapping with class_name and config, not {type(data).__name__}")
    kept = {key: value for key, value in data.items() if key not in DERIVED}
    name, config = configs.unwrap(kept, "layer")
    layer: Layer = configs.lookup(name, Layer.registry, "layer").from_config(config)
    return layer
