"""Single steps go on with what the one before left on the device, and see whatever was changed between them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmcore.layers import GRU, LSTM, Dense, Input
from lstmcore.models import Sequential
from lstmcore.random import set_random_seed
from lstmcore.runtime.trainer import Trainer

RNG = np.random.default_rng(6)
X = RNG.normal(size=(3, 5, 2)).astype("f4")
Y = RNG.normal(size=(3, 1)).astype("f4")
WEIGHT = np.array([0.5, 1, 2], "f4")


def built() -> Sequential:
    layers = [LSTM(3, return_sequences=True, dropout=0.2, seed=1), GRU(4, stateful=True, name="kept"), Dense(1)]
    model = Sequential([Input(batch_shape=(3, 5, 2)), *layers])
    draws = np.random.default_rng(7)
    model.set_weights([draws.uniform(-0.6, 0.6, a.shape).astype(a.dtype) for a in model.get_weights()])
    model.compile("adam", "mse")
    return model


def set_weights(model: Sequential, folder: Path) -> None:
    model.set_weights([0.9 * array for array in model.get_weights()])


def one_layer(model: Sequential, folder: Path) -> None:
    layer = model.layers[-1]
    layer.set_weights([array + 0.25 for array in layer.get_weights()])


def new_states(model: Sequential, folder: Path) -> None:
    model.states = {name: array + 0.5 for name, array in model.states.items()}


def fitted(model: Sequential, folder: Path) -> None:
    model.fit(X, Y, epochs=2, batch_size=3, verbose=0)


def saved(model: Sequential, folder: Path) -> None:
    model.fit(X, Y, epochs=1, batch_size=3, verbose=0, checkpoint=folder / "run")


def slower(model: Sequential, folder: Path) -> None:
    model.optimizer.learning_rate = 0.5


BETWEEN: dict[str, Callable[[Sequential, Path], Any]] = {
    "nothing": lambda model, folder: None,
    "weights": set_weights,
    "one layer": one_layer,
    "states": new_states,
    "reset": lambda model, folder: model.reset_states(),
    "fit": fitted,
    "a checkpoint": saved,
    "evaluate": lambda model, folder: model.evaluate(X, Y, batch_size=3, verbose=0),
    "weighted": lambda model, folder: model.train_on_batch(X, Y, sample_weight=WEIGHT),
    "elsewhere": lambda model, folder: model.train_on_batch(X, Y, backend="numpy"),
    "learning rate": slower,
    "slots": lambda model, folder: model.progress(),
}


def state(model: Sequential) -> list[bytes]:
    _, step, slots = model.progress()
    numbers = [*model.get_weights(), *model.states.values(), *(a for own in slots.values() for a in own.values())]
    return [np.asarray(number).tobytes() for number in (*numbers, step)]


def steps(between: Callable[[Sequential, Path], Any], folder: Path, engine: str, forget: bool) -> tuple[Any, Any]:
    set_random_seed(3)
    model, told = built(), []
    for k in range(6):
        if forget:  # as a first step does: all is loaded anew
            model._training.slots = model._compiled().slots
        if k in (2, 4):
            between(model, folder)
        told.append(model.train_on_batch(X, Y, backend=engine))
    return told, state(model)


CASES = [("torch", name) for name in BETWEEN] + [
    (e, n) for e in ("numpy", "tensorflow") for n in ("nothing", "weights")
]


@pytest.mark.parametrize(("engine", "between"), CASES)
def test_what_happens_between_two_steps_is_seen(
    engine: str, between: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(engine)
    monkeypatch.setenv("LSTMCORE_BACKEND", engine)
    found = steps(BETWEEN[between], tmp_path / "a", engine, forget=False)
    assert found == steps(BETWEEN[between], tmp_path / "b", engine, forget=True)


def test_nothing_is_loaded_or_fetched_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = built(), []
    for name in ("load", "slots_now"):
        own = getattr(Trainer, name)
        monkeypatch.setattr(Trainer, name, lambda *args, own=own, name=name: (calls.append(name), own(*args))[1])
    for _ in range(4):
        model.train_on_batch(X, Y)
    assert calls == ["load"]
    model.progress()
    model.progress()
    model.train_on_batch(X, Y)
    assert calls == ["load", "slots_now"]
    model.set_weights(model.get_weights())
    model.train_on_batch(X, Y)
    assert calls == ["load", "slots_now", "slots_now", "load"]


def test_a_copy_has_slots_of_its_own() -> None:
    model = built()
    model.train_on_batch(X, Y)
    other = copy.deepcopy(model)
    assert state(other) == state(model)
    model.train_on_batch(X, Y)
    other.train_on_batch(X, Y)
    assert state(other) == state(model)


def test_after_a_step_that_failed_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(fails: bool) -> list[bytes]:
        set_random_seed(3)
        model = built()
        model.train_on_batch(X, Y)
        with monkeypatch.context() as patch, pytest.raises(MemoryError) if fails else contextlib.nullcontext():
            if fails:
                patch.setattr(Trainer, "step", fail)
                model.train_on_batch(X, Y)
        model.train_on_batch(X, Y)
        return state(model)

    def fail(*args: Any) -> None:
        raise MemoryError

    assert trained(True) == trained(False)
