"""The dicts in which Keras writes its objects."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcore.configs import decode, encode, unwrap, wrap
from lstmcore.errors import SpecError
from lstmcore.random import SeedGenerator


def test_what_was_wrapped_is_unwrapped() -> None:
    wrapped = wrap("keras.regularizers", "L2", {"l2": 0.5})
    assert unwrap(wrapped, "regularizer") == ("L2", {"l2": 0.5})


@pytest.mark.parametrize("config", [{}, {"config": None}, {"config": {}}, {"shared_object_id": 12}])
def test_a_missing_config_is_empty(config: dict[str, object]) -> None:
    assert unwrap({"class_name": "Zeros", **config}, "initializer") == ("Zeros", {})


@pytest.mark.parametrize("wrapped", [{}, {"config": {}}, {"class_name": "A", "config": 3}, {"class_name": "A", "x": 1}])
def test_other_dicts_are_refused(wrapped: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="is not the config of a Keras initializer; expected a dict of"):
        unwrap(wrapped, "initializer")


@pytest.mark.parametrize(
    "origin",
    [
        {"module": None},
        {"module": "mine.zeros"},
        {"module": "keras.initializers", "registered_name": "mine>Zeros"},
    ],
)
def test_classes_of_the_user_are_refused(origin: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"'Zeros' of module .* is not one of Keras' own"):
        unwrap({"class_name": "Zeros", "config": {}, **origin}, "initializer")


@pytest.mark.parametrize("value", [None, 1, 2.5, "a", [1, 2], SeedGenerator(3, "s"), SeedGenerator()])
def test_values_survive(value: object) -> None:
    assert decode(encode(value)) == value


def test_arrays_survive() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    again = decode(encode(array))
    assert isinstance(again, np.ndarray) and again.dtype == np.float32 and np.array_equal(again, array)


@pytest.mark.parametrize(
    "value",
    [
        {"class_name": "SeedGenerator"},
        {"class_name": "SeedGenerator", "config": {"sed": 1}},
        {"class_name": "__numpy__", "config": {"value": [1], "dtype": "float33"}},
        {"class_name": "__numpy__", "config": {"value": [[1], [1, 2]], "dtype": "float32"}},
        {"class_name": "__lambda__", "config": {"value": "x"}},
        {},
    ],
)
def test_nested_objects_that_cannot_be_read(value: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="Cannot read"):
        decode(value)
