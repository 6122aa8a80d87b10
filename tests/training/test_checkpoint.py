"""A training that was interrupted anywhere, and goes on from its checkpoint, ends as if nothing had happened."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
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


def test_resumed_elsewhere(tmp_path: Path) -> None:
    """A part on each engine, each time with other seeds; measured: weights 2e-16 and slots 2e-15 of the largest off."""
    whole, calls = run(watched, tmp_path / "whole", None, seed=1)
    for k, backend in enumerate(("numpy", "torch", "tensorflow")):
        again = run(watched, tmp_path / "parts", None if k == 2 else calls // 3 + k, seed=1 + k, backend=backend)
    model = again[0]
    assert model._compiled().step == whole._compiled().step == 6
    largest = max(np.abs(weight).max() for weight in whole.weights.values())
    for name, weight in whole.weights.items():
        np.testing.assert_allclose(model.weights[name], weight, rtol=0, atol=1e-13 * largest)
    slots = whole._compiled().slots
    for path, own in model._compiled().slots.items():
        for slot, array in own.items():
            np.testing.assert_allclose(array, slots[path][slot], rtol=0, atol=1e-13)
    assert model.history.history.keys() == whole.history.history.keys()
    for name, values in whole.history.history.items():
        np.testing.assert_allclose(model.history.history[name], values, rtol=1e-12)


def test_a_run_of_24_steps_takes_24(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' BackupAndRestore begins the epoch anew: 31 (3.15, measured)."""
    steps, step = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, *args: (steps.append(args[2]), step(self, *args))[1])
    for stop in (7, 13, None):
        model = noisy()
        model.compile("adam", "binary_crossentropy")
        callback = LambdaCallback(on_train_batch_begin=lambda batch, logs=None, at=stop: at == len(steps) and 1 / 0)
        data = {"batch_size": 2, "epochs": 2, "verbose": 0, "steps_per_epoch": 12, "callbacks": callback}
        if stop:
            with pytest.raises(ZeroDivisionError):
                model.fit(X, Y, **data, checkpoint=tmp_path, save_every=1)
        else:
            model.fit(X, Y, **data, checkpoint=tmp_path, save_every=1)
    assert steps == list(range(24))
    assert model._compiled().step == 24


@pytest.mark.parametrize("fit", [watched, stopped])
def test_a_run_that_is_over_is_as_it_was(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run(fit, tmp_path, None, seed=1)
    files = ended(tmp_path)
    monkeypatch.setattr(Trainer, "step", None)
    again, _ = run(fit, tmp_path, None, seed=2)
    assert remains(again) == remains(whole) and ended(tmp_path) == files


def test_more_epochs_than_before(tmp_path: Path) -> None:
    found = []
    for name, all_epochs in (("whole", [5]), ("parts", [1, 3, 5])):
        lc.set_random_seed(1)
        for epochs in all_epochs:
            model = noisy()
            model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
            model.fit(X, Y, 8, epochs, 0, EarlyStopping("loss", patience=9), checkpoint=tmp_path / name, save_every=2)
        found.append((remains(model), ended(tmp_path / name)))
    assert found[0] == found[1]


def test_what_a_callback_stopped_is_not_taken_up(tmp_path: Path) -> None:
    def fit(epochs: int) -> Any:
        lc.set_random_seed(1)
        model = noisy()
        model.compile("adam", "binary_crossentropy")
        model.fit(X, Y, 8, epochs, 0, EarlyStopping("loss", min_delta=9), checkpoint=tmp_path)
        return model

    with pytest.warns(UserWarning, match="was stopped by a callback after 2 epochs, and is not taken up"):
        assert remains(fit(4)) == remains(fit(8))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_checkpoint_is_a_model_too(backend: str, tmp_path: Path) -> None:
    model, _ = run(stateful, tmp_path, None, seed=1, backend=backend)
    loaded = lc.load_model(tmp_path / NAME)
    twin = Sequential([Input(batch_shape=(3, 4, 3)), GRU(3, stateful=True, **F), Dense(2, **F)])
    twin.load_weights(tmp_path / NAME)
    for other in (loaded, twin):
        assert list(other.weights) == list(model.weights)
        assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), model.get_weights(), strict=True))


