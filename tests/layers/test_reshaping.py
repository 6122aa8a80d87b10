"""The layers that move numbers: RepeatVector, ZeroPadding1D, Cropping1D, UpSampling1D; notes where a mask ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcore.errors import InputError, SpecError
from lstmcore.layers import (
    Cropping1D,
    Embedding,
    Flatten,
    Input,
    Masking,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    ZeroPadding1D,
)
from lstmcore.models import Model, Sequential

X = np.arange(24, dtype=np.float32).reshape(2, 4, 3)


def test_numbers_move_and_do_not_change() -> None:
    assert np.array_equal(RepeatVector(3)(X[:, 0]), np.stack([X[:, 0]] * 3, 1))
    assert np.array_equal(ZeroPadding1D((1, 2))(X), np.pad(X, ((0, 0), (1, 2), (0, 0))))
    assert np.array_equal(ZeroPadding1D(2, "channels_first")(X), np.pad(X, ((0, 0), (0, 0), (2, 2))))
    assert np.array_equal(Cropping1D((1, 2))(X), X[:, 1:2])
    assert np.array_equal(Cropping1D((2, 0))(X), X[:, 2:])
    assert np.array_equal(Cropping1D(0)(X), X)
    assert np.array_equal(UpSampling1D(3)(X), np.repeat(X, 3, 1))


@pytest.mark.parametrize("backend", ["numpy", "torch", "tensorflow"])
def test_token_ids_move_too(backend: str) -> None:
    ids = Input((3,), dtype="int32")
    model = Model(ids, Embedding(9, 2)(RepeatVector(2)(ids)))
    tokens = np.array([[1, 2, 3], [8, 0, 4]])
    y = model.predict(tokens, backend=backend)
    assert y.shape == (2, 2, 3, 2) and np.array_equal(y[:, 0], y[:, 1])
    with pytest.raises(InputError, match="holds the id 9"):
        model.predict(tokens + 1, backend=backend)


@pytest.mark.parametrize("layer", [Flatten(), Reshape((2, 6)), Permute((2, 1))], ids=repr)
def test_the_end_of_a_mask_is_told(layer: Any) -> None:
    masked = Sequential([Input((4, 3)), Masking(), layer])
    assert any(note.endswith(": ends the mask") for note in masked.program.notes)
    assert not Sequential([Input((4, 3)), layer]).program.notes


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: RepeatVector(0), SpecError, "n is 0; expected a positive integer"),
        (lambda: RepeatVector(2)(X), InputError, r"3 axes, shape .* expected \(batch, features\)"),
        (lambda: ZeroPadding1D(-1), SpecError, "padding is -1; expected an integer that is not negative, or two"),
        (lambda: ZeroPadding1D((1, 2, 3)), SpecError, r"padding is \(1, 2, 3\)"),
        (lambda: ZeroPadding1D(True), SpecError, "padding is True"),
        (lambda: Cropping1D(1.5), SpecError, "cropping is 1.5"),
        (lambda: Cropping1D((2, 2))(X), InputError, r"cropping is \(2, 2\); expected less than the 4 steps"),
        (lambda: UpSampling1D(0), SpecError, "size is 0; expected a positive integer"),
        (lambda: UpSampling1D((2,)), SpecError, r"size is \(2,\)"),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        make()
