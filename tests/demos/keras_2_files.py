"""Writes docs/demos/files, as Keras 2.2.4 and tf.keras 2.9 wrote theirs: ``python keras_2_files.py FOLDER``.

These Keras do not install on today's Python; what they wrote is in their words, option for option.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))
import keras_files as make

UNITS, FEATURES, STEPS = 8, 3, 20
_UNIFORM = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
_KINDS = ("kernel", "recurrent", "bias", "activity")
NONE = {f"{kind}_{what}": None for kind in _KINDS for what in ("regularizer", "constraint")}
INITIALIZERS = {
    "kernel_initializer": {"class_name": "VarianceScaling", "config": _UNIFORM},
    "recurrent_initializer": {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}},
    "bias_initializer": {"class_name": "Zeros", "config": {}},
}
FLAGS = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")


def lstm(**options: Any) -> dict[str, Any]:
    """The configuration of an LSTM in the words of Keras 2."""
    config: dict[str, Any] = {"trainable": True, **dict.fromkeys(FLAGS, False), "units": UNITS, "activation": "tanh"}
    config |= {"use_bias": True, "unit_forget_bias": True, "dropout": 0.0, "recurrent_dropout": 0.0}
    config |= {**INITIALIZERS, **NONE, "implementation": 1, **options}
    return {"class_name": "LSTM", "config": {k: v for k, v in config.items() if k != "activity_constraint"}}


def dense(**options: Any) -> dict[str, Any]:
    """The same of a Dense."""
    initializers = {key: value for key, value in INITIALIZERS.items() if "recurrent" not in key}
    none = {key: value for key, value in NONE.items() if "recurrent" not in key and key != "activity_constraint"}
    config = {"trainable": True, "units": 1, "activation": "linear", "use_bias": True, **initializers, **none}
    return {"class_name": "Dense", "config": {**config, **options}}


def weights(rng: Any, cell: str = "") -> dict[str, dict[str, Any]]:
    """Those of an LSTM and a Dense, all different."""
    shapes = {"kernel": (FEATURES, 4 * UNITS), "recurrent_kernel": (UNITS, 4 * UNITS), "bias": (4 * UNITS,)}
    made = {f"lstm_1/{cell}{name}:0": rng.normal(scale=0.5, size=shape) for name, shape in shapes.items()}
    ends = {"dense_1/kernel:0": rng.normal(scale=0.5, size=(UNITS, 1)), "dense_1/bias:0": rng.normal(size=1)}
    return {
        name: {key: array.astype("float32") for key, array in arrays.items()}
        for name, arrays in (("lstm_1", made), ("dense_1", ends))
    }


def gates(path: Path) -> Path:
    """A functional model of Keras 2.2.4, whose LSTM gates are its default, hard_sigmoid."""
    source = {"name": "input_1", "batch_input_shape": [None, STEPS, FEATURES], "dtype": "float32", "sparse": False}
    layers = [
        {"class_name": "InputLayer", "config": source, "name": "input_1", "inbound_nodes": []},
        {**lstm(name="lstm_1", recurrent_activation="hard_sigmoid"), "name": "lstm_1"},
        {**dense(name="dense_1"), "name": "dense_1"},
    ]
    layers[1]["inbound_nodes"] = [[["input_1", 0, 0, {}]]]
    layers[2]["inbound_nodes"] = [[["lstm_1", 0, 0, {}]]]
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["dense_1", 0, 0]]}
    config = {"class_name": "Model", "config": {"name": "model_1", "layers": layers, **ends}}
    return make.listed(path, config, {"input_1": {}, **weights(np.random.default_rng(3))}, "2.2.4")


def time_major(path: Path) -> Path:
    """A Sequential of tf.keras 2.9 that takes (time, batch, features)."""
    source = {"batch_input_shape": [None, None, FEATURES], "dtype": "float32", "sparse": False, "ragged": False}
    options = {"time_major": True, "return_sequences": True, "recurrent_activation": "sigmoid", "implementation": 2}
    layers = [
        {"class_name": "InputLayer", "config": {**source, "name": "lstm_1_input"}},
        lstm(name="lstm_1", dtype="float32", **options),
        dense(name="dense_1", dtype="float32"),
    ]
    config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}
    return make.listed(path, config, weights(np.random.default_rng(4), "lstm_cell/"), "2.9.0")


FILES = {"keras_2.2.4.h5": gates, "time_major.h5": time_major}

if __name__ == "__main__":
    for name, write in FILES.items():
        write(Path(sys.argv[1]) / name)
