"""``get_config`` is Keras 3.15's, key by key and value by value, and reads back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmcore import layers
from lstmcore.layers import deserialize, serialize

CASES = json.loads((Path(__file__).parents[1] / "goldens" / "configs.json").read_text(encoding="utf-8"))["cases"]
IDS = [f"{c['class']}-{k}" for k, c in enumerate(CASES)]


def plain(value: Any) -> Any:
    """As JSON has it, numbers in float32: Keras passes a regulariser's factor through a tensor."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(np.float32(text)))


def expected(case: dict[str, Any]) -> Any:
    """Keras' config; a float64 wrapper computes in float64 inside too, where Keras casts the results."""
    text = json.dumps(plain(case["config"]))
    inner = {"cell", "cells", "layer", "backward_layer"} & set(case["config"])
    return json.loads(text.replace('"float32"', '"float64"') if inner and '"float64"' in text else text)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_config_is_that_of_keras(case: dict[str, Any]) -> None:
    made = getattr(layers, case["class"])(**case["given"])
    assert plain(made.get_config()) == expected(case)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_config_of_keras_reads_back(case: dict[str, Any]) -> None:
    read = getattr(layers, case["class"]).from_config(case["config"])
    assert plain(read.get_config()) == expected(case)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_serialized_form_reads_back(case: dict[str, Any]) -> None:
    data = {"module": "keras.layers", "class_name": case["class"], "config": case["config"], "registered_name": None}
    again = deserialize(json.loads(json.dumps({**data, "build_config": {"input_shape": [None, 9, 5]}})))
    assert plain(serialize(again)) == plain({**data, "config": expected(case)})
