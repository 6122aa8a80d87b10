"""A training that was interrupted anywhere, and goes on from its checkpoint, ends as if nothing had happened."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from lstmcore.layers import GRU, LSTM, Dense, Dropout, Input
from lstmcore.metrics import AUC, Precision
from lstmcore.models import Model, Sequential
from lstmcore.runtime.checkpoint import NAME
from lstmcore.runtime.trainer import Trainer

BACKENDS = ("numpy", "torch", "tensorflow")
RNG = np.random.default_rng(11)
X = RNG.normal(size=(21, 4, 3))
Y = (RNG.random((21, 1)) > 0.4).astype(int)
Z = RNG.normal(size=(21, 2))
F = {"dtype": "float64"}
Fit = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether bytes come to the disk is for test_kills.py; waiting for it takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Interrupt(Callback):
    """Raises at the ``at``-th time that training calls one of its hooks; None never does, and counts."""

    reads_weights = False

    def __init__(self, at: int | None = None) -> None:
        self.at, self.calls = at, 0

    def _called(self, *_: Any, **__: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt

    on_train_begin = on_epoch_begin = on_epoch_end = on_test_begin = on_test_end = _called
    on_train_batch_begin = on_train_batch_end = on_epoch_resume = _called


def noisy() -> Sequential:
    return Sequential([Input((4, 3)), LSTM(3, **F), Dropout(0.3, **F), Dense(1, "sigmoid", **F)])


def watched(folder: Path, extra: list[Any], **more: Any) -> Any:
    """Shuffles, dropout, a smaller last batch, a validation, metrics, and every callback that remembers."""
    model = noisy()
    metrics = ["accuracy", AUC(num_thresholds=5), Precision(thresholds=[0.3, 0.6])]
    model.compile(lc.optimizers.Adam(0.02), "binary_crossentropy", metrics=metrics)
    callbacks = [
        EarlyStopping(patience=9, restore_best_weights=True),
        ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.1, cooldown=1),
        CSVLogger(folder / "log.csv"),
        ModelCheckpoint(folder / "{epoch}-{batch}.safetensors", save_freq=2),
        ModelCheckpoint(folder / "best.safetensors", save_best_only=True),
        LearningRateScheduler(lambda epoch, rate: rate * 0.75),
    ]
    model.fit(X, Y, 8, 3, 0, [*callbacks, *extra], 0.2, checkpoint=folder, save_every=1, **more)
    return model


def stateful(folder: Path, extra: list[Any], **more: Any) -> Any:
    model = Sequential([Input(batch_shape=(3, 4, 3)), GRU(3, stateful=True, **F), Dense(2, **F)])
    model.compile(lc.optimizers.SGD(0.1, momentum=0.9), "mse")
    held = {"validation_data": (X[:6], Z[:6]), "validation_freq": 2}
    model.fit(
        X, Z, epochs=3, verbose=0, shuffle=False, callbacks=extra, **held, checkpoint=folder, save_every=3, **more
    )
    return model


def in_steps(folder: Path, extra: list[Any], **more: Any) -> Any:
    """Epochs of four batches, of passes of three."""
    model = noisy()
    rate = lc.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    model.compile(lc.optimizers.RMSprop(rate, clipnorm=0.5), "binary_crossentropy", metrics=["mae"])
    model.fit(X, Y, 8, 3, 0, extra, steps_per_epoch=4, checkpoint=folder, save_every="epoch", **more)
    return model


def batches(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    for k in itertools.count():
        yield tuple(a[k % 20 : k % 20 + 5] for a in arrays)


def generated(folder: Path, extra: list[Any], **more: Any) -> Any:
    """From iterators that cannot start anew."""
    model = noisy()
    model.compile("adamax", "binary_crossentropy", metrics=["AUC"])
    held = {"validation_data": batches(X[::-1], Y[::-1]), "validation_steps": 2}
    data = batches(X, Y)
    model.fit(data, epochs=3, verbose=0, callbacks=extra, steps_per_epoch=3, **held, checkpoint=folder, save_every=2)
    return model


class Loader:
    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for n in (3, 8, 5):
            yield {"a": X[:n], "b": X[n : 2 * n]}, {"p": Z[:n], "q": Y[:n]}, {"p": np.arange(n) + 1.0, "q": None}


def two_headed() -> Model:
    a, b = Input((4, 3), name="a"), Input((4, 3), name="b")
    shared = LSTM(3, **F)
    joined = Dropout(0.2, **F)(lc.layers.Concatenate(**F)([shared(a), shared(b)]))
    return Model([a, b], [Dense(2, name="p", **F)(joined), Dense(1, "sigmoid", name="q", **F)(joined)])


def several(folder: Path, extra: list[Any], **more: Any) -> Any:
    """Inputs, outputs and weights by name, from what can start anew."""
    model = two_headed()
    model.compile(
        "nadam",
        {"p": "mse", "q": "binary_crossentropy"},
        {"p": 1.0, "q": 0.5},
        metrics={"q": ["accuracy", "AUC"]},
        weighted_metrics={"p": ["mae"]},
    )
    model.fit(Loader(), epochs=3, verbose=0, callbacks=extra, checkpoint=folder, save_every=1, **more)
    return model


def stopped(folder: Path, extra: list[Any], **more: Any) -> Any:
    """By a callback, in the midst of an epoch."""
    model = noisy()
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])

    def stop(batch: int, logs: Any = None) -> None:
        if logs["loss"] < 0.8 and model._compiled().step == 5:
            model.stop_training = True

    callbacks = [LambdaCallback(on_train_batch_end=stop), *extra]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # that it is not taken up
        model.fit(X, Y, 8, 4, 0, callbacks, 0.2, checkpoint=folder, save_every=1, **more)
    return model


RUNS = (watched, stateful, in_steps, generated, several, stopped)


def ended(folder: Path) -> dict[str, bytes]:
    """The bytes of all files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def remains(model: Any) -> Any:
    """All that a model has after training."""
    training = model._compiled()
    slots = {path: {slot: a.tobytes() for slot, a in own.items()} for path, own in training.slots.items()}
    weights = {name: array.tobytes() for name, array in model.weights.items()}
    states = {name: array.tobytes() for name, array in model.states.items()}
    rate = None if callable(model.optimizer.learning_rate) else model.optimizer.learning_rate
    return weights, slots, states, training.step, training.position, rate, model.history.history, model.history.epoch


