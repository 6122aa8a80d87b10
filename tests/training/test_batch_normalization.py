"""BatchNormalization in training: statistics of the batch, moving averages, masks, frozen and shared layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_judge import BACKENDS, Case, Outcome, agree, train

RNG = np.random.default_rng(11)
X2, X3, X4 = RNG.normal(size=(6, 3)) + 1, 2 * RNG.normal(size=(6, 5, 3)) + 1, RNG.normal(size=(6, 4, 5, 3)) - 1
Y1, Y5 = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 5, 2))
GAPS = X3.copy()
GAPS[1, 3:] = GAPS[2, 1:] = GAPS[4, 2] = GAPS[5] = 0


def plain(k: Any, shape: Any, **options: Any) -> Any:
    return k.Sequential([k.Input(shape), k.Dense(4), k.BatchNormalization(**options), k.Dense(2)])


def raw(k: Any, shape: Any, **options: Any) -> Any:
    return k.Sequential([k.Input(shape), k.BatchNormalization(**options), k.Dense(2)])


def masked(k: Any, shape: Any, **options: Any) -> Any:
    return k.Sequential([k.Input(shape), k.Masking(), k.BatchNormalization(**options), k.LSTM(2)])


def masked_outputs(k: Any) -> Any:
    return k.Sequential([k.Input((5, 3)), k.Masking(), k.Dense(2), k.BatchNormalization(momentum=0.8)])


def recurrent(k: Any) -> Any:
    return k.Sequential(
        [
            k.Input((5, 3)),
            k.BatchNormalization(momentum=0.7, gamma_regularizer="l2", beta_regularizer="l1"),
            k.LSTM(3, return_sequences=True),
            k.BatchNormalization(momentum=0.9),
            k.Bidirectional(k.GRU(2)),
            k.BatchNormalization(activity_regularizer="l2"),
            k.Dense(2),
        ]
    )


def twice(k: Any) -> Any:
    x = k.Input((5, 3))
    norm = k.BatchNormalization(momentum=0.6)
    return k.Model(x, k.Dense(2)(norm(k.Dense(3, activation="tanh")(norm(x)))))


def nested(k: Any) -> Any:
    norm = k.BatchNormalization(momentum=0.6)
    inner_x = k.Input((5, 3))
    inner = k.Model(inner_x, k.Dense(3)(norm(inner_x)))
    x = k.Input((5, 3))
    return k.Model(x, k.Dense(2)(norm(inner(inner(x)))))


def frozen(k: Any) -> Any:
    norm, free = k.BatchNormalization(trainable=False), k.BatchNormalization()
    return k.Sequential([k.Input((5, 3)), k.Dense(4), norm, k.Dense(3), free, k.Dense(2)])


def frozen_within(k: Any) -> Any:
    inner_x = k.Input((5, 3))
    inner = k.Model(inner_x, k.BatchNormalization()(k.Dense(3)(inner_x)))
    inner.trainable = False
    x = k.Input((5, 3))
    return k.Model(x, k.Dense(2)(inner(x)))


def steps_apart(k: Any, shape: Any) -> Any:
    return k.Sequential([k.Input(shape), k.TimeDistributed(k.BatchNormalization(momentum=0.9)), k.Dense(2)])


def masked_steps_apart(k: Any) -> Any:
    norm = k.TimeDistributed(k.BatchNormalization(momentum=0.9))
    return k.Sequential([k.Input((5, 3)), k.Masking(), norm, k.LSTM(2)])


def masked_model_apart(k: Any) -> Any:
    step = k.Sequential([k.Input((3,)), k.Dense(4), k.BatchNormalization(momentum=0.9)])
    return k.Sequential([k.Input((5, 3)), k.Masking(), k.TimeDistributed(step), k.LSTM(2)])


def apart_in_apart(k: Any) -> Any:
    norm = k.TimeDistributed(k.TimeDistributed(k.BatchNormalization(momentum=0.9)))
    return k.Sequential([k.Input((4, 5, 3)), norm, k.TimeDistributed(k.LSTM(2)), k.LSTM(2)])


CASES = {
    "rank_2": Case(plain, [X2], [Y1], {"shape": [3]}),
    "rank_3": Case(plain, [X3], [Y5], {"shape": [5, 3], "momentum": 0.9}),
    "open_time": Case(plain, [X3], [Y5], {"shape": [None, 3], "epsilon": 0.1}),
    "no_scale": Case(plain, [X3], [Y5], {"shape": [5, 3], "scale": False}),
    "no_center": Case(plain, [X2], [Y1], {"shape": [3], "center": False}),
    "neither": Case(plain, [X3], [Y5], {"shape": [5, 3], "center": False, "scale": False, "momentum": 0.0}),
    "momentum_1": Case(plain, [X2], [Y1], {"shape": [3], "momentum": 1.0}),
    "axis_1": Case(raw, [X3], [Y5], {"shape": [5, 3], "axis": 1, "momentum": 0.9}),
    "one_feature": Case(raw, [X3[:, :, :1]], [Y5], {"shape": [5, 1], "momentum": 0.9}),
    "masked": Case(masked, [GAPS], [Y1], {"shape": [5, 3], "momentum": 0.9}),
    "masked_open_time": Case(masked, [GAPS], [Y1], {"shape": [None, 3], "momentum": 0.9, "scale": False}),
    "masked_axis_1": Case(masked, [GAPS], [Y1], {"shape": [5, 3], "axis": 1, "momentum": 0.9}),
    "masked_outputs": Case(masked_outputs, [GAPS], [Y5]),
    "all_masked": Case(masked, [0 * GAPS], [Y1], {"shape": [5, 3]}),
    "recurrent": Case(recurrent, [X3], [Y1]),
    "twice": Case(twice, [X3], [Y5]),
    "nested": Case(nested, [X3], [Y5]),
    "frozen": Case(frozen, [X3], [Y5]),
    "frozen_within": Case(frozen_within, [X3], [Y5]),
    "steps_apart": Case(steps_apart, [X3], [Y5], {"shape": [5, 3]}),
    "steps_apart_open_time": Case(steps_apart, [X3], [Y5], {"shape": [None, 3]}),
    "masked_steps_apart": Case(masked_steps_apart, [GAPS], [Y1]),
    "masked_model_apart": Case(masked_model_apart, [GAPS], [Y1]),
    "apart_in_apart": Case(apart_in_apart, [X4], [Y1]),
    "fit": Case(recurrent, [X3], [Y1], fit={"epochs": 3, "batch_size": 4}),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_it_trains_as_keras_does(name: str, backend: str, keras: dict[str, Outcome]) -> None:
    agree(CASES[name], train(CASES[name], backend), keras[name])
