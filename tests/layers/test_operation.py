"""Operations between layers compute what NumPy's functions of those names do, on arrays whose batch comes first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcore.errors import SpecError
from lstmcore.layers import Input, Masking, Operation
from lstmcore.models import Model, model_from_json

RNG = np.random.default_rng(4)
X, Z = (RNG.normal(size=(2, 4, 3)).astype("float32") for _ in range(2))
LAST = [[None, None, None], -1]

CASES: dict[str, tuple[str, dict[str, Any] | None, list[Any], Any]] = {
    "add": ("add", None, [X, Z], X + Z),
    "add a number": ("add", {"other": 2.5}, [X], X + 2.5),
    "subtract": ("subtract", None, [X, Z], X - Z),
    "subtract from a number": ("subtract", {"first": 1}, [X], 1 - X),
    "multiply": ("multiply", None, [X, Z[:, :, :1]], X * Z[:, :, :1]),
    "divide": ("divide", None, [X, Z], X / Z),
    "a number by it": ("divide", {"first": 2.0}, [X], 2 / X),
    "maximum": ("maximum", {"other": 0.25}, [X], np.maximum(X, 0.25)),
    "minimum": ("minimum", None, [X, Z], np.minimum(X, Z)),
    "power": ("power", {"other": 2}, [X], X**2),
    "abs": ("abs", None, [X], abs(X)),
    "exp": ("exp", None, [X], np.exp(X)),
    "negative": ("negative", None, [X], -X),
    "mean": ("mean", {"axis": 1}, [X], X.mean(1)),
    "mean, kept": ("mean", {"axis": [1, -1], "keepdims": True}, [X], X.mean((1, 2), keepdims=True)),
    "sum": ("sum", {"axis": -1}, [X], X.sum(-1)),
    "max": ("max", {"axis": 1}, [X], X.max(1)),
    "min": ("min", {"axis": 2}, [X], X.min(2)),
    "transpose": ("transpose", {"axes": [0, 2, 1]}, [X], X.transpose(0, 2, 1)),
    "reshape": ("reshape", {"shape": [-1, 12]}, [X], X.reshape(-1, 12)),
    "expand_dims": ("expand_dims", {"axis": -2}, [X], X[:, :, None]),
    "squeeze": ("squeeze", {"axis": 1}, [X[:, :1]], X[:, 0]),
    "concatenate": ("concatenate", {"axis": 1}, [X, Z], np.concatenate([X, Z], 1)),
    "stack": ("stack", {"axis": 2}, [X, Z], np.stack([X, Z], 2)),
    "the last step": ("getitem", {"key": LAST}, [X], X[:, -1]),
    "a step": ("getitem", {"key": [[None, None, None], 1]}, [X], X[:, 1]),
    "a feature": ("getitem", {"key": ["...", -2]}, [X], X[..., -2]),
    "a part": ("getitem", {"key": [[None, None, None], [1, -1, None], [None, 2, 1]]}, [X], X[:, 1:-1, :2]),
    "a new axis": ("getitem", {"key": [[None, None, None], "new", 2]}, [X], X[:, None, 2]),
    "turned round": ("getitem", {"key": [[None, None, None], [None, None, -1]]}, [X], X[:, ::-1]),
    "matmul": ("matmul", None, [X, Z.transpose(0, 2, 1)], X @ Z.transpose(0, 2, 1)),
    "clip": ("clip", {"low": -0.5, "high": 0.25}, [X], np.clip(X, -0.5, 0.25)),
    "where": ("where", None, [X > 0, X, Z], np.where(X > 0, X, Z)),
    "flip": ("flip", {"axis": 1}, [X], X[:, ::-1]),
    "repeat": ("repeat", {"repeats": 2, "axis": 1}, [X], X.repeat(2, 1)),
}


def model(function: str, arguments: Any, arrays: list[Any]) -> Model:
    inputs = [Input(a.shape[1:], dtype=a.dtype.name) for a in arrays]
    return Model(inputs, Operation(function, arguments)(inputs if len(inputs) > 1 else inputs[0]))


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_function_of_numpy(case: str) -> None:
    function, arguments, arrays, expected = CASES[case]
    made = model(function, arguments, arrays)
    for one in (made, model_from_json(made.to_json())):
        y = one.predict(arrays, verbose=0)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_a_comparison_gives_a_condition() -> None:
    x, z = Input((4, 3)), Input((4, 3))
    larger = Operation("greater")([x, z])
    assert larger.kind == "bool"
    y = Model([x, z], Operation("where")([larger, x, z])).predict([X, Z], verbose=0)
    np.testing.assert_array_equal(y, np.maximum(X, Z))


def test_a_split_has_several_outputs() -> None:
    x = Input((4, 3))
    parts = Model(x, Operation("split", {"sections": 3, "axis": -1})(x)).predict(X, verbose=0)
    for part, expected in zip(parts, np.split(X, 3, -1), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_it_ends_a_mask() -> None:
    assert Operation("negative")(Masking()(Input((4, 3)))).mask is None


REFUSED: dict[str, tuple[str, Any, list[Any], str]] = {
    "another function": ("negate", None, [X], "negative"),
    "another argument": ("mean", {"axes": 1}, [X], "mean has axis, keepdims"),
    "no axis": ("mean", None, [X], "takes the batch too"),
    "the batch": ("max", {"axis": 0}, [X], "axis 0 of shape"),
    "an axis that is no number": ("max", {"axis": 1.5}, [X], "max of 1 tensors with .*1.5"),
    "a sample": ("getitem", {"key": [0]}, [X], "begins with 0"),
    "every second": ("getitem", {"key": [[None, None, None], [None, None, 2]]}, [X], "step 2"),
    "a key of another kind": ("getitem", {"key": [[None, None, None], {"a": 1}]}, [X], "getitem of 1 tensors"),
    "two numbers": ("add", {"other": 1, "first": 2}, [X], "two tensors, or one and a number"),
    "a number beyond all": ("add", {"other": 10**400}, [X], "add of 1 tensors"),
    "parts that do not come out even": ("split", {"sections": 2, "axis": 2}, [X], "2 equal parts"),
    "no parts": ("split", {"sections": 0, "axis": 2}, [X], "0 equal parts"),
    "other ranks": ("add", None, [X, X[:, 0]], "the batch would meet another"),
    "samples torn apart": ("reshape", {"shape": [-1, 6]}, [X], "do not fill"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_is_not_is_refused(case: str) -> None:
    function, arguments, arrays, reason = REFUSED[case]
    with pytest.raises(SpecError, match=reason):
        model(function, arguments, arrays)
