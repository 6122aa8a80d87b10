"""The callbacks in ``fit``: on a real model, on every engine, killed and taken up."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tensorboard import values_in

import lstmcore as lc
from lstmcore.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
)
from lstmcore.layers import LSTM, Dense, Dropout, Input
from lstmcore.models import Sequential
from lstmcore.optimizers import SGD, Adam

ENGINES = ["numpy", "torch", "tensorflow"]
RANDOM = np.random.default_rng(8)
X = RANDOM.normal(size=(22, 5, 3)).astype("float32")
Y = X.sum((1, 2), keepdims=True)[:, 0]


def model(optimizer: Any = None) -> Any:
    lc.set_random_seed(5)
    made = Sequential([Input((5, 3)), LSTM(4, name="lstm"), Dropout(0.2), Dense(1, name="out")])
    made.compile(optimizer or Adam(0.03), "mse", metrics=["mae"])
    return made


def fit(made: Any, callbacks: Any, epochs: int = 6, backend: str = "numpy", **more: Any) -> Any:
    data = {"validation_split": 0.3, "batch_size": 4, "verbose": 0, "epochs": epochs, "backend": backend}
    return made.fit(X, Y, callbacks=callbacks, **{**data, **more})


@pytest.mark.parametrize("backend", ENGINES)
def test_early_stopping_gives_back_the_best_weights(backend: str) -> None:
    every: list[list[np.ndarray]] = []
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: every.append(made.get_weights()))
    stopping = EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    made = model(SGD(0.4))
    history = fit(made, [keep, stopping], 30, backend)
    values = history.history["val_loss"]
    assert len(values) < 30 and made.stop_training
    assert stopping.best == min(values) and stopping.best_epoch == int(np.argmin(values)) < len(values) - 1
    for own, best in zip(made.get_weights(), every[stopping.best_epoch], strict=True):
        np.testing.assert_array_equal(own, best)


@pytest.mark.parametrize("backend", ENGINES)
def test_the_learning_rate_that_is_set_is_used(backend: str) -> None:
    """A rate of 0 from the second epoch on: the weights stay."""
    every: list[list[np.ndarray]] = []
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: every.append(made.get_weights()))
    made = model(SGD(0.1))
    history = fit(made, [LearningRateScheduler(lambda epoch, rate: 0.0 if epoch else rate), keep], 3, backend)
    assert history.history["learning_rate"] == [0.1, 0.0, 0.0]
    assert all(np.array_equal(a, b) for a, b in zip(every[0], every[2], strict=True))


def test_the_rate_falls_where_nothing_improves() -> None:
    made = model(SGD(0.5))
    history = fit(made, [ReduceLROnPlateau("val_loss", patience=1, factor=0.5, min_delta=1e6)], 4)
    assert history.history["learning_rate"] == [0.5, 0.5, 0.25, 0.125]
    assert made.optimizer.learning_rate == 0.0625


@pytest.mark.parametrize("backend", ENGINES)
def test_weights_are_current_in_every_batch(backend: str) -> None:
    seen: list[np.ndarray] = []
    made = model(SGD(0.1))
    fit(made, [LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(made.weights["out/bias"].copy()))], 1)
    assert len(seen) == 4 and len({float(bias[0]) for bias in seen}) == 4
    np.testing.assert_array_equal(seen[-1], made.weights["out/bias"])


def test_saved_models_are_those_of_their_epochs(tmp_path: Path) -> None:
    every: list[np.ndarray] = []
    made = model()
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: every.append(made.predict(X, backend="numpy")))
    history = fit(made, [ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.3f}.safetensors"), keep], 3)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [
        f"{epoch + 1:02d}-{value:.3f}.safetensors" for epoch, value in enumerate(history.history["val_loss"])
    ]
    for file, expected in zip(files, every, strict=True):
        np.testing.assert_array_equal(lc.load_model(file).predict(X, backend="numpy"), expected)


def test_the_files_of_batches_hold_the_weights_of_their_batch(tmp_path: Path) -> None:
    made, seen = model(SGD(0.1)), {}

    def keep(batch: int, logs: Any) -> None:
        seen[batch + 1] = made.weights["out/bias"].copy()

    saving = ModelCheckpoint(tmp_path / "{epoch}-{batch}.safetensors", save_freq=3)
    fit(made, [LambdaCallback(on_train_batch_end=keep), saving], 1)
    (file,) = tmp_path.iterdir()
    assert file.name == "1-3.safetensors"
    np.testing.assert_array_equal(lc.load_model(file).weights["out/bias"], seen[3])


def test_files_tell_what_the_history_tells(tmp_path: Path) -> None:
    history = fit(model(), [CSVLogger(tmp_path / "log.csv"), TensorBoard(tmp_path / "logs")], 3).history
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_mae"]) for row in rows] == history["val_mae"]
    events = {(folder, tag, step): numbers for folder, tag, step, numbers in values_in(tmp_path / "logs")}
    for epoch in range(3):
        for folder, tag, name in (("train", "epoch_loss", "loss"), ("validation", "epoch_mae", "val_mae")):
            assert events[folder, tag, epoch] == pytest.approx([history[name][epoch]], rel=1e-6)
        assert events["validation", "evaluation_loss_vs_iterations", 4 * (epoch + 1)]
    assert ("train", "keras", 0) in events


def test_a_loss_that_is_no_number_ends_training() -> None:
    made = model(SGD(0.1))
    history = made.fit(X, Y * np.float32(1e30), epochs=3, verbose=0, callbacks=TerminateOnNaN(), backend="numpy")
    assert history.epoch == [0]


class Killed(Callback):
    """Ends the process' training as a signal would: after so many batches, nothing more is told or saved."""

    reads_weights = False

    def __init__(self, after: int) -> None:
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


MAKERS: dict[str, Callable[[Path], list[Callback]]] = {
    "stopping": lambda folder: [EarlyStopping("val_loss", patience=2, restore_best_weights=True)],
    "reducing": lambda folder: [ReduceLROnPlateau("val_loss", patience=1, min_delta=0.3, factor=0.5)],
    "scheduling": lambda folder: [LearningRateScheduler(lambda epoch, rate: 0.8 * rate)],
    "saving": lambda folder: [ModelCheckpoint(folder / "{epoch}-{batch}.safetensors", "loss", save_freq=3)],
    "files": lambda folder: [CSVLogger(folder / "log.csv"), TensorBoard(folder / "logs", update_freq=1)],
}


@pytest.mark.parametrize("killed", [0, 2, 5, 10])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_fit_that_was_killed_ends_as_one_that_was_not(kind: str, killed: int, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder in (whole, part):
        folder.mkdir()
    given = {"checkpoint": tmp_path / "run", "save_every": 3}
    expected = model(SGD(0.3))
    history = fit(expected, MAKERS[kind](whole), 5)
    first = model(SGD(0.3))
    with pytest.raises(KeyboardInterrupt):
        fit(first, [*MAKERS[kind](part), Killed(killed)], 5, **given)
    again = model(SGD(0.3))
    resumed = fit(again, MAKERS[kind](part), 5, **given)
    assert resumed.history == history.history and resumed.epoch == history.epoch
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(again.weights[name], array)
    assert again.optimizer.learning_rate == expected.optimizer.learning_rate
    assert found(part) == found(whole)


def found(folder: Path) -> dict[str, Any]:
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    return {**files, "events": sorted(map(repr, values_in(folder / "logs")))}
