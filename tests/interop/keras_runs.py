"""Files and models of lstmcore, given to the Keras that is installed: ``python keras_runs.py FOLDER NAME ...``.

Runs in a process of its own. For each NAME the folder holds ``NAME.keras``, ``NAME.h5``, ``NAME.weights.h5`` and the
inputs in ``NAME.npz``; what Keras makes of them is printed as JSON: arrays go to ``NAME.FORM.npz``.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
from lstmcore_tensorflow import from_keras, keras_files, to_keras

import lstmcore as lc


def zeroed(model: Any) -> Any:
    model.set_weights([np.zeros_like(array) for array in model.get_weights()])
    return model


def run(base: Path) -> dict[str, Any]:
    """What came of one model in each of its forms."""
    with np.load(f"{base}.npz") as data:
        inputs = [data[name] for name in sorted(data)]
    made = {form: keras.models.load_model(f"{base}{form}") for form in (".keras", ".h5")}
    made[".weights.h5"] = zeroed(keras.models.load_model(f"{base}.keras"))
    made[".weights.h5"].load_weights(f"{base}.weights.h5")
    made["live"] = to_keras(lc.import_model(f"{base}.keras"))
    for form, model in made.items():
        y = [np.asarray(one) for one in keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0]))]
        arrays = {f"w{k:03}": array for k, array in enumerate(model.get_weights())}
        np.savez(f"{base}{form}.npz", **{f"y{k}": one for k, one in enumerate(y)}, **arrays)
    outputs, layers = keras_files.run(f"{base}.keras", inputs)
    np.savez(f"{base}.judge.npz", **{f"y{k}": one for k, one in enumerate(outputs)})
    back = from_keras(made[".keras"])
    np.savez(f"{base}.back.npz", **{f"w{k:03}": array for k, array in enumerate(back.get_weights())})
    last = {name: np.asarray(one).tolist() for name, one in layers.items() if name == back.output_names[-1]}
    return {"json": back.to_json(), "layers": sorted(layers), "last": last}


def train(base: Path) -> dict[str, Any]:
    """One more step of a model that was compiled, from each file that says how."""
    with np.load(f"{base}.npz") as data:
        x, y = data["x"], data["y"]
    told = {}
    for form in (".keras", ".h5"):
        model = keras.models.load_model(f"{base}{form}")
        before = [np.asarray(one).tolist() for one in model.optimizer.variables[:1]]
        logs = model.train_on_batch(x, y, return_dict=True)
        told[form] = {"step": before[0], "logs": {key: float(value) for key, value in logs.items()}}
        np.savez(f"{base}{form}.npz", **{f"w{k:03}": array for k, array in enumerate(model.get_weights())})
    return told


def main(folder: str, *names: str) -> None:
    told = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*[Ss]kipping")  # variables that it did not load
        for name in names:
            base = Path(folder) / name
            told[name] = train(base) if name.startswith("trained_") else run(base)
            keras.backend.clear_session()
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
