"""Real Keras reads our JSON, makes the same model of it, and computes the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from lstmcore.models import Sequential
from lstmcore.runtime.compare import LIMIT, scale_error

GOLDENS = Path(__file__).parents[1] / "goldens"
MODELS = json.loads((GOLDENS / "models.json").read_text(encoding="utf-8"))["cases"]
RECIPES = {name: case["recipe"] for name, case in MODELS.items() if name != "long_names"}

READER = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
import keras
folder = sys.argv[1]
report = {}
for name, text in json.load(open(folder + "/models.json")).items():
    model = keras.models.model_from_json(text)
    again = json.loads(model.to_json())["config"]
    report[name] = {
        "weights": [[layer.name, w.name, list(w.shape)] for layer in model.layers for w in layer.weights],
        "count": model.count_params() if model.built else None,
        "output_shape": list(model.output_shape) if model.built else None,
        "layers": [[entry["class_name"], entry["config"]] for entry in again["layers"]],
    }
    arrays = np.load(folder + "/" + name + ".npz")
    if model.built:
        model.set_weights([arrays["w%d" % k] for k in range(len(arrays) - 1)])
        np.save(folder + "/" + name + ".npy", np.asarray(model(arrays["x"])))
json.dump(report, open(folder + "/report.json", "w"))
"""


@pytest.mark.skipif(
    not all(map(find_spec, ("keras", "tensorflow"))),
    reason="Keras is optional, and is not installed with TensorFlow here",
)
def test_keras_makes_the_same_models(make: Callable[..., Sequential], tmp_path: Path) -> None:
    models = {name: make(recipe) for name, recipe in RECIPES.items()}
    random = np.random.default_rng(8)
    expected: dict[str, np.ndarray] = {}
    for name, model in models.items():
        arrays: dict[str, np.ndarray] = {}
        if MODELS[name]["count"] is not None:
            shape = [n or 3 for n in model.input_shape]
            ids = name.startswith("embedding")
            x = random.integers(0, 20, shape) if ids else random.normal(size=shape).astype(np.float32)
            arrays = {"x": x, **{f"w{k}": w for k, w in enumerate(model.get_weights())}}
            expected[name] = model.predict(x, backend="numpy")
        np.savez(tmp_path / f"{name}.npz", **arrays)
    (tmp_path / "models.json").write_text(json.dumps({name: m.to_json() for name, m in models.items()}))
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path)], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text())
    for name, model in models.items():
        case, told = MODELS[name], report[name]
        assert {key: told[key] for key in ("weights", "count", "output_shape")} == {
            key: case[key] for key in ("weights", "count", "output_shape")
        }, name
        ours = json.loads(model.to_json())["config"]["layers"]
        assert told["layers"] == [[entry["class_name"], entry["config"]] for entry in ours], name
        if name in expected:
            y = np.load(tmp_path / f"{name}.npy")
            assert scale_error(y, expected[name], y.dtype.name) <= LIMIT, name
