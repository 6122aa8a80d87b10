"""The forms in which descriptions of models are found: what ``to_json`` says, and what people made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmcore.errors import UnsupportedFileError

_JAVASCRIPT = (
    "is a model of TensorFlow.js, whose weights are in files of their own; make an .h5 of it with "
    "tensorflowjs_converter --input_format=tfjs_layers_model --output_format=keras, and import that"
)
_ZERO = (
    "was written by Keras 0, whose words were others; load it with the last Keras that reads it (0.3) and with its "
    "arrays fill the same model made by a later one"
)
_YAML = "is YAML, which is not read; load it with the Keras that wrote it and save what its to_json() says"


def whole(description: Any, name: str) -> Any:
    """A description with its class: what ``get_config`` said gets one. UnsupportedFileError names what is none."""
    if isinstance(description, list) and description and all(map(_is_layer, description)):
        return {"class_name": "Sequential", "config": description}
    if not isinstance(description, Mapping) or "class_name" in description:
        return description
    layers = description.get("layers")
    if "modelTopology" in description:
        raise UnsupportedFileError(f"{name} {_JAVASCRIPT}.")
    if isinstance(layers, list) and layers and all(map(_is_layer, layers)):
        return {"class_name": "Functional" if "input_layers" in description else "Sequential", "config": description}
    if description.get("name") in ("Sequential", "Graph") or "nodes" in description:
        raise UnsupportedFileError(f"{name} {_ZERO}.")
    return description


def refuse_yaml(raw: bytes, name: str) -> None:
    """UnsupportedFileError for a model in YAML, as Keras 1 and 2 wrote it until 2.6."""
    if not raw.lstrip().startswith((b"{", b"[", b'"')) and b"class_name:" in raw:
        raise UnsupportedFileError(f"{name} {_YAML}.")


def _is_layer(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "class_name" in entry and "config" in entry
