"""Activity regularizers add to the loss what Keras adds, in training and in ``evaluate``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_judge import BACKENDS, Case, Outcome, agree, sgd, train

from lstmcore import layers
from lstmcore.errors import SpecError
from lstmcore.layers import (
    RNN,
    ActivityRegularization,
    Dense,
    Input,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
    TimeDistributed,
)
from lstmcore.models import Sequential

RNG = np.random.default_rng(17)
X, X4 = RNG.normal(size=(6, 5, 3)), RNG.normal(size=(6, 4, 5, 3))
Y, Y5, IDS = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 5, 2)), RNG.integers(0, 7, size=(6, 5))


def layer_by_layer(k: Any, regularizer: Any) -> Any:
    told = {"activity_regularizer": regularizer}
    return k.Sequential(
        [
            k.Input((5,)),
            k.Embedding(7, 4, mask_zero=True, **told),
            k.LSTM(3, return_sequences=True, **told),
            k.BatchNormalization(**told),
            k.RNN(k.GRUCell(3), return_sequences=True, **told),
            k.LayerNormalization(**told),
            k.Conv1D(3, 2, **told),
            k.SimpleRNN(3, return_sequences=True, go_backwards=True),
            k.Activation("tanh", **told),
            k.Flatten(**told),
            k.Dense(2, activation="tanh", trainable=False, **told),
            k.Dense(2, **told),
        ]
    )


def states(k: Any) -> Any:
    x = k.Input((5, 3))
    y, h, c = k.LSTM(2, return_state=True, return_sequences=True, activity_regularizer="l2")(x)
    return k.Model(x, [y, k.Add()([h, c])])


def both_ways(k: Any, **options: Any) -> Any:
    told = {"activity_regularizer": "l2"}
    both = k.Bidirectional(k.GRU(2, return_sequences=True, **told), activity_regularizer="l1", **options)
    return k.Sequential([k.Input((5, 3)), k.Masking(), both, k.Flatten(), k.Dense(2)])


def twice(k: Any) -> Any:
    x = k.Input((5, 3))
    dense = k.Dense(3, activation="tanh", activity_regularizer="l2", trainable=False)
    return k.Model(x, k.Dense(2)(dense(dense(x))))


def nested(k: Any, regularizer: Any) -> Any:
    dense = k.Dense(3, activity_regularizer=regularizer)
    inner_x = k.Input((5, 3))
    inner = k.Model(inner_x, k.Dense(3, activity_regularizer="l2")(dense(inner_x)))
    x = k.Input((5, 3))
    return k.Model(x, k.Dense(2)(inner(k.Dense(3)(dense(inner(x))))))


def steps(k: Any, shape: Any) -> Any:
    step = k.Sequential([k.Input((3,)), k.Dense(4, activity_regularizer="l2"), k.ActivityRegularization(0.01, 0.02)])
    silent = k.TimeDistributed(k.Dense(2, activity_regularizer="l2"), activity_regularizer="l1")
    return k.Sequential([k.Input(shape), k.TimeDistributed(step), silent])


def steps_of_ids(k: Any) -> Any:
    words = k.Sequential([k.Input((5,)), k.Embedding(7, 3, activity_regularizer="l2"), k.LSTM(2)])
    return k.Sequential([k.Input((4, 5)), k.TimeDistributed(words), k.LSTM(2)])


def steps_in_steps(k: Any) -> Any:
    inner = k.Sequential([k.Input((3,)), k.Dense(2, activity_regularizer="l2")])
    return k.Sequential(
        [k.Input((4, 5, 3)), k.TimeDistributed(k.TimeDistributed(inner)), k.TimeDistributed(k.LSTM(2)), k.LSTM(2)]
    )


def attention(k: Any, **options: Any) -> Any:
    x = k.Input((5, 3))
    y = k.MultiHeadAttention(2, 3, value_dim=2, activity_regularizer="l2", **options)(x, x)
    return k.Model(x, k.Dense(2)(y))


def layer(k: Any) -> Any:
    return k.Sequential([k.Input((5, 3)), k.LSTM(2), k.ActivityRegularization(l1=0.1, l2=0.2), k.Dense(2)])


def told(name: str, **config: float) -> dict[str, Any]:
    """Factors that float32 has exactly: Keras 3.15 rounds them to it in float64 too (measured)."""
    return {"module": "keras.regularizers", "class_name": name, "config": config, "registered_name": None}


CASES = {
    "l2": Case(layer_by_layer, [IDS], [Y], {"regularizer": told("L2", l2=2**-7)}),
    "l1": Case(layer_by_layer, [IDS], [Y], {"regularizer": told("L1", l1=2**-7)}, fit={"epochs": 3, "batch_size": 4}),
    "states": Case(states, [X], [Y5, Y]),
    "both_ways": Case(both_ways, [X * (X[:, :, :1] > -0.5)], [Y]),
    "both_ways_ave": Case(both_ways, [X], [Y], {"merge_mode": "ave"}),
    "twice": Case(twice, [X], [Y5]),
    "nested": Case(nested, [X], [Y5], {"regularizer": told("L1L2", l1=2**-6, l2=2**-5)}, optimizer=sgd(0.01)),
    "steps": Case(steps, [X], [Y5], {"shape": [5, 3]}),
    "steps_open_time": Case(steps, [X], [Y5], {"shape": [None, 3]}),
    "steps_of_ids": Case(steps_of_ids, [RNG.integers(0, 7, size=(6, 4, 5))], [Y]),
    "steps_in_steps": Case(steps_in_steps, [X4], [Y]),
    "attention": Case(attention, [X], [Y5]),
    "attention_gated": Case(attention, [X], [Y5], {"use_gate": True, "use_bias": False}),
    "layer": Case(layer, [X], [Y]),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_outputs_are_penalized_as_in_keras(name: str, backend: str, keras: dict[str, Outcome]) -> None:
    agree(CASES[name], train(CASES[name], backend), keras[name])


def test_the_penalty_is_a_mean_over_samples() -> None:
    """By hand: (l1 Σ |x| + l2 Σ x²) / samples."""
    model = Sequential([Input((5, 3)), ActivityRegularization(0.1, 0.2, dtype="float64")])
    model.compile("sgd", "mse")
    expected = (0.1 * abs(X).sum() + 0.2 * (X**2).sum()) / len(X)
    assert model.evaluate(X, X, batch_size=4) == pytest.approx(expected, rel=1e-12)
    assert model.train_on_batch(X, X) == pytest.approx(expected, rel=1e-12)


def test_that_of_simple_rnn_counts_as_that_of_lstm_does() -> None:
    """Keras 3.15 takes the option for SimpleRNN and loses it."""
    model = Sequential([Input((5, 3)), SimpleRNN(2, activity_regularizer="l2", dtype="float64")])
    model.compile("sgd", "mse")
    y = model.predict(X)
    assert model.evaluate(X, y) == pytest.approx(0.01 * (y**2).sum() / len(X), rel=1e-12)


def test_prediction_computes_no_penalty() -> None:
    plain, told = (Sequential([Input((3,)), Dense(2, activity_regularizer=r)]) for r in (None, "l2"))
    assert str(plain.program) == str(told.program)


def test_the_layer_has_the_config_of_keras() -> None:
    layer = ActivityRegularization(l1=0.1)
    assert {"l1": 0.1, "l2": 0.0}.items() <= layer.get_config().items()
    assert "activity_regularizer" not in layer.get_config()
    again = layers.deserialize(layers.serialize(layer))
    assert (again.l1, again.l2) == (0.1, 0.0)
    with pytest.raises(SpecError, match="no option 'activity_regularizer'"):  # nor has Keras'
        ActivityRegularization(activity_regularizer="l2")


@pytest.mark.parametrize("stack", [False, True])
def test_that_of_a_cell_is_refused_where_keras_fails(stack: bool) -> None:
    cell = SimpleRNNCell(2, activity_regularizer="l2")
    model = Sequential([Input((5, 3)), RNN(StackedRNNCells([SimpleRNNCell(3), cell]) if stack else cell)])
    with pytest.raises(SpecError, match=r"SimpleRNNCell.*activity_regularizer of a cell.*give it to the RNN"):
        model.compile("sgd", "mse")


def test_that_within_time_distributed_is_noted() -> None:
    model = Sequential([Input((5, 3)), TimeDistributed(Dense(2, activity_regularizer="l2"), name="each")])
    assert any("each: the activity_regularizer of the layer inside" in note for note in model.program.notes)
