"""The activation functions: names, parameters, and each formula of the module's table on the NumPy engine."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lstmcore.activations import ALIASES, LINEAR, PARAMETERS, Function, function, get, serialize
from lstmcore.errors import SpecError
from lstmcore.layers import Activation, Input
from lstmcore.models import Sequential

X = np.array([-7.0, -3.0, -1.0, -0.5, -0.3, 0.0, 0.2, 0.5, 1.0, 2.7, 6.5, 9.0])


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


# The formulas of the docstring, one number at a time, with Python's own mathematics.
FORMULAS: dict[str, Callable[[float], float]] = {
    "celu": lambda x: max(x, 0) + math.exp(min(x, 0)) - 1,
    "elu": lambda x: x if x >= 0 else math.exp(x) - 1,
    "exponential": math.exp,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "hard_shrink": lambda x: x if abs(x) > 0.5 else 0,
    "hard_sigmoid": lambda x: clip(x / 6 + 0.5, 0, 1),
    "hard_sigmoid_0_2": lambda x: clip(0.2 * x + 0.5, 0, 1),
    "hard_silu": lambda x: x * clip(x / 6 + 0.5, 0, 1),
    "hard_tanh": lambda x: clip(x, -1, 1),
    "leaky_relu": lambda x: x if x >= 0 else 0.2 * x,
    "linear": lambda x: x,
    "log_sigmoid": lambda x: -softplus(-x),
    "mish": lambda x: x * math.tanh(softplus(x)),
    "relu": lambda x: max(x, 0),
    "relu6": lambda x: clip(x, 0, 6),
    "selu": lambda x: 1.0507009873554805 * (x if x >= 0 else 1.6732632423543772 * (math.exp(x) - 1)),
    "sigmoid": sigma,
    "silu": lambda x: x * sigma(x),
    "soft_shrink": lambda x: x - 0.5 if x > 0.5 else x + 0.5 if x < -0.5 else 0,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "sparse_plus": lambda x: 0 if x < -1 else x if x > 1 else (x + 1) ** 2 / 4,
    "sparse_sigmoid": lambda x: clip((x + 1) / 2, 0, 1),
    "squareplus": lambda x: (x + math.sqrt(x * x + 4)) / 2,
    "tanh": math.tanh,
    "tanh_shrink": lambda x: x - math.tanh(x),
}
CHANGED: list[tuple[str, dict[str, Any], Callable[[float], float]]] = [
    ("celu", {"alpha": 2.0}, lambda x: max(x, 0) + 2 * (math.exp(min(x, 0) / 2) - 1)),
    ("elu", {"alpha": 2.0}, lambda x: x if x >= 0 else 2 * (math.exp(x) - 1)),
    (
        "gelu",
        {"approximate": True},
        lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    ("hard_shrink", {"threshold": 1.0}, lambda x: x if abs(x) > 1 else 0),
    ("leaky_relu", {"negative_slope": 0.3}, lambda x: x if x >= 0 else 0.3 * x),
    ("relu", {"negative_slope": 0.1, "max_value": 5.0, "threshold": 1.0},
     lambda x: min(x, 5) if x > 1 else 0.1 * (x - 1)),
    ("soft_shrink", {"threshold": 1.0}, lambda x: x - 1 if x > 1 else x + 1 if x < -1 else 0),
    ("squareplus", {"b": 1.0}, lambda x: (x + math.sqrt(x * x + 1)) / 2),
    ("threshold", {"threshold": 0.5, "default_value": -3.0}, lambda x: x if x > 0.5 else -3.0),
]  # fmt: skip


def run(activation: object, x: np.ndarray) -> np.ndarray:
    model = Sequential([Input(x.shape[1:]), Activation(activation, dtype="float64")])
    return np.asarray(model.predict(x, backend="numpy"))


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    expected = [FORMULAS[name](float(x)) for x in X]
    np.testing.assert_allclose(run(name, X[None])[0], expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("name", "parameters", "formula"), CHANGED, ids=[c[0] for c in CHANGED])
def test_formulas_with_other_parameters(
    name: str, parameters: dict[str, Any], formula: Callable[[float], float]
) -> None:
    expected = [formula(float(x)) for x in X]
    np.testing.assert_allclose(run(function(name, **parameters), X[None])[0], expected, rtol=1e-13, atol=1e-15)


def test_along_an_axis() -> None:
    x = np.array([[1.0, 2.0, 4.0, 0.5], [0.1, 0.2, 0.3, 0.1]])
    powers = np.exp(x)
    np.testing.assert_allclose(run("softmax", x), powers / powers.sum(1, keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(run("log_softmax", x), x - np.log(powers.sum(1, keepdims=True)), rtol=1e-13)
    np.testing.assert_allclose(run("glu", x), x[:, :2] / (1 + np.exp(-x[:, 2:])), rtol=1e-13)
    # on paper: of 1, 2, 4, 0.5 only 4 is within 1 of the top; 0.1, 0.2, 0.3, 0.1 are all kept, moved up by 0.075
    np.testing.assert_allclose(run("sparsemax", x), [[0, 0, 1, 0], [0.175, 0.275, 0.375, 0.175]], atol=1e-15)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax"])
def test_another_axis(name: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    swapped = run(name, x.swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_allclose(run({"name": name, "axis": 1}, x), swapped, rtol=1e-13)


def test_every_function_has_a_formula_here() -> None:
    assert set(PARAMETERS) == set(FORMULAS) | {"threshold", "softmax", "log_softmax", "glu", "sparsemax"}


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"threshold"}))
def test_nan_and_infinity_pass_through_quietly(name: str) -> None:
    y = run(name, np.array([[np.nan, 1.0], [np.inf, -np.inf]]))
    assert np.isnan(y[0]).any()


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"threshold"}))
def test_large_numbers_do_not_overflow_where_the_formula_does_not(name: str) -> None:
    y = run(name, np.array([[700.0, -700.0]]))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    assert get(alias) == get(ALIASES[alias])


@pytest.mark.parametrize(
    "identifier",
    [
        None,
        "linear",
        LINEAR,
        {"class_name": "function", "config": "linear", "module": "builtins"},
        {"name": "linear"},
        {"class_name": "linear"},
    ],
)
def test_what_is_linear(identifier: object) -> None:
    assert get(identifier) == LINEAR


def test_defaults_are_not_written() -> None:
    assert serialize(function("relu", max_value=None, threshold=0.0)) == "relu"
    six = function("relu", max_value=6.0)
    assert serialize(six) == {"name": "relu", "max_value": 6.0}
    assert get(serialize(six)) == six
    assert str(six) == "relu(max_value=6.0)"
    assert six.parameters == {"negative_slope": 0.0, "max_value": 6.0, "threshold": 0.0}


@pytest.mark.parametrize(
    ("identifier", "told"),
    [
        ("rleu", r"unknown activation 'rleu'. Did you mean 'relu'"),
        ("tahn", r"Did you mean 'tanh'"),
        ("Relu", r"Did you mean .*'relu'"),
        ("RELU", r"Did you mean .*'relu'"),
        ("", "unknown activation ''"),
        ("threshold", "needs threshold and default_value"),
        (np.tanh, "callable"),
        (lambda x: x, "callable"),
        (b"relu", "must be a name"),
        ({"x": 1}, "must be a name"),
        ({"class_name": "Lambda", "config": {"code": "x"}}, "must be a name"),
        ({"name": ["relu"]}, "activation"),
        ({"name": "relu", "max_valu": 6}, "no parameter 'max_valu'. Did you mean 'max_value'"),
        ({"name": "relu", "max_value": "six"}, "max_value.*'six'"),
        ({"name": "relu", "max_value": [6]}, "max_value"),
        ({"name": "relu", "negative_slope": None}, "negative_slope"),
        ({"name": "relu", "threshold": float("nan")}, "threshold"),
        ({"name": "softmax", "axis": 0.5}, "axis"),
        ({"name": "softmax", "axis": True}, "axis"),
        ({"name": "gelu", "approximate": "yes"}, "approximate"),
        ({"name": "celu", "alpha": 0}, "alpha"),
    ],
)
def test_what_is_refused(identifier: object, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        get(identifier)


def test_a_function_is_plain_data() -> None:
    assert Function("relu") == function("relu")
    assert hash(Function("relu")) == hash(function("relu"))
    assert list(inspect.signature(Function).parameters) == ["name", "changed"]
