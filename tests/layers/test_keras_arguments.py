"""Every layer takes what Keras 3.15's takes: the same arguments, in the same order, with the same defaults."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from lstmcore import layers

CASES = json.loads((Path(__file__).parents[1] / "goldens" / "signatures.json").read_text(encoding="utf-8"))["cases"]
TAKE_FEWER = ("Input", "InputLayer", "SpatialDropout1D", "ActivityRegularization")
# A tensor of a running graph: there is none here.
NOT_HERE = {"input_tensor", "tensor"}


def parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(layers, name)).parameters)


@pytest.mark.parametrize("name", CASES)
def test_positional_arguments_stand_in_keras_order(name: str) -> None:
    theirs = [key for key, _, _, kind in CASES[name] if kind == "POSITIONAL_OR_KEYWORD"]
    ours = [key for key, p in parameters(name).items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    spelled = {"weights": "initial_weights"}
    assert ours == [spelled.get(key, key) for key in theirs]


def test_an_input_layer_by_position() -> None:
    rows = [row for row in CASES["InputLayer"] if row[3] == "POSITIONAL_OR_KEYWORD"]
    values = {"shape": (3,), "batch_size": 2, "dtype": "float64", "name": "mine"}
    given = {row[0]: values.get(row[0], row[1]) for row in rows}
    assert layers.InputLayer(*given.values()).get_config() == layers.InputLayer(**given).get_config()


@pytest.mark.parametrize("name", CASES)
def test_help_and_editors_see_the_arguments(name: str) -> None:
    ours = inspect.signature(getattr(layers, name)).parameters
    assert {row[0] for row in CASES[name]} - {"weights"} <= set(ours)


def example(default: Any, key: str) -> Any:
    lengths = {"units": 3, "input_dim": 5, "output_dim": 4, "target_shape": (3, 5), "dims": (2, 1), "n": 2}
    windows = {"filters": 3, "kernel_size": 2, "pool_size": 2, "num_heads": 2, "key_dim": 4, "axes": 1, "scale": 0.5}
    inner = {"cell": layers.LSTMCell(3), "cells": [layers.LSTMCell(3)], "layer": layers.LSTM(3, name="inner")}
    return {**lengths, **windows, **inner, "activation": "relu", "rate": 0.5, "stddev": 0.5}.get(key, default)


@pytest.mark.parametrize(
    ("name", "key"), [(name, row[0]) for name, rows in CASES.items() for row in rows if row[0] not in NOT_HERE]
)
def test_every_argument_of_keras_is_taken_at_its_default(name: str, key: str) -> None:
    rows = {row[0]: row for row in CASES[name]}
    required = {k: example(None, k) for k, row in rows.items() if row[2]}
    if name in ("Input", "InputLayer"):
        required = {"shape": (4, 3)}
    plain = getattr(layers, name)(**required)
    given = getattr(layers, name)(**{key: rows[key][1], **required})
    if name == "Input":  # a symbolic tensor, made by its layer
        plain, given = plain.call.module, given.call.module
    assert given.get_config() == plain.get_config()


@pytest.mark.parametrize(
    "options",
    [
        {"name": "mine"},
        {"trainable": False},
        {"dtype": "float32"},
        {"activity_regularizer": None},
        {"autocast": True},
        {"input_shape": (9, 5)},
        {"input_shape": [9, 5]},
        {"input_shape": (None, 5)},
    ],
)
@pytest.mark.parametrize("name", [name for name in CASES if name not in TAKE_FEWER])
def test_what_keras_takes_for_every_layer(name: str, options: dict[str, Any]) -> None:
    required = {row[0]: example(None, row[0]) for row in CASES[name] if row[2]}
    made = getattr(layers, name)(**required, **options)
    assert type(made).__name__ == name


def test_the_defaults_can_be_read_off_the_signature() -> None:
    for name, rows in CASES.items():
        ours = parameters(name)
        for key, default, required, _ in rows:
            if key in NOT_HERE or key == "weights" or name == "InputLayer":
                continue
            found = ours[key].default
            assert (found is inspect.Parameter.empty) == required, (name, key)
            assert required or json.loads(json.dumps(found)) == default, (name, key)
