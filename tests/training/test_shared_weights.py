"""A weight with several paths is trained once, by the sum of its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_judge import BACKENDS, Case, Outcome, agree, model_of, sgd, train

RNG = np.random.default_rng(19)
X, Y, Y5 = RNG.normal(size=(6, 5, 3)), RNG.normal(size=(6, 2)), RNG.normal(size=(6, 5, 2))


def beside(k: Any) -> Any:
    shared = k.Dense(3, activation="tanh", kernel_regularizer="l2", bias_constraint="non_neg")
    inner_x = k.Input((5, 3))
    inner = k.Model(inner_x, shared(k.Dense(3)(inner_x)))
    x = k.Input((5, 3))
    return k.Model(x, k.Dense(2)(shared(inner(shared(x)))))


def two_models(k: Any) -> Any:
    shared = k.LSTM(3, return_sequences=True, recurrent_regularizer="l1", kernel_constraint="max_norm")
    a_x, b_x, x = k.Input((5, 3)), k.Input((5, 3)), k.Input((5, 3))
    a = k.Model(a_x, shared(k.Dense(3)(a_x)))
    b = k.Model(b_x, k.Dense(2)(shared(b_x)))
    return k.Model(x, b(a(x)))


def deep(k: Any) -> Any:
    norm, both = k.BatchNormalization(momentum=0.5), k.Bidirectional(k.GRU(2, return_sequences=True))
    first_x = k.Input((5, 4))
    first = k.Model(first_x, norm(both(first_x)))
    second_x = k.Input((5, 4))
    second = k.Model(second_x, both(first(second_x)))
    x = k.Input((5, 3))
    return k.Model(x, k.Dense(2)(k.LSTM(2)(norm(second(first(k.Dense(4)(x)))))))


def cell_beside(k: Any) -> Any:
    cell = k.LSTMCell(3, kernel_regularizer="l2")
    x = k.Input((5, 3))
    once = k.RNN(cell, return_sequences=True)(x)
    return k.Model(x, k.Dense(2)(k.RNN(cell)(once)))


def frozen_in_one(k: Any) -> Any:
    shared = k.Dense(3, activation="tanh")
    inner_x = k.Input((5, 3))
    inner = k.Model(inner_x, k.Dense(3)(shared(inner_x)))
    inner.trainable = False
    x = k.Input((5, 3))
    return k.Model(x, k.Dense(2)(shared(inner(x))))


CASES = {
    "beside": Case(beside, [X], [Y5]),
    "beside_momentum": Case(beside, [X], [Y5], optimizer=sgd(0.05, momentum=0.9, global_clipnorm=0.5)),
    "two_models": Case(two_models, [X], [Y5]),
    "deep": Case(deep, [X], [Y]),
    "cell_beside": Case(cell_beside, [X], [Y]),
    "frozen_in_one": Case(frozen_in_one, [X], [Y5]),
    "fit": Case(beside, [X], [Y5], fit={"epochs": 3, "batch_size": 4}),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_it_trains_as_keras_does(name: str, backend: str, keras: dict[str, Outcome]) -> None:
    agree(CASES[name], train(CASES[name], backend), keras[name])


def test_it_has_one_set_of_slots_and_is_one_weight_everywhere_after() -> None:
    model = model_of(CASES["beside"])
    model.compile(sgd(0.05, momentum=0.9), "mse")
    model.train_on_batch(X, Y5)
    assert set(model._training.slots) == set(model.weights) and len(model.weights) == 6
    values = [array for path, array in model.every_path().items() if path.endswith("/kernel")]
    assert len(values) == 4  # three layers, of which one has two paths
    np.testing.assert_allclose(model.predict(X), model.predict(X, backend="torch"), atol=1e-12)
