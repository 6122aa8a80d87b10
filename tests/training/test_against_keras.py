"""Ten steps of training are those of real Keras 3.15: the same losses, and the same weights after them."""

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
from lstmcore import plugins
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    Add,
    Attention,
    Bidirectional,
    Concatenate,
    Conv1D,
    Dense,
    Embedding,
    Input,
    LayerNormalization,
    LSTMCell,
    SimpleRNN,
    TimeDistributed,
)
from lstmcore.models import Model, Sequential

STEPS = 10
READER = """
import json, sys
import numpy as np
import keras
folder = sys.argv[1]
keras.config.set_floatx("float64")
results = {}
for name, case in json.load(open(folder + "/cases.json")).items():
    model = keras.models.model_from_json(case["model"])
    data = np.load(folder + f"/{name}.npz")
    count = case["weights"]
    model.set_weights([data[f"w{k}"] for k in range(count)])
    optimizer = keras.optimizers.deserialize(case["optimizer"])
    model.compile(optimizer, case["loss"], loss_weights=case["loss_weights"])
    x = [data[f"x{k}"] for k in range(case["inputs"])]
    y = [data[f"y{k}"] for k in range(case["outputs"])]
    w = data["sample_weight"] if "sample_weight" in data else None
    x, y = (v[0] if len(v) == 1 else v for v in (x, y))
    losses = [float(np.ravel(model.train_on_batch(x, y, sample_weight=w))[0]) for _ in range(case["steps"])]
    results[name] = losses
    np.savez(folder + f"/{name}.after.npz", *model.get_weights())
json.dump(results, open(folder + "/losses.json", "w"))
"""


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape)


