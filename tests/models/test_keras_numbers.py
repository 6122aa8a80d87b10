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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RECIPES)
def test_outputs_are_those_of_keras(make: Make, name: str, dtype: str) -> None:
    model = make(RECIPES[name], dtype)
    count = sum(key.startswith(f"{name}/w") for key in ARRAYS)
    model.set_weights([ARRAYS[f"{name}/w{k}"] for k in range(count)])
    y = model.predict(ARRAYS[f"{name}/x"], backend="numpy")
    assert y.dtype == dtype
    assert scale_error(y, ARRAYS[f"{name}/{dtype}"], dtype) <= LIMIT


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("stateful")])
def test_the_state_of_one_batch_starts_the_next(make: Make, name: str) -> None:
    """Without the state the second batch of the recorded outputs could not come out."""
    model = make(RECIPES[name], "float64")
    count = sum(key.startswith(f"{name}/w") for key in ARRAYS)
    model.set_weights([ARRAYS[f"{name}/w{k}"] for k in range(count)])
    x, whole = ARRAYS[f"{name}/x"], ARRAYS[f"{name}/float64"]
    first, second = model.predict(x[:3]), model.predict(x[3:])
    assert scale_error(np.concatenate([first, second]), whole, "float64") <= LIMIT
    model.reset_states()
    again = model.predict(x[:3])
    assert np.array_equal(again, first)
    model.reset_states()
    assert scale_error(model.predict(x[3:]), whole[3:], "float64") > LIMIT
