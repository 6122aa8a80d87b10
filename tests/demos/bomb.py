"""Writes a `.keras` of some kB that makes Keras 3 take gigabytes: zeros, packed twice. ``python bomb.py PATH LAYERS``.

Never let Keras load one that is larger than your memory: each layer is 1 GiB of weights, and Keras took 1.3 GiB for it.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py

FEATURES = 4
LAYER = 1 << 30


def write(path: Path | str, layers: int = 6) -> None:
    """A functional model of so many Dense layers side by side, as Keras 3 would have written it."""
    units = LAYER // 4 // FEATURES
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("config.json", json.dumps(_model([f"dense_{k}" for k in range(layers)], units)))
        file.writestr("model.weights.h5", _weights(layers, units))


def _weights(layers: int, units: int) -> bytes:
    """An HDF5 file of kernels, of which each row is the same packed zeros."""
    packer, zeros = zlib.compressobj(9), bytes(1 << 20)
    row = b"".join(packer.compress(zeros) for _ in range(4 * units >> 20)) + packer.flush()
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name in ("dense", *(f"dense_{k}" for k in range(1, layers))):
            options: Any = {"chunks": (1, units), "compression": "gzip"}
            data = file.create_dataset(f"layers/{name}/vars/0", (FEATURES, units), "float32", **options)
            for k in range(FEATURES):
                data.id.write_direct_chunk((k, 0), row)
    return buffer.getvalue()


def _model(names: list[str], units: int) -> dict[str, Any]:
    x = {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, FEATURES], "dtype": "float32", "keras_history": ["x", 0, 0]},
    }
    zeros = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
    options = {"units": units, "use_bias": False, "kernel_initializer": zeros}
    layers = [_layer("InputLayer", "x", [], batch_shape=[None, FEATURES], dtype="float32")]
    layers += [_layer("Dense", name, [{"args": [x], "kwargs": {}}], **options) for name in names]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [[name, 0, 0] for name in names]}
    config = {"name": "bomb", "trainable": True, "layers": layers, **ends}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
    }


def _layer(kind: str, name: str, nodes: list[Any], **config: Any) -> dict[str, Any]:
    made = {"module": "keras.layers", "class_name": kind, "config": {"name": name, **config}, "registered_name": None}
    return {**made, "name": name, "inbound_nodes": nodes}


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))
