"""What fit and evaluate tell, losses and metrics under their names, is what real Keras 3.15 tells.

Keras runs on PyTorch here. On TensorFlow it has no top-k in float64, and averages the losses of single outputs over
batches, not over samples (measured); all else was the same there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.layers import GRU, LSTM, Concatenate, Dense, Embedding, Input, SimpleRNN
from lstmcore.models import Model, Sequential

READER = """
import json, sys
import numpy as np
import keras
folder = sys.argv[1]
keras.config.set_floatx("float64")

def metric(given):
    if isinstance(given, dict) and "class_name" in given:
        return keras.metrics.deserialize(given)
    if isinstance(given, dict):
        return {name: metric(entry) for name, entry in given.items()}
    return [metric(entry) for entry in given] if isinstance(given, list) else given

found = {}
for name, case in json.load(open(folder + "/cases.json")).items():
    keras.utils.clear_session()  # which counts metrics of one class
    data = np.load(folder + f"/{name}.npz")
    def get(told):
        if isinstance(told, dict):
            return {key: get(entry) for key, entry in told.items()}
        if isinstance(told, list):
            return [get(entry) for entry in told]
        return data[told] if isinstance(told, str) else told
    model = keras.models.model_from_json(case["model"])
    model.set_weights([data[f"weight{k}"] for k in range(case["weights"])])
    more = {key: metric(case["compile"].get(key)) for key in ("metrics", "weighted_metrics")}
    others = {key: value for key, value in case["compile"].items() if key not in more}
    model.compile(keras.optimizers.SGD(0.2), **others, **more)
    x, y, w = get(case["x"]), get(case["y"]), get(case["w"])
    y, w = ([v[name] for name in model.output_names] if isinstance(v, dict) else v for v in (y, w))
    given = dict(case["fit"])
    if "class_weight" in given:
        given["class_weight"] = {int(key): value for key, value in given["class_weight"].items()}
    if given.pop("held", False):
        given["validation_data"] = (x, y) if w is None else (x, y, w)
    history = model.fit(x, y, sample_weight=w, batch_size=4, epochs=2, shuffle=False, verbose=0, **given).history
    logs = model.evaluate(x, y, sample_weight=w, batch_size=4, verbose=0, return_dict=True)
    floats = lambda value: np.asarray(value, "float64").tolist()
    found[name] = [{k: floats(v) for k, v in told.items()} for told in (history, logs)]
