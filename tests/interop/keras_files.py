"""Small Keras files, put together by hand, so that any part of one can be wrong."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]


def layer(kind: str, module: str = "keras.layers", **config: Any) -> Config:
    """A layer as Keras 3 writes it."""
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def sequential(*layers: Config, name: str = "sequential") -> Config:
    """A Sequential as Keras 3 writes it."""
    return {"module": "keras", "class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def tensor(name: str, call: int = 0, output: int = 0) -> Config:
    """The output of a layer in a functional model."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, output]}}


def called(entry: Config, *calls: Any, **kwargs: Any) -> Config:
    """A layer of a functional model, called on these."""
    nodes = [{"args": [value], "kwargs": kwargs} for value in calls]
    return {**entry, "name": entry["config"]["name"], "inbound_nodes": nodes}


def functional(*layers: Config, begin: Any, end: Any, name: str = "model") -> Config:
    """A functional model as Keras 3 writes it."""
    config = {"name": name, "trainable": True, "layers": list(layers), "input_layers": begin, "output_layers": end}
    return {"module": "keras", "class_name": "Functional", "config": config}


SOURCE = layer("InputLayer", batch_shape=[None, 5, 3], dtype="float32", name="x")
LSTM = layer("LSTM", units=4, name="lstm")
DENSE = layer("Dense", units=2, name="dense")
SMALL = sequential(SOURCE, LSTM, DENSE)

SHAPES = {
    "layers/lstm/cell/vars/0": (3, 16),
    "layers/lstm/cell/vars/1": (4, 16),
    "layers/lstm/cell/vars/2": (16,),
    "layers/dense/vars/0": (4, 2),
    "layers/dense/vars/1": (2,),
}


def arrays(shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> dict[str, Any]:
    """Arrays of these shapes, all different."""
    rng = np.random.default_rng(5)
    return {path: rng.normal(size=shape).astype("float32") for path, shape in shapes.items()}


def hdf5(change: Callable[[Any], None] | None = None, **kwargs: Any) -> bytes:
    """``model.weights.h5`` of the small model; ``change`` does something to it."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **kwargs) as file:
        for path, array in arrays().items():
            file[path] = array
        if change:
            change(file)
    return buffer.getvalue()


def archive(
    path: Path,
    config: Any = SMALL,
    weights: bytes | None = None,
    method: int = zipfile.ZIP_STORED,
    version: str = "3.9.2",
) -> Path:
    """A ``.keras`` archive; ``config`` may be text that is no JSON."""
    text = config if isinstance(config, (str, bytes)) else json.dumps(config)
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("metadata.json", json.dumps({"keras_version": version, "date_saved": "today"}))
        file.writestr("config.json", text)
        file.writestr("model.weights.h5", hdf5() if weights is None else weights)
    return path


def listed(path: Path, config: Any, layers: Mapping[str, Mapping[str, Any]], version: str | None = "2.1.3") -> Path:
    """An ``.h5`` of the kind whose groups list their arrays: ``{"lstm_1": {"lstm_1/kernel:0": array}}``."""
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = config if isinstance(config, (str, bytes)) else json.dumps(config).encode()
        root = file if config is None else file.create_group("model_weights")
        if version is not None:
            file.attrs["keras_version"] = version.encode()
            file.attrs["backend"] = b"tensorflow"
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for name, weights in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, array in weights.items():
                group[weight] = array
    return path
