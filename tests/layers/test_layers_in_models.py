"""The layers around recurrence as parts of models: time left open, every engine, both dtypes, files, masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore.layers import Embedding, Input
from lstmcore.models import Model

# Class, options, and the lengths that 5 steps of 4 features become.
CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Masking", {"mask_value": 0.5}, (5, 4)),
    ("PReLU", {"shared_axes": 1, "alpha_initializer": "ones"}, (5, 4)),
    ("Rescaling", {"scale": [0.5, 1, 2, 3], "offset": 0.25}, (5, 4)),
    ("Softmax", {"axis": [1, 2]}, (5, 4)),
    ("Softmax", {}, (5, 4)),
    ("BatchNormalization", {"moving_mean_initializer": "ones", "beta_initializer": "ones"}, (5, 4)),
    ("LayerNormalization", {"beta_initializer": "ones"}, (5, 4)),
    ("Conv1D", {"filters": 6, "kernel_size": 3, "strides": 2, "activation": "tanh"}, (2, 6)),
    ("Conv1D", {"filters": 6, "kernel_size": 2, "padding": "causal", "dilation_rate": 2, "groups": 2}, (5, 6)),
    ("Conv1D", {"filters": 6, "kernel_size": 4, "padding": "same", "strides": 3}, (2, 6)),
    ("MaxPooling1D", {"pool_size": 2, "padding": "same"}, (3, 4)),
    ("AveragePooling1D", {"pool_size": 3, "strides": 2, "padding": "same"}, (3, 4)),
    ("GlobalMaxPooling1D", {}, (4,)),
    ("GlobalAveragePooling1D", {"keepdims": True}, (1, 4)),
    ("ZeroPadding1D", {"padding": (2, 1)}, (8, 4)),
    ("Cropping1D", {"cropping": (1, 2)}, (2, 4)),
    ("UpSampling1D", {"size": 3}, (15, 4)),
]
X = np.random.default_rng(5).normal(size=(3, 5, 4))
X[0, 1] = X[2, :2] = 0.5  # steps for Masking
PASSES = ("Masking", "PReLU", "Rescaling", "BatchNormalization", "LayerNormalization")

THREE_AXES = ("ZeroPadding1D", "UpSampling1D", "Cropping1D", "GlobalMaxPooling1D", "MaxPooling1D", "Conv1D")

each = pytest.mark.parametrize(("kind", "options", "lengths"), CASES)


def model_of(kind: str, options: dict[str, Any], dtype: str = "float32") -> Model:
    x = Input((None, 4), dtype=dtype)
    return Model(x, getattr(layers, kind)(**options, dtype=dtype)(x))


@each
def test_time_may_be_open(kind: str, options: dict[str, Any], lengths: tuple[int, ...]) -> None:
    model = model_of(kind, options)
    assert model.predict(X).shape == (3, *lengths)
    longer = getattr(layers, kind)(**options).compute_output_shape((3, 9, 4))
    assert model.predict(np.zeros((3, 9, 4))).shape == longer


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_engines_agree(kind: str, options: dict[str, Any], lengths: tuple[int, ...], dtype: str) -> None:
    comparison = lc.compare(model_of(kind, options, dtype), X)
    assert comparison.ok, str(comparison)
    assert len(comparison.rows) == 3 and all(row.error is not None for row in comparison.rows)


@each
def test_a_file_holds_it(kind: str, options: dict[str, Any], lengths: tuple[int, ...], tmp_path: Path) -> None:
    model = model_of(kind, options)
    model.save(tmp_path / "model.safetensors")
    again = lc.load_model(tmp_path / "model.safetensors")
    assert again.layers[-1].get_config() == model.layers[-1].get_config()
    assert np.array_equal(again.predict(X), model.predict(X))


# Softmax takes a mask of the shape of x: tests/layers/test_masking.py.
@pytest.mark.parametrize(("kind", "options", "lengths"), [case for case in CASES if case[0] != "Softmax"])
def test_a_mask_passes_where_it_does_in_keras_and_an_end_is_told(
    kind: str, options: dict[str, Any], lengths: tuple[int, ...]
) -> None:
    ids = Input((5,), dtype="int32")
    y = getattr(layers, kind)(**options, name="it")(Embedding(5, 4, mask_zero=True)(ids))
    assert (y.mask is not None) == (kind in PASSES)
    told = "it: ends the mask" in Model(ids, y).program.notes
    assert told == (kind not in (*PASSES, "GlobalAveragePooling1D"))  # which uses it


@pytest.mark.parametrize(
    "kind",
    ["ZeroPadding1D", "UpSampling1D", "Cropping1D", "GlobalMaxPooling1D", "MaxPooling1D", "Conv1D", "RepeatVector"],
)
def test_another_number_of_axes_is_refused(kind: str) -> None:
    options = {"Conv1D": {"filters": 2, "kernel_size": 1}, "RepeatVector": {"n": 2}}.get(kind, {})
    with pytest.raises(lc.errors.SpecError, match=r"the input has 4 axes, shape \(None, 5, 4, 2\); expected \(batch, "):
        getattr(layers, kind)(**options)(Input((5, 4, 2)))


def test_the_other_names_of_keras() -> None:
    others = {
        "MaxPool1D": "MaxPooling1D",
        "AvgPool1D": "AveragePooling1D",
        "GlobalMaxPool1D": "GlobalMaxPooling1D",
        "GlobalAvgPool1D": "GlobalAveragePooling1D",
        "Convolution1D": "Conv1D",
    }
    assert all(getattr(layers, other) is getattr(layers, name) for other, name in others.items())
