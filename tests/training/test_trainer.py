"""One training step: the noise it draws, what it puts on the device, and that it may be made ready ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import plugins
from lstmcore.callbacks import LambdaCallback
from lstmcore.layers import LSTM, Dense, Dropout, Input
from lstmcore.models import Sequential
from lstmcore.random import Stream
from lstmcore.runtime import noise
from lstmcore.runtime.trainer import Trainer
from lstmcore.runtime.training import trainer

RNG = np.random.default_rng(3)
X = RNG.normal(size=(8, 6, 3)).astype("float32")
Y = RNG.normal(size=(8, 2)).astype("float32")


def model() -> Sequential:
    lc.set_random_seed(5)
    made = Sequential([Input((6, 3)), LSTM(4, return_sequences=True), Dropout(0.25), LSTM(5), Dropout(0.5), Dense(2)])
    made.compile("adam", "mse")
    return made


def trainer_of(made: Sequential, backend: str) -> tuple[Trainer, dict[str, Any]]:
    whole = made._batch(X, Y, None)
    one = trainer(made, made._training, whole, backend)  # type: ignore[arg-type]
    one.load(made.every_path(), {})
    return one, {**whole.inputs, one.objective.targets[0]: whole.targets[0]}


def drawn(step: int, rows: int, dtype: str = "float32") -> dict[str, np.ndarray]:
    one, values = trainer_of(model(), "numpy")
    program = one.objective.program
    shapes = noise.shapes(program, {name: array[:rows].shape for name, array in values.items()})
    return noise.draw(program, shapes, Stream(1).child("step", step), dtype)


def test_noise_is_a_function_of_the_seed_the_path_and_the_step() -> None:
    one, again, later = drawn(3, 8), drawn(3, 8), drawn(4, 8)
    assert [array.shape for array in one.values()] == [(8, 6, 4), (8, 5)]
    for name, rate in zip(one, (0.25, 0.5), strict=True):
        expected = Stream(1).child("step", 3, name).bernoulli(one[name].shape, 1 - rate) / np.float32(1 - rate)
        np.testing.assert_array_equal(one[name], expected.astype("float32"))
        np.testing.assert_array_equal(one[name], again[name])
        assert not np.array_equal(one[name], later[name])
        assert one[name].dtype == np.float32
    for name, array in drawn(3, 8, "float64").items():
        np.testing.assert_allclose(array, one[name], rtol=1e-7)


def test_partial_batches_have_noise_and_zeros_of_their_own_size() -> None:
    one, values = trainer_of(model(), "numpy")
    for rows in (8, 3, 8):
        outputs, after = one.step(one.ready({n: a[:rows] for n, a in values.items()}, 0, Stream(1)), {}, 0)
        assert outputs[one.objective.predictions[0]].shape == (rows, 2)
        assert {state.shape for state in after.values()} == {(rows, 4), (rows, 5)}


@pytest.mark.parametrize("name", ["numpy", "torch", "tensorflow"])
def test_a_step_puts_its_data_noise_and_one_tensor_of_numbers_on_the_device(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, values = trainer_of(model(), name)
    backend = plugins.get(name)
    shapes: list[Any] = []
    put = backend.tensor

    def counted(array: Any) -> Any:
        shapes.append(array.shape)
        return put(array)

    monkeypatch.setattr(backend, "tensor", counted)
    for step in range(3):
        shapes.clear()
        one.step(one.ready(values, step, Stream(1)), {}, step)
    # no zeros of carries after the first step
    assert sorted(shapes) == sorted([(8, 6, 3), (8, 2), (8, 6, 4), (8, 5), (len(one.optimizer.scalars(0)),)])


def test_carries_that_are_given_are_used_and_the_others_start_at_zero() -> None:
    one, values = trainer_of(model(), "numpy")
    start = dict(one.weights), dict(one.slots)
    carries = [carry.name for carry in one.objective.program.carries]

    def loss(given: dict[str, Any]) -> float:
        one.weights, one.slots = start
        return float(one.step(one.ready(values, 0, Stream(1)), given, 0)[0][one.objective.loss])

    zeros = {name: np.zeros((8, 4 if name.startswith("lstm/") else 5), np.float32) for name in carries}
    assert loss({}) == loss(zeros) != loss({carries[0]: zeros[carries[0]] + 1})


def test_a_step_made_ready_ahead_is_the_step() -> None:
    losses = []
    for ahead in (False, True):
        one, values = trainer_of(model(), "numpy")
        made = [one.ready(values, k, Stream(k)) for k in range(3)] if ahead else []
        runs = [one.step(made[k] if ahead else one.ready(values, k, Stream(k)), {}, k) for k in range(3)]
        losses.append([float(outputs[one.objective.loss]) for outputs, _ in runs])
    assert losses[0] == losses[1]


def test_a_learning_rate_that_was_set_after_it_was_made_ready_holds() -> None:
    moved = []
    for rate in (0.1, 0.001):
        one, values = trainer_of(model(), "numpy")
        ready, start = one.ready(values, 0, Stream(1)), one.weights_now()
        one.optimizer.learning_rate = rate
        one.step(ready, {}, 0)
        moved.append(max(np.abs(array - start[name]).max() for name, array in one.weights_now().items()))
    assert moved[0] > 50 * moved[1]


@pytest.mark.parametrize("name", ["numpy", "torch", "tensorflow"])
@pytest.mark.parametrize("what", ["nothing", "rate", "a step between"])
def test_what_was_made_ahead_is_made_anew_where_something_came_between(name: str, what: str) -> None:
    """`fit` over 24 batches, of which 9 are made ready in a row, beside a step at a time."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(48, 6, 3)).astype("float32"), rng.normal(size=(48, 2)).astype("float32")

    def between(made: Sequential, step: int) -> None:
        if step == 4 and what == "rate":
            made.optimizer.learning_rate = 0.5
        if step == 4 and what == "a step between":
            made.train_on_batch(x[:2], y[:2], backend=name)

    weights = []
    for by_fit in (True, False):
        lc.set_random_seed(3)
        made = Sequential([Input((6, 3)), LSTM(4), Dropout(0.4), Dense(2)])
        made.compile("sgd", "mse")
        if by_fit:
            told = LambdaCallback(on_train_batch_end=lambda step, logs, made=made: between(made, step))
            made.fit(x, y, batch_size=2, shuffle=False, verbose=0, callbacks=[told], backend=name)
        else:
            for step in range(24):
                made.train_on_batch(x[2 * step : 2 * step + 2], y[2 * step : 2 * step + 2], backend=name)
                between(made, step)
        weights.append(made.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