def classes(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng((count, *shape)).integers(0, count, size=shape)


def ragged() -> np.ndarray:
    ids = 1 + classes(6, 6, 5)
    ids[1, 3:] = ids[2, 1:] = ids[3, :2] = ids[4, 2] = 0
    return ids


def optimizer(name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.optimizers", "class_name": name, "config": config, "registered_name": None}


def two_headed() -> Model:
    a, b = Input((5, 3), name="a"), Input((5, 3), name="b")
    shared = LSTM(4, return_sequences=True, name="shared", dtype="float64")
    joined = Add(name="add", dtype="float64")([shared(a), shared(b)])
    pooled = GRU(3, name="gru", dtype="float64")(joined)
    return Model([a, b], [Dense(2, name="p", dtype="float64")(pooled), Dense(1, name="q", dtype="float64")(pooled)])


def translator() -> Model:
    source, target = Input((5,), name="source"), Input((4,), name="target")
    encoded = Embedding(7, 4, mask_zero=True, name="e", dtype="float64")(source)
    states = LSTM(4, return_sequences=True, return_state=True, name="encoder", dtype="float64")(encoded)
    decoded = Embedding(7, 4, name="d", dtype="float64")(target)
    read = LSTM(4, return_sequences=True, name="decoder", dtype="float64")(decoded, initial_state=states[1:])
    context = Attention(name="attention", dtype="float64")([read, states[0]])
    both = Concatenate(name="join", dtype="float64")([read, context])
    return Model([source, target], Dense(7, "softmax", name="out", dtype="float64")(both))


def chain(*layers: Any, shape: tuple[int, ...] = (5, 3)) -> Sequential:
    return Sequential([Input(shape), *layers])


F = {"dtype": "float64"}
# name -> (model, inputs, targets, loss, optimizer, more)
CASES: dict[str, tuple[Callable[[], Any], list[np.ndarray], list[np.ndarray], Any, dict[str, Any], dict[str, Any]]] = {
    "masked_steps": (
        lambda: chain(
            Embedding(7, 4, mask_zero=True, **F),
            LSTM(3, return_sequences=True, **F),
            Dense(3, "softmax", **F),
            shape=(5,),
        ),
        [ragged()],
        [classes(3, 6, 5)],
        "sparse_categorical_crossentropy",
        optimizer("SGD", learning_rate=0.1),
        {},
    ),
    "penalties": (
        lambda: chain(
            Bidirectional(GRU(3, kernel_regularizer="l2", recurrent_regularizer="l1", **F), **F), Dense(2, **F)
        ),
        [numbers(6, 5, 3)],
        [numbers(6, 2)],
        "mse",
        optimizer("SGD", learning_rate=0.05, momentum=0.9, nesterov=True),
        {},
    ),
    "sample_weights": (
        lambda: chain(
            Conv1D(4, 2, padding="causal", activation="tanh", **F),
            LayerNormalization(**F),
            SimpleRNN(3, **F),
            Dense(1, "sigmoid", **F),
        ),
        [numbers(6, 5, 3)],
        [classes(2, 6, 1)],
        "binary_crossentropy",
        optimizer("SGD", learning_rate=0.1),
        {"sample_weight": np.arange(1.0, 7.0)},
    ),
    "frozen_layer": (
        lambda: chain(LSTM(3, trainable=False, **F), Dense(2, **F)),
        [numbers(6, 5, 3)],
        [numbers(6, 2)],
        "huber",
        optimizer("Adam", learning_rate=0.01),
        {"limit": 2e-6},  # Keras rounds Adam's numbers to float32 in float64 too (3.15, measured)
    ),
    "cell_over_time": (
        lambda: chain(RNN(LSTMCell(3, **F), return_sequences=True, **F), TimeDistributed(Dense(2, **F), **F)),
        [numbers(6, 5, 3)],
        [numbers(6, 5, 2)],
        "mae",
        optimizer("SGD", learning_rate=0.05),
        {},
    ),
    "clipped": (
        lambda: chain(LSTM(3, **F), Dense(2, **F)),
        [numbers(6, 5, 3)],
        [10 * numbers(6, 2)],
        "mse",
        optimizer("SGD", learning_rate=0.1, global_clipnorm=0.5),
        {},
    ),
    "two_headed": (
        two_headed,
        [numbers(6, 5, 3), numbers(6, 5, 3)[::-1]],
        [numbers(6, 2), numbers(6, 1)],
        ["mse", "mae"],
        optimizer("SGD", learning_rate=0.05),
        {"loss_weights": [1.0, 0.25]},
    ),
    "translator": (
        translator,
        [ragged(), classes(7, 6, 4)],
        [classes(7, 6, 4)],
        "sparse_categorical_crossentropy",
        optimizer("SGD", learning_rate=0.2),
        {},
    ),
}


def build(name: str) -> Any:
    lc.set_random_seed(1997)
    model = CASES[name][0]()
    model.set_weights([w + 0.1 * numbers(*w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[float]]]:
    """What Keras makes of all cases: a folder with the weights after, and the losses."""
    folder = tmp_path_factory.mktemp("keras")
    cases = {}
    for name, (_, x, y, loss, rule, more) in CASES.items():
        model = build(name)
        arrays = {f"w{k}": w for k, w in enumerate(model.get_weights())}
        arrays |= {f"x{k}": a for k, a in enumerate(x)} | {f"y{k}": a for k, a in enumerate(y)}
        if "sample_weight" in more:
            arrays["sample_weight"] = more["sample_weight"]
        np.savez(folder / f"{name}.npz", **arrays)
        cases[name] = {
            "model": model.to_json(),
            "weights": len(model.get_weights()),
            "inputs": len(x),
            "outputs": len(y),
            "loss": loss,
            "loss_weights": more.get("loss_weights"),
            "optimizer": rule,
            "steps": STEPS,
        }
    (folder / "cases.json").write_text(json.dumps(cases), "utf-8")
    environment = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", READER, str(folder)], check=True, env={**os.environ, **environment})
    return folder, json.loads((folder / "losses.json").read_text("utf-8"))


@pytest.mark.parametrize("backend", ["numpy", "torch", "tensorflow"])
@pytest.mark.parametrize("name", CASES)
def test_ten_steps_are_those_of_keras(name: str, backend: str, keras: tuple[Path, dict[str, list[float]]]) -> None:
    assert backend in {info.name for info in plugins.backends() if info.status == "available"}
    folder, losses = keras
    _, x, y, loss, rule, more = CASES[name]
    model = build(name)
    model.compile(rule, loss, loss_weights=more.get("loss_weights"))
    given = {"sample_weight": more.get("sample_weight"), "backend": backend, "return_dict": True}
    data = (x[0] if len(x) == 1 else x, y[0] if len(y) == 1 else y)
    own = [model.train_on_batch(*data, **given)["loss"] for _ in range(STEPS)]
    np.testing.assert_allclose(own, losses[name], rtol=2e-6)  # Keras averages losses in float32
    with np.load(folder / f"{name}.after.npz") as after:
        expected = [after[key] for key in after.files]
    scale = max(np.abs(w).max() for w in expected)
    for mine, theirs in zip(model.get_weights(), expected, strict=True):
        assert np.abs(mine - theirs).max() <= more.get("limit", 1e-7) * scale
