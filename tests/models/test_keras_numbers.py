"""Outputs against those of Keras 3.15 on TensorFlow, from the same weights, in float32 and float64."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lstmcore.models import Sequential
from lstmcore.runtime.compare import LIMIT, scale_error

GOLDENS = Path(__file__).parents[1] / "goldens"
RECIPES = json.loads((GOLDENS / "recipes.json").read_text(encoding="utf-8"))["cases"]
ARRAYS = dict(np.load(GOLDENS / "numbers.npz"))
Make = Callable[..., Sequential]


# Keras on TensorFlow computes these with a constant of float32 in it, in float64 too.
ROUNDED = ("gelu", "leaky_relu")


def loaded(make: Make, name: str, dtype: str) -> Sequential:
    model = make(RECIPES[name], dtype)
    count = sum(key.startswith(f"{name}/w") for key in ARRAYS)
    model.set_weights([ARRAYS[f"{name}/w{k}"] for k in range(count)])
    return model


def error(name: str, y: np.ndarray, dtype: str, rows: slice = slice(None)) -> float:
    rounded = dtype == "float64" and name.endswith(ROUNDED)
    return scale_error(y, ARRAYS[f"{name}/float64"][rows], "float32" if rounded else dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RECIPES)
def test_outputs_are_those_of_keras(make: Make, name: str, dtype: str) -> None:
    model = loaded(make, name, dtype)
    y = model.predict(ARRAYS[f"{name}/x"], backend="numpy")
    assert y.dtype == dtype
    assert error(name, y, dtype) <= LIMIT


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("stateful")])
def test_the_state_of_one_call_starts_the_next(make: Make, name: str) -> None:
    model = loaded(make, name, "float64")
    x = ARRAYS[f"{name}/x"]
    first, second = model.predict(x[:3]), model.predict(x[3:])
    assert error(name, np.concatenate([first, second]), "float64") <= LIMIT
    model.reset_states()
    assert np.array_equal(model.predict(x[:3]), first)
    model.reset_states()
    assert error(name, model.predict(x[3:]), "float64", slice(3, 6)) > LIMIT


def test_one_weight_off_by_a_thousandth_is_seen(make: Make) -> None:
    """The limit would be of no use if it let a wrong number pass."""
    model = loaded(make, "dense_tanh", "float32")
    kernel, bias = model.get_weights()
    kernel[0, 0] += 1e-3
    model.set_weights([kernel, bias])
    assert error("dense_tanh", model.predict(ARRAYS["dense_tanh/x"]), "float32") > LIMIT
