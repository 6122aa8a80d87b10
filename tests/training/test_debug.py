"""With debug=True the first number that is not finite is traced to the layer and the weight that made it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.callbacks import TerminateOnNaN
from lstmcore.errors import TrainingError
from lstmcore.layers import GRU, LSTM, Dense, Dropout, Embedding, Input, SimpleRNN
from lstmcore.models import Sequential

BACKENDS = ("numpy", "torch", "tensorflow")
RNG = np.random.default_rng(17)
X = RNG.normal(size=(12, 4, 3)).astype("f4")
Y = RNG.normal(size=(12, 1)).astype("f4")

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of overflows


def compiled(*layers: Any, optimizer: Any = "sgd", loss: str = "mse", shape: Any = (4, 3)) -> Sequential:
    lc.set_random_seed(3)
    model = Sequential([Input(shape), *layers])
    model.compile(optimizer, loss)
    return model


def told(model: Sequential, backend: str, x: Any = X, y: Any = Y, **more: Any) -> str:
    given = {"batch_size": 4, "epochs": 3, "verbose": 0, "shuffle": False, "debug": True, **more}
    with pytest.raises(TrainingError) as caught:
        model.fit(x, y, backend=backend, **given)
    return str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_data_that_are_no_numbers(backend: str) -> None:
    x, y, w = X.copy(), Y.copy(), np.ones(12, "f4")
    x[5, 2, 1] = y[10, 0] = w[6] = np.nan
    model = compiled(GRU(3), Dense(1))
    entering = model.program.inputs[0]
    error = told(model, backend, x)
    assert error.startswith(f"step 1: {entering!r} holds nan (at (1, 2, 1), 1 of 48 numbers) before any layer")
    assert told(compiled(GRU(3), Dense(1)), backend, X, y).startswith("step 2: 'target 0' holds nan (at (2, 0), 1 of 4")
    error = told(compiled(GRU(3), Dense(1)), backend, sample_weight=w)
    assert error.startswith("step 1: 'sample weight 0' holds nan (at (2,), 1 of 4")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("first", [Dropout(0.2), SimpleRNN(3, return_sequences=True, name="first")])
def test_a_layer_that_overflows_is_named(backend: str, first: Any) -> None:
    lc.set_random_seed(3)
    layers = (type(first).from_config(first.get_config()), Dense(4, "exponential", name="blown"), LSTM(3), Dense(1))
    model = compiled(*layers)
    weights = [np.where(w.shape == (first.get_config().get("units", 3), 4), 1e3, 1) * w for w in model.get_weights()]
    model.set_weights(weights)
    error = told(model, backend)
    assert error.startswith("step 0: 'blown' (its op ") and "made inf" in error and "out of finite numbers" in error


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weight_that_a_gradient_spoils_is_named(backend: str) -> None:
    model = compiled(GRU(3, name="gru"), Dense(1, name="out"), optimizer=lc.optimizers.SGD(1e38))
    before = model.get_weights()
    error = told(model, backend, y=100 * Y)
    assert "step 0: the loss is " in error and "but its gradient made weight 'gru/kernel' hold" in error
    assert "try a smaller learning rate" in error
    assert not all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weight_that_was_no_number_before(backend: str) -> None:
    model = compiled(Embedding(5, 3, name="table"), GRU(3, name="gru"), Dense(1, name="out"), shape=(4,))
    ids = RNG.integers(0, 4, (12, 4))
    weights = model.get_weights()
    weights[0][2] = np.nan
    model.set_weights(weights)
    error = told(model, backend, ids)
    assert error == "step 0: weight 'table/embeddings' holds nan (at (2, 0), 3 of 15 numbers) before the step"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_state_that_was_no_number_before(backend: str) -> None:
    lc.set_random_seed(3)
    model = Sequential([Input(batch_shape=(4, 4, 3)), GRU(3, stateful=True, name="gru"), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.states = {name: np.full_like(state, np.nan) for name, state in model.states.items()}
    error = told(model, backend)
    assert error.startswith("step 3: 'gru' (its op Gru) was given nan")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_that_explodes_over_several_steps(backend: str) -> None:
    model = compiled(SimpleRNN(3, "relu", name="rnn"), Dense(1, name="out"), optimizer=lc.optimizers.SGD(30.0))
    error = told(model, backend, epochs=30)
    step = int(error.split(":")[0].removeprefix("step "))
    assert step >= 1 and ("'rnn" in error or "'out" in error or "loss 0" in error)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_finite_is_trained_alike(backend: str) -> None:
    runs = []
    for debug in (False, True):
        model = compiled(LSTM(3), Dropout(0.3), Dense(1), optimizer="adam")
        model.fit(X, Y, 5, 2, 0, debug=debug, backend=backend)
        runs.append([w.tobytes() for w in model.get_weights()])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_terminate_on_nan(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    y = Y.copy()
    y[5] = np.nan
    model = compiled(GRU(3), Dense(1))
    history = model.fit(X, y, 4, 5, 0, TerminateOnNaN(), shuffle=False, backend=backend)
    assert "the loss is nan after batch 2 of epoch 1; training stops" in capsys.readouterr().out
    assert len(history.history["loss"]) == 1 and model._compiled().step == 2
    with pytest.raises(TrainingError, match="the loss is nan after batch 2 of epoch 1"):
        compiled(GRU(3), Dense(1)).fit(X, y, 4, 5, 0, TerminateOnNaN(raise_error=True), shuffle=False, backend=backend)
