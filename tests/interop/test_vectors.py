"""Test vectors of large models: they are short, and still every weight of a model counts in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import DamagedFileError
from lstmcore.interop import vectors
from lstmcore.layers import GRU, LSTM, Bidirectional, Dense, Input, SimpleRNN


def model() -> lc.Sequential:
    rng = np.random.default_rng(5)
    layers = [
        Input((None, 3)),
        Bidirectional(LSTM(4, return_sequences=True)),
        GRU(5, return_sequences=True),
        SimpleRNN(4),
        Dense(2),
    ]
    made = lc.Sequential(layers)
    made.set_weights([rng.normal(size=w.shape).astype("float32") for w in made.get_weights()])
    return made


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model counts as a large one."""
    monkeypatch.setattr(vectors, "_LARGE", 0)


@pytest.mark.usefixtures("large")
def test_the_vectors_of_a_large_model_are_short() -> None:
    made = json.loads(vectors.of_model(model()))["vectors"]
    shapes = [value["shape"] for vector in made for value in vector["inputs"].values()]
    assert shapes == [[1, 2, 3], [1, 1, 3]]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("number", range(len(model().get_weights())))
def test_they_find_the_parts_of_any_weight_in_another_order(number: int, tmp_path: Path) -> None:
    given = model()
    text = vectors.of_model(given)
    vectors.hold_model(text, given, "m")
    weights = given.get_weights()
    weights[number] = np.roll(weights[number], 1, axis=-1)
    given.set_weights(weights)
    with pytest.raises(DamagedFileError, match="does not compute"):
        vectors.hold_model(text, given, "m")
