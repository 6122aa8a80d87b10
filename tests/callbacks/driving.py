"""Training without a model: recorded logs, told to any callback in the order of Keras' ``fit``.

It knows neither Keras nor lstmcore, so that both are told the same by the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Optimizer:
    """A learning rate, and the steps that it was used for."""

    def __init__(self, learning_rate: Any = 0.125) -> None:
        self.learning_rate = learning_rate
        self.iterations = 0


class Model:
    """Two weights that move with every batch, an optimizer, and a list of what was saved."""

    name = "fake"
    output_names = ("out",)
    metrics = ()

    def __init__(self, optimizer: Any = None) -> None:
        self.optimizer = optimizer or Optimizer()
        self.stop_training = False
        self.steps = 0
        self.saved: list[list[Any]] = []
        self._weights = {"a/kernel": np.arange(6.0).reshape(2, 3) ** 1.5, "a/bias": np.array([0.5, -1.0, 2.25])}

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        return dict(self._weights)

    def every_path(self) -> Mapping[str, np.ndarray]:
        return dict(self._weights)

    def get_weights(self) -> list[np.ndarray]:
        return [array.copy() for array in self._weights.values()]

    def set_weights(self, arrays: list[np.ndarray]) -> None:
        self._weights = dict(zip(self._weights, (np.array(a) for a in arrays), strict=True))

    def step(self) -> None:
        self.steps += 1
        self._weights = {name: 0.75 * array + self.steps for name, array in self._weights.items()}

    def to_json(self) -> str:
        return "{}"

    def save(self, path: str, **_: Any) -> None:
        self.saved.append(["model", stem(path), self.steps])
        Path(path).write_text("a model")

    def save_weights(self, path: str, **_: Any) -> None:
        self.saved.append(["weights", stem(path), self.steps])
        Path(path).write_text("weights")


def stem(path: str) -> str:
    """A path without what tells the formats of Keras from ours."""
    for suffix in (".safetensors", ".weights.h5", ".keras"):
        path = path.removesuffix(suffix)
    return path


SEEN = ("best", "wait", "best_epoch", "stopped_epoch", "cooldown_counter")


def drive(
    callback: Any,
    model: Any,
    epochs: list[dict[str, Any]],
    params: Mapping[str, Any] | None = None,
    first: int = 0,
    after_epoch: Callable[[int], bool] = lambda epoch: False,
) -> list[dict[str, Any]]:
    """Tells of the epochs from the first on: ``batches`` (their logs), ``test`` and ``logs``. What was seen of each.

    ``after_epoch`` says whether the run is killed there: then no end is told.
    """
    given = {"epochs": len(epochs), "steps": None, "verbose": 0, "initial_epoch": first, "resumed": False}
    callback.set_params({**given, **(params or {})})
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    seen: list[dict[str, Any]] = []
    logs: dict[str, Any] = {}
    for number, epoch in list(enumerate(epochs))[first:]:
        if model.stop_training:
            break
        callback.on_epoch_begin(number, {})
        for batch, batch_logs in enumerate(epoch["batches"]):
            callback.on_train_batch_begin(batch, logs={})
            model.step()
            count(model.optimizer)
            callback.on_train_batch_end(batch, logs=dict(batch_logs))
        if epoch.get("test") is not None:
            callback.on_test_begin({})
            callback.on_test_end(dict(epoch["test"]))
        logs = dict(epoch["logs"])
        callback.on_epoch_end(number, logs)
        state = {name: plain(getattr(callback, name)) for name in SEEN if hasattr(callback, name)}
        seen.append({"learning_rate": logs.get("learning_rate"), "rate": float(model.optimizer.learning_rate), **state})
        if after_epoch(number):
            return seen
    callback.on_train_end(logs)
    return seen


def count(optimizer: Any) -> None:
    if hasattr(optimizer.iterations, "assign_add"):
        optimizer.iterations.assign_add(1)
    else:
        optimizer.iterations += 1


def plain(value: Any) -> Any:
    return None if value is None else float(value)
