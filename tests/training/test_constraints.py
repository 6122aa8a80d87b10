"""Constraints, applied after each step as Keras does: each class, its axes, the layers that take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_judge import BACKENDS, Case, Outcome, agree, sgd, train

from lstmcore import constraints, plugins
from lstmcore.errors import SpecError
from lstmcore.layers import Conv1D, Dense, Input
from lstmcore.models import Sequential

RNG = np.random.default_rng(13)
X, Y = RNG.normal(size=(6, 5, 3)), RNG.normal(size=(6, 2))


def told(name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.constraints", "class_name": name, "config": config, "registered_name": None}


def convolved(k: Any, constraint: Any, bias: Any = None) -> Any:
    conv = k.Conv1D(4, 2, kernel_constraint=constraint, bias_constraint=bias)
    return k.Sequential([k.Input((5, 3)), conv, k.Flatten(), k.Dense(2, kernel_constraint="max_norm")])


def every_layer(k: Any, constraint: Any) -> Any:
    named = {f"{part}_constraint": constraint for part in ("kernel", "recurrent", "bias")}
    norms = {"gamma_constraint": constraint, "beta_constraint": constraint}
    ends = {"kernel_constraint": constraint, "bias_constraint": constraint}
    return k.Sequential(
        [
            k.Input((5,)),
            k.Embedding(7, 4, embeddings_constraint=constraint),
            k.BatchNormalization(**norms),
            k.LSTM(3, return_sequences=True, **named),
            k.LayerNormalization(**norms),
            k.Bidirectional(k.GRU(2, return_sequences=True, **named)),
            k.RNN(k.LSTMCell(3, **named), return_sequences=True),
            k.TimeDistributed(k.Dense(3, **ends)),
            k.SimpleRNN(2, trainable=False, **named),
            k.Dense(2, **ends),
        ]
    )


def attention(k: Any, constraint: Any) -> Any:
    x = k.Input((5, 3))
    y = k.MultiHeadAttention(2, 3, kernel_constraint=constraint, bias_constraint="non_neg")(x, x)
    return k.Model(x, k.Dense(2)(k.Flatten()(y)))


IDS = RNG.integers(0, 7, size=(6, 5))
CASES = {
    "max_norm": Case(convolved, [X], [Y], {"constraint": told("MaxNorm", max_value=0.5, axis=0), "bias": "max_norm"}),
    "max_norm_axes": Case(convolved, [X], [Y], {"constraint": told("MaxNorm", max_value=0.6, axis=[0, 1])}),
    "max_norm_last": Case(convolved, [X], [Y], {"constraint": told("MaxNorm", max_value=1, axis=-1)}),
    "max_norm_all": Case(convolved, [X], [Y], {"constraint": told("MaxNorm", max_value=1, axis=None)}),
    "non_neg": Case(convolved, [X], [Y], {"constraint": "non_neg", "bias": "NonNeg"}),
    "unit_norm": Case(convolved, [X], [Y], {"constraint": told("UnitNorm", axis=0)}),
    "unit_norm_axes": Case(convolved, [X], [Y], {"constraint": told("UnitNorm", axis=[0, 2]), "bias": "unit_norm"}),
    "min_max_norm": Case(
        convolved, [X], [Y], {"constraint": told("MinMaxNorm", min_value=0.3, max_value=0.6, rate=0.25, axis=1)}
    ),
    "min_max_norm_strict": Case(convolved, [X], [Y], {"constraint": told("MinMaxNorm", min_value=0.4, axis=[1, 2])}),
    "every_layer": Case(every_layer, [IDS], [Y], {"constraint": told("MaxNorm", max_value=0.7, axis=0)}),
    "every_layer_non_neg": Case(every_layer, [IDS], [Y], {"constraint": "non_neg"}, optimizer=sgd(0.1, momentum=0.9)),
    "attention": Case(attention, [X], [Y], {"constraint": told("UnitNorm", axis=[0, 2])}),
    "decayed_and_clipped": Case(
        convolved, [X], [Y], {"constraint": "unit_norm"}, optimizer=sgd(0.1, weight_decay=0.1, clipnorm=0.5)
    ),
    "gathered": Case(
        convolved,
        [X],
        [Y],
        {"constraint": told("MinMaxNorm", rate=0.5)},
        optimizer=sgd(0.1, gradient_accumulation_steps=3),
    ),
    "fit": Case(every_layer, [IDS], [Y], {"constraint": "unit_norm"}, fit={"epochs": 3, "batch_size": 4}),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_weights_are_constrained_as_keras_does(name: str, backend: str, keras: dict[str, Outcome]) -> None:
    agree(CASES[name], train(CASES[name], backend), keras[name])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "constraint",
    [
        constraints.MaxNorm(1.0),
        constraints.NonNeg(),
        constraints.UnitNorm(axis=-1),
        constraints.MinMaxNorm(0.5, 1.0, 0.5, (0, 1)),
    ],
    ids=repr,
)
def test_nan_stays_and_zeros_give_no_nan(backend: str, constraint: constraints.Constraint) -> None:
    engine = plugins.get(backend)
    for dtype in ("float32", "float64"):
        weight = np.zeros((3, 2), dtype)
        made = engine.numpy(constraint.project(engine.maths, engine.tensor(weight)))
        assert made.dtype == dtype and (made == 0).all()
        weight[0, 0] = np.nan
        assert np.isnan(engine.numpy(constraint.project(engine.maths, engine.tensor(weight)))[0, 0])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: constraints.MaxNorm(-1.0), "MaxNorm: max_value is -1.0; expected a number >= 0"),
        (lambda: constraints.MaxNorm("2"), "expected a number"),
        (lambda: constraints.MinMaxNorm(rate=float("nan")), "rate is nan"),
        (lambda: constraints.UnitNorm(axis=1.5), "axis is 1.5; expected an axis"),
        (lambda: constraints.UnitNorm(axis=[0, "1"]), "expected an axis, or a list"),
    ],
)
def test_options_that_mean_nothing_are_refused(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()


@pytest.mark.parametrize("axis", [2, -3, [0, 0], [0, -2]])
def test_an_axis_that_the_weight_lacks_is_named(axis: Any) -> None:
    model = Sequential([Input((3,)), Dense(2, name="d", kernel_constraint=constraints.UnitNorm(axis))])
    model.compile("sgd", "mse")
    with pytest.raises(SpecError, match=r"'d': the constraint of 'kernel' is UnitNorm.*shape \(3, 2\)"):
        model.train_on_batch(X[:, 0], Y)


def test_a_weight_that_is_not_trained_is_not_constrained() -> None:
    frozen = Conv1D(4, 2, kernel_constraint="unit_norm", trainable=False)
    model = Sequential([Input((5, 3)), frozen, Conv1D(2, 4)])
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    model.train_on_batch(X, Y[:, None])
    np.testing.assert_array_equal(before, model.get_weights()[0])
