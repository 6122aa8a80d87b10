"""Data handed to a model: every form that should do does, and the rest is an InputError that says what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcore.errors import InputError
from lstmcore.layers import LSTM, Dense, Dropout, Embedding, Flatten, Input
from lstmcore.models import Sequential

X = np.random.default_rng(3).normal(size=(6, 4, 5)).astype(np.float32)
MODEL = Sequential([Input((4, 5)), LSTM(3), Dense(2)])
Y = MODEL.predict(X, backend="numpy")
IDS = Sequential([Input((3,), dtype="int32"), Embedding(5, 2, mask_zero=True), LSTM(3)])
FIXED = Sequential([Input(batch_shape=(3, 4, 5)), LSTM(3)])


def frozen(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


FORMS = {
    "fortran": np.asfortranarray(X),
    "reversed": X[::-1].copy()[::-1],
    "reversed inside": np.ascontiguousarray(X[:, :, ::-1])[:, :, ::-1],
    "strided": np.repeat(X, 2, axis=2)[:, :, ::2],
    "big endian": X.astype(">f4"),
    "double": X.astype(np.float64),
    "big endian double": X.astype(">f8"),
    "long double": X.astype(np.longdouble),
    "read-only": frozen(X),
    "list": X.tolist(),
    "mapping": {"input_layer": X},
    "memoryview": memoryview(X),
    "list of one array": [X],
    "masked array without a mask": np.ma.masked_array(X),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_numbers_in_any_form(form: str) -> None:
    assert np.array_equal(MODEL.predict(FORMS[form], backend="numpy"), Y)


def test_halves_are_widened() -> None:
    np.testing.assert_allclose(MODEL.predict(X.astype(np.float16)), Y, atol=1e-3)


def test_the_data_are_not_changed() -> None:
    x = X.copy()
    MODEL.predict(x)
    assert np.array_equal(x, X)


@pytest.mark.parametrize("size", [1, 2, 4, 6, 1000, np.int64(4)])
def test_batches_do_not_show(size: int) -> None:
    np.testing.assert_allclose(MODEL.predict(X, batch_size=size), Y, atol=1e-6)


def test_nan_and_infinity_pass_through() -> None:
    x = X.copy()
    x[1, 2, 3] = np.nan
    y = MODEL.predict(x, backend="numpy")
    assert np.isnan(y[1]).all()
    assert np.array_equal(np.delete(y, 1, 0), np.delete(Y, 1, 0))
    assert MODEL.predict(np.full_like(X, np.inf)).shape == (6, 2)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (X.astype(int), "holds int64; expected floating-point numbers.*astype"),
        (X.astype(np.uint8), "holds uint8; expected floating-point"),
        (X > 0, "holds bool; expected floating-point"),
        (X.astype(complex), "complex"),
        (X.astype(object), "dtype object.*astype"),
        (X.astype(str), "numbers"),
        (X.astype("M8[s]"), "numbers"),
        ([[[1.0]], [[1.0], [2.0]]], "pad.* to one length"),
        (None, "None|numbers"),
        (1.0, r"expected \(batch, 4, 5\)"),
        ([], "samples|expected"),
        ({"a": X}, r"given: \['a'\]; expected \['input_layer'\]"),
        ({}, "expected"),
        ((X, X), r"expected \(batch, 4, 5\)"),
        (X[:0], "no samples"),
        (X[:, :0], "no time steps"),
        (X[:, :, :0], "empty axis"),
        (X[0], r"shape \(4, 5\); expected \(batch, 4, 5\).*x\[None\]"),
        (X[None], r"4 axes"),
        (X[:, :3], "axis 1 must be 4"),
        (X[:, :, :3], "axis 2 must be 5"),
        (np.ma.masked_array(X, X > 0), "masked array.*filled"),
        ((row for row in X), r"shape \(4, 5\); expected \(batch, 4, 5\)"),
    ],
    ids=range(23),
)
def test_data_that_do_not_fit(data: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        MODEL.predict(data)


@pytest.mark.parametrize("data", [1.0, None, {}, {"a": X}, "abc", X[0], []], ids=range(7))
def test_one_batch_refuses_alike(data: Any) -> None:
    with pytest.raises(InputError):
        MODEL.predict_on_batch(data)


@pytest.mark.parametrize("data", [X.astype(complex), X.astype(str), None], ids=["complex", "text", "None"])
def test_the_advice_fits_the_data(data: Any) -> None:
    """Padding helps ragged lists only."""
    with pytest.raises(InputError) as caught:
        MODEL.predict(data)
    assert "padded" not in str(caught.value)


@pytest.mark.parametrize("size", [0, -1, True, 2.0, "8"])
def test_batch_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(InputError, match=r"batch_size is .*expected a positive integer"):
        MODEL.predict(X, batch_size=size)


# A fixed batch size


def test_a_multiple_of_a_fixed_batch() -> None:
    whole = FIXED.predict(X)
    assert whole.shape == (6, 3)
    np.testing.assert_allclose(whole[3:], FIXED.predict(X[3:]), atol=1e-6)
    assert np.array_equal(FIXED.predict(X, batch_size=3), whole)


@pytest.mark.parametrize(("samples", "size"), [(4, None), (2, None), (6, 2), (6, 6)])
def test_other_numbers_of_samples(samples: int, size: int | None) -> None:
    with pytest.raises(InputError, match=r"batches of 3.*multiple of 3"):
        FIXED.predict(X[:samples], batch_size=size)


# Token ids


@pytest.mark.parametrize(
    "ids",
    [
        [[0, 1, 4]],
        [[0.0, 1.0, 4.0]],
        np.array([[0, 1, 4]], np.uint8),
        np.array([[0, 1, 4]], ">i8"),
        np.array([[0, 1, 4]], np.uint64),
    ],
)
def test_ids(ids: Any) -> None:
    expected = IDS.predict(np.array([[0, 1, 4]], np.int32), backend="numpy")
    assert np.array_equal(IDS.predict(ids, backend="numpy"), expected)


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([[0, -1, 2]], r"id -1 at \(0, 1\); expected 0 to 4"),
        ([[1, 5, 0]], r"id 5 at \(0, 1\); expected 0 to 4"),
        ([[1, 2**40, 0]], "id 1099511627776"),
        (np.array([[1, 2**64 - 1, 0]], np.uint64), "id 18446744073709551615"),
        ([[1, 10**30, 0]], "id|numbers"),
        ([[1.5, 2, 3]], "no token ids; expected integers"),
        ([[1, np.nan, 3]], "no token ids"),
        ([[1, np.inf, 3]], "no token ids"),
        ([[True, False, True]], "bool"),
        ([["a", "b", "c"]], "numbers"),
        (np.ones((0, 3), int), "no samples"),
        (np.ones((2, 4), int), "axis 1 must be 3"),
    ],
)
def test_ids_that_do_not_fit(ids: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        IDS.predict(ids)


@pytest.mark.parametrize("bad", [7, -1])
@pytest.mark.parametrize(
    "between",
    [[], [Dropout(0.5)], [Flatten()], [Flatten("channels_first")]],
    ids=["none", "Dropout", "Flatten", "moved"],
)
def test_ids_are_checked_whatever_lies_between(between: list[Any], bad: int) -> None:
    """-1 must not read the last row of the table, and 7 must not reach an engine."""
    layers = [type(layer).from_config(layer.get_config()) for layer in between]
    model = Sequential([Input((2, 2), dtype="int32"), *layers, Embedding(5, 2)])
    with pytest.raises(InputError, match=f"id {bad}"):
        model.predict(np.full((1, 2, 2), bad))
    assert np.isfinite(model.predict(np.full((1, 2, 2), 4))).all()
