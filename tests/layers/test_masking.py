"""Masking, and the layers that a mask makes a difference to: Softmax, GlobalAveragePooling1D."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcore.errors import InputError, SpecError
from lstmcore.layers import (
    LSTM,
    BatchNormalization,
    Embedding,
    GlobalAveragePooling1D,
    Input,
    LayerNormalization,
    Masking,
    PReLU,
    Rescaling,
    Softmax,
)
from lstmcore.models import Model, Sequential

X = np.random.default_rng(3).normal(size=(3, 5, 2)).astype(np.float32)
COUNTS = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
GAPS = np.where(COUNTS[..., None], X, np.float32(-1))


def test_masked_steps_become_zero_and_others_stay() -> None:
    partly = np.array([[[-1.0, 2.0], [-1.0, -1.0]]], np.float32)
    assert Masking(-1)(partly).tolist() == [[[-1.0, 2.0], [0.0, 0.0]]]
    assert np.array_equal(Masking(-1)(GAPS), X * COUNTS[..., None])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_value_is_rounded_to_the_dtype(dtype: str) -> None:
    assert not Masking(0.1, dtype=dtype)(np.full((1, 2, 3), 0.1, dtype)).any()


def test_nan_is_no_value_that_masks() -> None:
    given = np.array([[[np.nan, 0.0], [0.0, 0.0]]], np.float32)
    assert np.array_equal(Masking()(given), given, equal_nan=True)


def test_a_layer_that_follows_skips_the_steps() -> None:
    lstm = LSTM(3)
    expected = lstm(GAPS, mask=COUNTS)
    model = Sequential([Input((None, 2)), Masking(-1.0), lstm])
    np.testing.assert_allclose(model.predict(GAPS), expected, rtol=1e-6)
    assert not np.allclose(Sequential([Input((None, 2)), lstm]).predict(GAPS), expected)


def test_the_new_mask_replaces_the_one_before() -> None:
    x, before = Input((5, 2)), Input((5,), dtype="bool")
    model = Model([x, before], LSTM(3)(Masking(-1.0)(x, mask=before)))
    first, second = (model.predict([GAPS, mask]) for mask in (COUNTS, ~COUNTS))
    assert np.array_equal(first, second)


def test_the_mask_goes_through_what_lies_between() -> None:
    between = [BatchNormalization(), LayerNormalization(), PReLU(shared_axes=[1]), Rescaling(2.0)]
    model = Sequential([Input((None, 2)), Masking(-1.0), *between, LSTM(3)])
    node = next(node for node in model.program.nodes if node.name == "lstm")
    assert "masking/mask.y" in node.inputs
    np.testing.assert_allclose(model.predict(GAPS[:1]), model.predict(GAPS[:1, COUNTS[0]]), rtol=1e-5)


def test_softmax_leaves_out_what_the_mask_does() -> None:
    x = X[..., 0]
    y = Softmax()(x, mask=COUNTS)
    for row, counts, found in zip(x, COUNTS, y, strict=True):
        powers = np.exp(row) * counts
        np.testing.assert_allclose(found, powers / max(powers.sum(), 1e-30), rtol=1e-6)
    assert not y[2].any()


def test_softmax_takes_a_mask_of_length_one_and_several_axes() -> None:
    steps = COUNTS[..., None]
    y = Softmax(axis=(1, 2))(X, mask=steps)
    assert not y[~COUNTS].any()
    np.testing.assert_allclose(y.sum((1, 2)), [1, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(Softmax(axis=[1, -1])(X), Softmax()(X.reshape(3, 10)).reshape(X.shape), rtol=1e-6)


def test_a_mask_that_is_an_input_of_the_model_goes_on_from_softmax() -> None:
    ids = Input((4,), dtype="int32")
    scores = GlobalAveragePooling1D(data_format="channels_first")(Embedding(5, 3)(ids))
    counted = Input((4,), dtype="bool")
    y = Softmax()(scores, mask=counted)
    assert y.mask == (None, 4)
    kept = np.array([[True, False, True, True]])
    found = Model([ids, counted], y).predict([np.array([[1, 2, 3, 4]]), kept])
    assert found[0, 1] == 0 and found.sum() == pytest.approx(1)


def test_the_mean_is_over_the_steps_that_count() -> None:
    spoiled = np.where(COUNTS[..., None], X, np.nan).astype(np.float32)
    y = GlobalAveragePooling1D()(spoiled, mask=COUNTS)
    np.testing.assert_allclose(y[0], X[0, [0, 1, 3]].mean(0), rtol=1e-6)
    np.testing.assert_allclose(y[1], X[1, 1:].mean(0), rtol=1e-6)
    assert np.isnan(y[2]).all()  # no step counts
    turned = GlobalAveragePooling1D("channels_first", keepdims=True)(spoiled.transpose(0, 2, 1), mask=COUNTS)
    assert np.array_equal(turned, y[..., None], equal_nan=True)


@pytest.mark.parametrize("backend", ["numpy", "torch", "tensorflow"])
def test_a_row_without_steps_is_nan_on_every_engine(backend: str) -> None:
    model = Sequential([Input((3,)), Embedding(5, 2, mask_zero=True), GlobalAveragePooling1D()])
    y = model.predict(np.array([[0, 0, 0], [1, 0, 2]]), backend=backend)
    assert np.isnan(y[0]).all() and np.isfinite(y[1]).all()


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: Masking(float("nan")), SpecError, "mask_value is nan; expected a finite number"),
        (lambda: Masking("0"), SpecError, "mask_value is '0'; expected a finite number"),
        (lambda: Masking()(np.zeros(3, np.float32)), InputError, r"expected \(batch, \.\.\., features\)"),
        (lambda: Masking()(Input((3,), dtype="int32")), SpecError, "holds int; expected float"),
        (
            lambda: Softmax()(Embedding(5, 2, mask_zero=True)(Input((None,), dtype="int32"))),
            SpecError,
            r"a mask reaches it of shape \(None, None\), and the input has shape \(None, None, 2\)",
        ),
        (lambda: Softmax()(X, mask=np.ones((3, 5, 3), bool)), InputError, "each of the same length or of 1"),
        (lambda: Softmax([])(X), SpecError, "expected an integer or a list of integers"),
        (lambda: Softmax([1, -2])(X), InputError, r"axis is \[1, -2\] .* expected different axes"),
        (lambda: Softmax([0, 1])(X), InputError, "axis 0 is not one of the axes after the batch"),
        (lambda: Softmax(0)(X), InputError, "axis 0 is not one of"),
        (lambda: GlobalAveragePooling1D()(X, mask=np.ones((3, 4), bool)), InputError, r"expected \(batch, time\)"),
        (lambda: BatchNormalization()(X[..., 0], mask=COUNTS), InputError, "one of all axes but the last"),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        make()
