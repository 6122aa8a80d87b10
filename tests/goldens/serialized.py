"""Keras objects as its JSON has them."""

from __future__ import annotations

import copy
from typing import Any


def keras_object(module: str, kind: str, /, **config: Any) -> dict[str, Any]:
    return {"module": f"keras.{module}", "class_name": kind, "config": config, "registered_name": None}


def layer_object(kind: str, /, **config: Any) -> dict[str, Any]:
    """A layer inside a layer; with a name, or it would depend on what was made before."""
    return keras_object("layers", kind, **{"name": f"inner_{kind.lower()}", **config})


L2 = keras_object("regularizers", "L2", l2=0.5)
NORM = keras_object("constraints", "MaxNorm", max_value=3, axis=1)
UNIFORM = keras_object("initializers", "RandomUniform", minval=-0.1, maxval=0.2, seed=7)


def revived(value: Any) -> Any:
    """The layers in an option, from their JSON."""
    import keras

    if isinstance(value, list):
        return [revived(one) for one in value]
    layer = isinstance(value, dict) and value.get("module") == "keras.layers"
    # Keras takes apart the config that it reads
    return keras.layers.deserialize(copy.deepcopy(value)) if layer else value
