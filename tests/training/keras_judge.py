"""One training on both sides, of a model that one function builds: what real Keras 3.15 makes of it is right."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore import layers, models, optimizers
from lstmcore.layers.base import Layer

BACKENDS = ("numpy", "torch", "tensorflow")

READER = """
import json, sys
from types import SimpleNamespace
import numpy as np
import keras
folder = sys.argv[1]
keras.config.set_floatx("float64")
named = {n: getattr(keras.layers, n) for n in dir(keras.layers)}
k = SimpleNamespace(**{**named, "Model": keras.Model, "Sequential": keras.Sequential})
results = {}
for name, case in json.load(open(folder + "/cases.json")).items():
    scope = {"Any": object}
    exec(case["source"], scope)
    model = scope[case["function"]](k, **case["options"])
    data = np.load(folder + f"/{name}.npz")
    x, y = ([data[f"{p}{j}"] for j in range(case[p])] for p in "xy")
    x, y = (v[0] if len(v) == 1 else v for v in (x, y))
    model.set_weights([data[f"w{j}"] for j in range(case["w"])])
    loss = case["loss"] if case["y"] == 1 else [case["loss"]] * case["y"]
    model.compile(keras.optimizers.deserialize(case["optimizer"]), loss)
    before = float(np.ravel(model.evaluate(x, y, batch_size=4, verbose=0))[0])
    if case["fit"] is None:
        losses = [float(np.ravel(model.train_on_batch(x, y))[0]) for _ in range(case["steps"])]
    else:
        losses = model.fit(x, y, shuffle=False, verbose=0, **case["fit"]).history["loss"]
    after = float(np.ravel(model.evaluate(x, y, batch_size=4, verbose=0))[0])
    results[name] = {"before": before, "losses": losses, "after": after}
    np.savez(folder + f"/{name}.after.npz", *model.get_weights())
json.dump(results, open(folder + "/results.json", "w"))
"""


def sgd(rate: float = 0.05, **more: Any) -> dict[str, Any]:
    """SGD as a config."""
    config = {"learning_rate": rate, **more}
    return {"module": "keras.optimizers", "class_name": "SGD", "config": config, "registered_name": None}


@dataclass(frozen=True)
class Case:
    """A model, ``build(k, **options)`` with Keras' names in k and all else inside the function, and its training."""

    build: Callable[..., Any]
    x: list[np.ndarray]
    y: list[np.ndarray]
    options: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "mse"
    optimizer: Mapping[str, Any] = field(default_factory=sgd)
    steps: int = 10
    fit: Mapping[str, Any] | None = None  # trained by ``fit`` with these arguments, not by ``train_on_batch``
    limit: float = 1e-7


@dataclass(frozen=True)
class Outcome:
    """The loss before, in batches of 4, at each step or epoch, and after; the weights then."""

    before: float
    losses: list[float]
    after: float
    weights: list[np.ndarray]


def ours() -> SimpleNamespace:
    """What `Case.build` takes, with all layers in float64."""
    named = {name: getattr(layers, name) for name in layers.__all__}
    made = {name: partial(cls, dtype="float64") for name, cls in named.items() if _is_layer(cls)}
    return SimpleNamespace(**{**named, **made}, Model=models.Model, Sequential=models.Sequential)


def _is_layer(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Layer)


def model_of(case: Case) -> Any:
    """The model on our side, with drawn weights no two of which are alike; variances stay positive."""
    lc.set_random_seed(1997)
    model = case.build(ours(), **case.options)
    drawn = np.random.default_rng(7)
    moved = [(w, w + 0.1 * drawn.normal(size=w.shape)) for w in model.get_weights()]
    model.set_weights([np.abs(new) if (old == 1).all() else new for old, new in moved])
    return model


def judge(cases: Mapping[str, Case], folder: Path) -> dict[str, Outcome]:
    """What Keras makes of the cases, in a process of its own."""
    told = {}
    for name, case in cases.items():
        weights = model_of(case).get_weights()
        arrays = {"w": weights, "x": case.x, "y": case.y}
        np.savez(folder / f"{name}.npz", **{f"{p}{j}": a for p, them in arrays.items() for j, a in enumerate(them)})
        told[name] = {
            **{p: len(them) for p, them in arrays.items()},
            "source": textwrap.dedent(inspect.getsource(case.build)),
            "function": case.build.__name__,
            **{key: getattr(case, key) for key in ("options", "loss", "optimizer", "steps", "fit")},
        }
    (folder / "cases.json").write_text(json.dumps(told), "utf-8")
    environment = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    (folder / "reader.py").write_text(READER, "utf-8")
    subprocess.run(
        [sys.executable, str(folder / "reader.py"), str(folder)], check=True, env={**os.environ, **environment}
    )
    found = {}
    for name, result in json.loads((folder / "results.json").read_text("utf-8")).items():
        with np.load(folder / f"{name}.after.npz") as after:
            found[name] = Outcome(**result, weights=[after[key] for key in after.files])
    return found


def train(case: Case, backend: str) -> Outcome:
    """What we make of a case."""
    model = model_of(case)
    x, y = (v[0] if len(v) == 1 else v for v in (case.x, case.y))
    model.compile(optimizers.deserialize(case.optimizer), case.loss if len(case.y) == 1 else [case.loss] * len(case.y))
    told = {"verbose": 0, "backend": backend}
    before = model.evaluate(x, y, batch_size=4, return_dict=True, **told)["loss"]
    if case.fit is None:
        losses = [model.train_on_batch(x, y, backend=backend, return_dict=True)["loss"] for _ in range(case.steps)]
    else:
        losses = model.fit(x, y, shuffle=False, **case.fit, **told).history["loss"]
    after = model.evaluate(x, y, batch_size=4, return_dict=True, **told)["loss"]
    return Outcome(before, losses, after, model.get_weights())


def agree(case: Case, own: Outcome, keras: Outcome) -> None:
    """Asserts that both made the same of it. Keras averages losses in float32."""
    np.testing.assert_allclose(
        [own.before, *own.losses, own.after], [keras.before, *keras.losses, keras.after], rtol=3e-6
    )
    scale = max(np.abs(w).max() for w in keras.weights)
    for mine, theirs in zip(own.weights, keras.weights, strict=True):
        assert np.abs(mine - theirs).max() <= case.limit * scale