def test_layers_may_be_called_as_parts_of_a_checkpoint_are(tmp_path: Path) -> None:
    def fit(at: int | None, seed: int) -> Any:
        lc.set_random_seed(seed)
        names = ("optimizer", "states", "scores", "callbacks")
        model = Sequential([Input((4, 3)), *(GRU(2, return_sequences=True, name=name, **F) for name in names)])
        model.compile("adam", "mse", metrics=["mae"])
        try:
            model.fit(X, X[:, :, :2], 8, 2, 0, Interrupt(at), checkpoint=tmp_path / str(at or seed), save_every=1)
        except KeyboardInterrupt:
            return fit(None, at)
        return model

    assert remains(fit(7, 1)) == remains(fit(None, 1))
    assert bytes_of(tmp_path / "7") == bytes_of(tmp_path / "1")


def bytes_of(directory: Path) -> bytes:
    return (directory / NAME).read_bytes()


def test_a_callback_remembers_arrays_and_numbers_of_every_kind(tmp_path: Path) -> None:
    class Own(Callback):
        def __init__(self, kept: Any) -> None:
            self.kept = kept

        def state(self) -> dict[str, Any]:
            return {"kept": self.kept}

        def restore(self, state: Any) -> None:
            self.kept = state["kept"]

    def fit(kept: Any, folder: Path) -> Any:
        model = Sequential([Input((4, 3)), LSTM(2)])
        model.compile("sgd", "mse")
        own = Own(kept)
        model.fit(X, Z, 8, 1, 0, own, checkpoint=folder)
        return own.kept

    arrays = (np.arange(3, dtype=np.uint8), np.array([True, False]), np.array([[2**53, -1]]), np.array([1.5], "f2"))
    kept = {**{str(k): a for k, a in enumerate(arrays)}, "n": [1, None, {"a": "b"}], "x": float("inf"), "y": 3}
    lc.set_random_seed(1)
    fit({**kept, "y": np.int64(3)}, tmp_path / "kept")
    found = fit(None, tmp_path / "kept")
    for k, array in enumerate(arrays):
        assert found[str(k)].dtype == array.dtype and np.array_equal(found[str(k)], array)
    assert {name: found[name] for name in "nxy"} == {name: kept[name] for name in "nxy"}
    for k, bad in enumerate((np.array([2**60]), np.array([1j]), np.array(["a"]), {1, 2})):
        with pytest.raises(lc.errors.SpecError, match="callback") as caught:
            fit(bad, tmp_path / str(k))
        assert re.search("Own/kept|neither JSON", str(caught.value))


TWO = """
import sys, numpy as np
from lstmcore.layers import GRU, Input
from lstmcore.models import Sequential
from lstmcore.callbacks import LambdaCallback
model = Sequential([Input((3, 2)), GRU(1)])
model.compile("sgd", "mse")
def told(epoch, logs=None):
    print("at", epoch, flush=True)
    sys.stdin.readline()
model.fit(np.ones((4, 3, 2)), np.ones((4, 1)), epochs=3, verbose=0, checkpoint=sys.argv[1],
          callbacks=[LambdaCallback(on_epoch_begin=told)])
"""


def test_two_processes_do_not_write_to_one_directory(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    run = [sys.executable, "-c", TWO, str(tmp_path / "run")]
    first = subprocess.Popen(run, stdin=pipe, stdout=pipe, text=True)
    try:
        assert first.stdout is not None and first.stdin is not None
        assert first.stdout.readline() == "at 0\n"
        (tmp_path / "run" / f".{NAME}.1234.tmp").write_bytes(b"being written")
        second = subprocess.run(run, input="\n\n\n", capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"another training writes its checkpoints to {tmp_path / 'run'} (" in second.stderr
        assert (tmp_path / "run" / f".{NAME}.1234.tmp").exists()
        first.stdin.write("\n\n\n")
        first.stdin.flush()
        assert first.communicate()[0] == "at 1\nat 2\n" and first.returncode == 0
    finally:
        first.kill()
        first.communicate()
    third = subprocess.run(run, input="", capture_output=True, text=True, check=True)
    assert third.stdout == ""  # all three epochs are there