def run(fit: Fit, folder: Path, at: int | None, seed: int, first: bool = False, **more: Any) -> Any:
    """The model, or None where it was interrupted; a file of the callbacks may be in ``folder`` too."""
    folder.mkdir(exist_ok=True)
    lc.set_random_seed(seed)
    interrupt = Interrupt(at)
    try:
        model = fit(folder, [interrupt], **more)
    except KeyboardInterrupt:
        return None
    return model, interrupt.calls


@pytest.mark.parametrize("fit", RUNS)
def test_interrupted_anywhere(fit: Fit, tmp_path: Path) -> None:
    whole, calls = run(fit, tmp_path / "whole", None, seed=1)
    files, remaining = ended(tmp_path / "whole"), remains(whole)
    assert calls > 20
    for at in range(1, calls + 1):
        folder = tmp_path / str(at)
        assert run(fit, folder, at, seed=1) is None
        model, _ = run(fit, folder, None, seed=2)
        assert remains(model) == remaining, f"interrupted at call {at}"
        assert ended(folder) == files, f"interrupted at call {at}"


@pytest.mark.parametrize("fit", [watched, stateful, generated])
def test_interrupted_again_and_again(fit: Fit, tmp_path: Path) -> None:
    """Each time after a few calls more than before, so that it gets on at all."""
    whole, _ = run(fit, tmp_path / "whole", None, seed=1)
    for seed in itertools.count(1):
        again = run(fit, tmp_path / "often", 3 + seed, seed)
        if again:
            break
    assert seed > 5
    assert remains(again[0]) == remains(whole) and ended(tmp_path / "often") == ended(tmp_path / "whole")


@pytest.mark.parametrize(
    ("backend", "fit", "some"), [("torch", watched, 5), ("torch", stateful, 7), ("tensorflow", watched, 17)]
)
def test_on_the_other_engines(backend: str, fit: Fit, some: int, tmp_path: Path) -> None:
    whole, calls = run(fit, tmp_path / "whole", None, seed=1, backend=backend)
    for at in range(4, calls, some):
        folder = tmp_path / str(at)
        assert run(fit, folder, at, seed=1, backend=backend) is None
        model, _ = run(fit, folder, None, seed=2, backend=backend)
        assert remains(model) == remains(whole) and ended(folder) == ended(tmp_path / "whole")
