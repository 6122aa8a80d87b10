"""Layers to and from Keras 3's serialized form. Classes are looked up in our registry, never imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lstmcore import configs
from lstmcore.errors import SpecError
from lstmcore.layers.base import Layer
from lstmcore.layers.module import Module

# What Keras writes beside a layer's config and what follows from the config anyway.
DERIVED = ("build_config", "compile_config", "name", "inbound_nodes")


# Layers that hold code.
EXECUTE = {
    "Lambda": "Say what it does in layers (Activation, Rescaling, Add, Multiply, Reshape, ...) or in a Cell.",
    "TFOpLambda": "Say what it does in layers.",
    "SlicingOpLambda": "Say what it does in layers (Cropping1D, Reshape, ...).",
}

# Models, which may stand wherever a layer does.
MODELS = ("Sequential", "Functional", "Model")


def serialize(module: Module) -> dict[str, Any]:
    """Keras 3's form: ``{"module": "keras.layers", "class_name": ..., "config": ...}``."""
    return module.serialize()


def deserialize(data: Mapping[str, Any]) -> Any:
    """A layer, or a model used as one, from Keras 3's form.

    SpecError for an unknown class or key, and for ``Lambda`` and the like.
    """
    if not isinstance(data, Mapping):
        raise SpecError(f"a layer is a mapping with class_name and config, not {type(data).__name__}")
    kept = {key: value for key, value in data.items() if key not in DERIVED}
    if kept.get("class_name") in MODELS:
        from lstmcore.models import files

        return files.deserialize(kept)
    if str(kept.get("registered_name")).startswith("Custom>"):
        return _custom(kept)
    name, config = configs.unwrap(kept, "layer")
    if isinstance(name, str) and name in EXECUTE:
        raise SpecError(
            f"a {name!r} layer is code, not a description: it cannot be read from a file without running what the file "
            f"says, and on one engine only. {EXECUTE[name]}"
        )
    return configs.lookup(name, Layer.registry, "layer").from_config(config)


def _custom(data: Mapping[str, Any]) -> Layer:
    """A layer of a class that is not lstmcore's: one that this process has defined, found by its name."""
    name = str(data.get("registered_name")).partition(">")[2]
    cls = Layer.registry.get(name)
    if cls is not None and cls.__module__ != data.get("module"):  # the latest of that name, and of another module
        cls = next(
            (own for own in _classes(Layer) if (own.__module__, own.__name__) == (data.get("module"), name)), cls
        )
    if cls is None or cls.is_own():
        of = f" of module {data['module']!r}" if data.get("module") else ""
        raise SpecError(
            f"{name!r}{of} is a class of somebody's own, and files hold no code. If it is a cell, import the module "
            "that defines it, as a subclass of lstmcore.layers.Cell, and load again; a layer must be said in layers "
            "that are known here"
        )
    if not isinstance(data.get("config"), Mapping):
        raise SpecError(f"{name}: the config is {data.get('config')!r}; expected a mapping")
    layer: Layer = cls.from_config(data["config"])
    return layer


def _classes(base: type[Layer]) -> Iterator[type[Layer]]:
    """The classes under a class, the latest first."""
    for cls in reversed(base.__subclasses__()):
        yield cls
        yield from _classes(cls)
