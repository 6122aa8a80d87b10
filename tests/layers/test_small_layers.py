"""The layers that lower to ops that were there: activations, moves, and noise outside training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcore.errors import SpecError
from lstmcore.layers import (
    LSTM,
    Embedding,
    GaussianDropout,
    GaussianNoise,
    Input,
    LeakyReLU,
    Permute,
    ReLU,
    Reshape,
    Softmax,
    SpatialDropout1D,
)
from lstmcore.models import Sequential

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 12


def test_on_paper() -> None:
    x = np.array([[-2.0, 0.25, 0.5, 3.0]], np.float32)
    assert ReLU(max_value=2, negative_slope=0.5, threshold=0.5)(x).tolist() == [[-1.25, -0.125, 0.0, 2.0]]
    assert LeakyReLU(0.5)(x).tolist() == [[-1.0, 0.25, 0.5, 3.0]]
    assert LeakyReLU(alpha=0.25).negative_slope == 0.25
    np.testing.assert_allclose(Softmax(axis=1)(np.zeros((1, 4, 2), np.float32)), np.full((1, 4, 2), 0.25))


def test_numbers_move_and_do_not_change() -> None:
    assert np.array_equal(Reshape((6, -1))(X), X.reshape(2, 6, 2))
    assert np.array_equal(Reshape(12)(X), X.reshape(2, 12))
    assert np.array_equal(Permute((2, 1))(X), X.transpose(0, 2, 1))


@pytest.mark.parametrize("layer", [SpatialDropout1D(0.5), GaussianNoise(0.5), GaussianDropout(0.5)], ids=repr)
def test_noise_is_for_training_and_is_said_to_be(layer: Any) -> None:
    model = Sequential([Input((3, 4)), layer])
    assert np.array_equal(model.predict(X), X)
    assert "acts in training only" in str(model.explain())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Reshape((-1, -1)), "one of them perhaps -1"),
        (lambda: Reshape((0, 3)), "target_shape is"),
        (lambda: Reshape("ab"), "target_shape is"),
        (lambda: Sequential([Input((3, 4)), Reshape((5, -1))]), "12 numbers, which do not fill"),
        (lambda: Permute((1, 1)), "expected 1 to 2 in some order"),
        (lambda: Permute((0, 1)), "dims is"),
        (lambda: Sequential([Input((3, 4)), Permute((3, 1, 2))]), "do not permute the 3 axes"),
        (lambda: ReLU(negative_slope=-1), "negative_slope is -1; expected a number that is not negative"),
        (lambda: ReLU(max_value="six"), "max_value"),
        (lambda: Softmax(axis=0.5), "axis is 0.5; expected an integer"),
        (lambda: Sequential([Input((3,)), Softmax(axis=4)]), "axis 4 is not one of"),
    ],
)
def test_what_is_refused(make: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()


def test_a_mask_is_not_ignored_by_softmax() -> None:
    with pytest.raises(SpecError, match="a mask reaches it of shape"):
        Sequential([Input((3,)), Embedding(5, 2, mask_zero=True), Softmax()])


def test_reshape_ends_a_mask_as_in_keras() -> None:
    model = Sequential([Input((4,)), Embedding(5, 2, mask_zero=True), Reshape((2, 4)), LSTM(3)])
    assert "Lstm(units=3) of embedding" not in str(model.program)
    assert next(node for node in model.program.nodes if node.name == "lstm").inputs[-1] is None
