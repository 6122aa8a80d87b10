"""Models against those of Keras 3.15: names, shapes, counts, and the JSON in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lstmcore.models import Sequential, model_from_json

GOLDENS = Path(__file__).parents[1] / "goldens"
CASES = json.loads((GOLDENS / "models.json").read_text(encoding="utf-8"))["cases"]
Make = Callable[..., Sequential]


def told(model: Sequential, case: dict[str, Any]) -> dict[str, Any]:
    """What Keras reports of a model, asked of ours."""
    built = case["count"] is not None
    return {
        "weights": [[*name.rsplit("/", 1), list(array.shape)] for name, array in model.weights.items()]
        if built
        else [],
        "count": model.count_params() if built else None,
        "layers": [[name, type(layer).__name__] for name, layer in model.named_layers.items()],
        "input_shape": list(model.input_shape) if built else None,
        "output_shape": list(model.output_shape) if built else None,
    }


@pytest.mark.parametrize("name", CASES)
def test_names_shapes_and_counts(make: Make, name: str) -> None:
    case = CASES[name]
    found = told(make(case["recipe"]), case)
    assert found == {key: case[key] for key in found}


@pytest.mark.parametrize("name", CASES)
def test_the_json_of_keras_makes_the_same_model(name: str) -> None:
    case = CASES[name]
    found = told(model_from_json(case["json"]), case)
    assert found == {key: case[key] for key in found}


@pytest.mark.parametrize("name", CASES)
def test_the_config_is_that_of_keras(make: Make, name: str) -> None:
    case = CASES[name]
    theirs = json.loads(case["json"])["config"]
    ours = json.loads(make(case["recipe"]).to_json())["config"]
    del theirs["dtype"], ours["dtype"]  # Keras writes its process default, ours what the model computes in
    assert [without_build(x) for x in ours.pop("layers")] == [without_build(x) for x in theirs.pop("layers")]
    assert ours == theirs


def without_build(entry: dict[str, Any]) -> dict[str, Any]:
    """Keras records the shape as the layer saw it; whether it does depends on the way the layer was built."""
    return {key: value for key, value in entry.items() if key != "build_config"}


@pytest.mark.parametrize("name", CASES)
def test_json_of_json(make: Make, name: str) -> None:
    first = make(CASES[name]["recipe"]).to_json()
    assert model_from_json(first).to_json() == first


@pytest.mark.parametrize(
    ("name", "count"), [("lstm_13", 640), ("lstm_100", 640), ("rnn_digits", 2282), ("lstm_digits", 216426)]
)
def test_counts_known_by_heart(make: Make, name: str, count: int) -> None:
    assert make(CASES[name]["recipe"]).count_params() == count