json.dump(found, open(folder + "/logs.json", "w"))
"""
RNG = np.random.default_rng(23)
N = 10
X = RNG.normal(size=(N, 5, 3))
IDS = RNG.integers(1, 7, (N, 5))
IDS[1, 3:] = IDS[4, 1:] = IDS[5, :2] = IDS[8, 2] = 0
TWO = RNG.integers(0, 2, (N, 1))
THREE = RNG.integers(0, 3, N)
STEPS = RNG.integers(0, 3, (N, 5))
REAL = RNG.normal(size=(N, 2))
WEIGHTS = RNG.random(N) + 0.25
STEP_WEIGHTS = RNG.random((N, 5)) + 0.25
F = {"dtype": "float64"}


def kind(name: str, /, **config: Any) -> dict[str, Any]:
    return {"module": "keras.metrics", "class_name": name, "config": config, "registered_name": None}


def chain(*layers: Any, shape: tuple[int, ...] = (5, 3)) -> Sequential:
    return Sequential([Input(shape), *layers])


def two_headed() -> Model:
    a, b = Input((5, 3), name="a"), Input((3,), name="b")
    h = Concatenate(name="join", **F)([LSTM(3, name="lstm", **F)(a), b])
    return Model([a, b], [Dense(2, name="p", **F)(h), Dense(3, "softmax", name="q", **F)(h)])


def tagger(units: int, activation: str) -> Sequential:
    layers = (Embedding(7, 4, mask_zero=True, **F), GRU(3, return_sequences=True, **F), Dense(units, activation, **F))
    return chain(*layers, shape=(5,))


CURVES = [
    kind("AUC", num_thresholds=30),
    kind("AUC", num_thresholds=20, curve="PR", name="area"),
    kind("Precision"),
    kind("Recall", thresholds=[0.4, 0.6]),
]
# name -> (model, x, y, sample weights, compile, fit)
CASES: dict[str, tuple[Callable[[], Any], Any, Any, Any, dict[str, Any], dict[str, Any]]] = {
    "two_classes": (
        lambda: chain(GRU(3, **F), Dense(1, "sigmoid", **F)),
        X,
        TWO,
        None,
        {"loss": "binary_crossentropy", "metrics": ["accuracy", *CURVES]},
        {"class_weight": {"0": 0.5, "1": 2.0}, "held": True},
    ),
    "two_classes_weighted": (
        lambda: chain(GRU(3, **F), Dense(1, "sigmoid", **F)),
        X,
        TWO,
        WEIGHTS,
        {"loss": "binary_crossentropy", "metrics": ["acc"], "weighted_metrics": ["acc", *CURVES]},
        {"held": True},
    ),
    "numbered_classes": (
        lambda: chain(LSTM(3, **F), Dense(3, "softmax", **F)),
        X,
        THREE,
        WEIGHTS,
        {
            "loss": "sparse_categorical_crossentropy",
            "metrics": ["accuracy", "sparse_categorical_crossentropy"],
            "weighted_metrics": ["accuracy"],
        },
        {"validation_split": 0.3},
    ),
    "numbered_classes_by_class": (
        lambda: chain(LSTM(3, **F), Dense(3, "softmax", **F)),
        X,
        THREE,
        None,
        {"loss": "sparse_categorical_crossentropy", "weighted_metrics": ["accuracy"]},
        {"class_weight": {"0": 0.3, "2": 3.0}, "validation_split": 0.3},
    ),
    "one_hot": (
        lambda: chain(SimpleRNN(3, **F), Dense(3, "softmax", **F)),
        X,
        np.eye(3)[THREE],
        None,
        {
            "loss": "categorical_crossentropy",
            "metrics": ["accuracy", "mae", kind("CategoricalCrossentropy")],
        },
        {"class_weight": {"0": 0.3, "2": 3.0}, "held": True},
    ),
    "top_k": (
        lambda: chain(SimpleRNN(3, **F), Dense(3, "softmax", **F)),
        X,
        np.eye(3)[THREE],
        None,
        {"loss": "categorical_crossentropy", "metrics": [kind("TopKCategoricalAccuracy", k=2)]},
        {"held": True},
    ),
    "top_k_numbered": (
        lambda: chain(SimpleRNN(3, **F), Dense(3, "softmax", **F)),
        X,
        THREE,
        WEIGHTS,
        {
            "loss": "sparse_categorical_crossentropy",
            "weighted_metrics": [kind("SparseTopKCategoricalAccuracy", k=2), "accuracy"],
        },
        {"held": True},
    ),
    "masked_steps": (
        lambda: tagger(3, "softmax"),
        IDS,
        STEPS,
        None,
        {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], "weighted_metrics": ["accuracy"]},
        {"held": True},
    ),
    "masked_and_weighted_steps": (
        lambda: tagger(3, "softmax"),
        IDS,
        STEPS,
        STEP_WEIGHTS,
        {
            "loss": "sparse_categorical_crossentropy",
            # No weighted metric: Keras on PyTorch changes the weights in place as it masks the loss (measured).
            "metrics": ["sparse_categorical_crossentropy"],
        },
        {"held": True},
    ),
    "masked_decisions": (
        lambda: tagger(1, "sigmoid"),
        IDS,
        STEPS[..., None] % 2,
        None,
        {"loss": "binary_crossentropy", "metrics": ["accuracy"], "weighted_metrics": ["mse"]},
        {},
    ),
    "numbers": (
        lambda: chain(GRU(3, **F), Dense(2, **F)),
        X,
        REAL,
        WEIGHTS,
        {
            "loss": "huber",
            "metrics": ["mae", "mse", kind("RootMeanSquaredError"), "cosine_similarity"],
            "weighted_metrics": ["mae"],
        },
        {"held": True},
    ),
    "two_outputs": (
        two_headed,
        {"a": X, "b": X[:, 0]},
        {"p": REAL, "q": THREE},
        {"p": WEIGHTS, "q": WEIGHTS[::-1].copy()},
        {
            "loss": {"p": "mse", "q": "sparse_categorical_crossentropy"},
            "loss_weights": {"p": 0.5, "q": 2.0},
            "metrics": {"p": ["mae", "mse"], "q": "accuracy"},
            "weighted_metrics": {"p": ["mae"], "q": ["accuracy"]},
        },
        {"held": True},
    ),
    "two_outputs_in_lists": (
        two_headed,
        [X, X[:, 0]],
        [REAL, THREE],
        None,
        {"loss": ["mse", "sparse_categorical_crossentropy"], "metrics": [["mae"], ["accuracy"]]},
        {},
    ),
}


def build(name: str) -> Any:
    lc.set_random_seed(1997)
    model = CASES[name][0]()
    model.set_weights([w + 0.3 * np.random.default_rng(w.shape).normal(size=w.shape) for w in model.get_weights()])
    return model


def named(given: Any, prefix: str, arrays: dict[str, Any]) -> Any:
    """The same structure with names in place of arrays, which go to ``arrays``."""
    if isinstance(given, dict):
        return {key: named(entry, f"{prefix}_{key}", arrays) for key, entry in given.items()}
    if isinstance(given, list):
        return [named(entry, f"{prefix}_{k}", arrays) for k, entry in enumerate(given)]
    if given is not None:
        arrays[prefix] = given
    return None if given is None else prefix


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The history and the logs of evaluate, of all cases."""
    folder: Path = tmp_path_factory.mktemp("keras")
    cases = {}
    for name, (_, x, y, w, compiled, fit) in CASES.items():
        model = build(name)
        arrays = {f"weight{k}": weight for k, weight in enumerate(model.get_weights())}
        cases[name] = {
            "model": model.to_json(),
            "weights": len(arrays),
            **{key: named(given, key, arrays) for key, given in (("x", x), ("y", y), ("w", w))},
            "compile": compiled,
            "fit": fit,
        }
        np.savez(folder / f"{name}.npz", **arrays)
    (folder / "cases.json").write_text(json.dumps(cases), "utf-8")
    environment = {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", READER, str(folder)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    logs: dict[str, Any] = json.loads((folder / "logs.json").read_text("utf-8"))
    return logs


def trained(name: str, backend: str) -> tuple[dict[str, Any], dict[str, Any]]:
    _, x, y, w, compiled, fit = CASES[name]
    model = build(name)
    model.compile(lc.optimizers.SGD(0.2), **compiled)
    given = dict(fit)
    if "class_weight" in given:
        given["class_weight"] = {int(key): value for key, value in given["class_weight"].items()}
    if given.pop("held", False):
        given["validation_data"] = (x, y) if w is None else (x, y, w)
    common = {"sample_weight": w, "batch_size": 4, "verbose": 0, "backend": backend}
    history = model.fit(x, y, epochs=2, shuffle=False, **common, **given).history
    return history, model.evaluate(x, y, return_dict=True, **common)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("name", CASES)
def test_logs_are_those_of_keras(name: str, backend: str, keras: dict[str, Any]) -> None:
    for own, theirs in zip(trained(name, backend), keras[name], strict=True):
        assert sorted(own) == sorted(theirs)
        for key, value in theirs.items():
            np.testing.assert_allclose(own[key], value, rtol=3e-6, atol=1e-7, err_msg=key)
