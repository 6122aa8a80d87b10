"""The canonical ops: shapes, weights and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lstmcore import ops
from lstmcore.activations import Function, function
from lstmcore.errors import SpecError
from lstmcore.ops import Tensor, from_attributes

F = Tensor((None, 13, 5))
STATE = Tensor((None, 4))
SHAPES: list[tuple[ops.Op, list[Tensor | None], list[Any]]] = [
    (ops.Affine(3), [Tensor((None, 5))], [(None, 3)]),
    (ops.Affine(3), [Tensor((2, None, 7, 5))], [(2, None, 7, 3)]),
    (ops.Activate(Function("relu")), [F], [(None, 13, 5)]),
    (ops.Activate(Function("glu")), [Tensor((None, 6))], [(None, 3)]),
    (ops.Activate(function("glu", axis=1)), [Tensor((None, 4, 3))], [(None, 2, 3)]),
    (ops.Embed(9, 4), [Tensor((None, 7), "int")], [(None, 7, 4)]),
    (ops.Embed(9, 4), [Tensor((None,), "int")], [(None, 4)]),
    (ops.NotEqual(), [Tensor((None, 7), "int")], [(None, 7)]),
    (ops.Reshape((65,)), [F], [(None, 65)]),
    (ops.Reshape((5, -1)), [F], [(None, 5, 13)]),
    (ops.Reshape((-1,)), [Tensor((None, None, 5))], [(None, None)]),
    (ops.Transpose((0, 2, 1)), [F], [(None, 5, 13)]),
    (ops.Reverse(), [F], [(None, 13, 5)]),
    (ops.Last(), [F], [(None, 5)]),
    (ops.Lstm(4), [F, STATE, STATE, None], [(None, 13, 4), (None, 4), (None, 4)]),
    (ops.Lstm(4), [F, STATE, STATE, Tensor((None, 13), "bool")], [(None, 13, 4), (None, 4), (None, 4)]),
    (ops.Gru(4), [F, STATE, None], [(None, 13, 4), (None, 4)]),
    (ops.SimpleRnn(4), [F, STATE, None], [(None, 13, 4), (None, 4)]),
]


@pytest.mark.parametrize(("op", "inputs", "shapes"), SHAPES, ids=[str(s[0]) for s in SHAPES])
def test_shapes(op: ops.Op, inputs: list[Tensor | None], shapes: list[Any]) -> None:
    outputs = op.infer(*inputs)
    assert [output.shape for output in outputs] == shapes
    assert len(outputs) == len(op.outputs)
    assert len(inputs) == len(op.inputs) + len(op.optional)


INVENTORIES: list[tuple[ops.Op, list[Tensor | None], dict[str, tuple[int, ...]]]] = [
    (ops.Affine(3), [Tensor((None, 5))], {"kernel": (5, 3), "bias": (3,)}),
    (ops.Affine(3, use_bias=False), [Tensor((None, 5))], {"kernel": (5, 3)}),
    (ops.Embed(9, 4), [Tensor((None, 7), "int")], {"embeddings": (9, 4)}),
    (ops.Lstm(4), [F], {"kernel": (5, 16), "recurrent_kernel": (4, 16), "bias": (16,)}),
    (ops.Gru(4), [F], {"kernel": (5, 12), "recurrent_kernel": (4, 12), "bias": (2, 12)}),
    (ops.Gru(4, reset_after=False), [F], {"kernel": (5, 12), "recurrent_kernel": (4, 12), "bias": (12,)}),
    (ops.Gru(4, use_bias=False), [F], {"kernel": (5, 12), "recurrent_kernel": (4, 12)}),
    (ops.SimpleRnn(4), [F], {"kernel": (5, 4), "recurrent_kernel": (4, 4), "bias": (4,)}),
]


@pytest.mark.parametrize(("op", "inputs", "shapes"), INVENTORIES, ids=[str(s[0]) for s in INVENTORIES])
def test_weights(op: ops.Op, inputs: list[Tensor | None], shapes: dict[str, tuple[int, ...]]) -> None:
    assert op.inventory(*inputs) == shapes
    assert list(op.inventory(*inputs)) == list(shapes)


REFUSED: list[tuple[ops.Op, list[Tensor | None], str]] = [
    (ops.Affine(3), [Tensor((None,))], r"shape \(None,\); expected \(batch, ..., features\)"),
    (ops.Affine(3), [Tensor((None, None))], "known length"),
    (ops.Affine(3), [Tensor((None, 5), "int")], "holds int.*; expected float"),
    (ops.Affine(3), [None], "'x' is missing"),
    (ops.Activate(function("softmax", axis=3)), [F], "axis 3"),
    (ops.Activate(function("softmax", axis=0)), [F], "axis 0"),
    (ops.Activate(Function("glu")), [F], "even length"),
    (ops.Activate(Function("glu")), [Tensor((None, None))], "known length"),
    (ops.Embed(9, 4), [Tensor((None, 7))], "holds float.*; expected int"),
    (ops.NotEqual(), [F], "holds float.*; expected int"),
    (ops.Reshape((64,)), [F], "holds 65 numbers"),
    (ops.Reshape((-1, -1)), [F], "one -1"),
    (ops.Reshape((-1, 0)), [F], "65"),
    (ops.Reshape((-2,)), [F], "negative"),
    (ops.Transpose((1, 0, 2)), [F], "batch first"),
    (ops.Transpose((0, 1)), [F], "3 axes"),
    (ops.Reverse(), [Tensor((None,))], "time"),
    (ops.Last(), [Tensor((None,))], "time"),
    (ops.Lstm(4), [Tensor((None, 5)), STATE, STATE, None], "expected"),
    (ops.Lstm(4), [Tensor((None, 3, None)), STATE, STATE, None], "known length"),
    (ops.Lstm(4), [F, Tensor((None, 3)), STATE, None], r"'h' has shape \(None, 3\); expected \(batch, 4\)"),
    (ops.Lstm(4), [F, STATE, None, None], "'c' is missing"),
    (ops.Lstm(4), [F, STATE, STATE, Tensor((None, 13))], "holds float.*; expected (bool|a mask)"),
    (ops.Lstm(4), [F, STATE, STATE, Tensor((None, 13, 1), "bool")], "mask.*expected"),
    (ops.Lstm(4), [F, STATE, STATE, Tensor((None, 12), "bool")], "mask.*12"),
    (ops.Lstm(4), [Tensor((3, 13, 5)), Tensor((2, 4)), Tensor((2, 4)), None], "batch|2"),
    (ops.Lstm(4, Function("glu")), [F, STATE, STATE, None], "glu"),
    (ops.Gru(4, recurrent_activation=Function("glu")), [F, STATE, None], "glu"),
]


@pytest.mark.parametrize(("op", "inputs", "told"), REFUSED, ids=[f"{k}-{r[0]}" for k, r in enumerate(REFUSED)])
def test_inputs_that_do_not_fit(op: ops.Op, inputs: list[Tensor | None], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        op.infer(*inputs)


@pytest.mark.parametrize("op", [s[0] for s in SHAPES], ids=str)
def test_attributes_read_back(op: ops.Op) -> None:
    data = json.loads(json.dumps(op.attributes()))
    assert from_attributes(type(op).__name__, data) == op


def test_what_is_not_at_its_default_is_printed() -> None:
    assert str(ops.Lstm(4)) == "Lstm(units=4)"
    assert str(ops.Gru(4, Function("relu"), reset_after=False)) == "Gru(units=4, activation=relu, reset_after=False)"


@pytest.mark.parametrize(
    ("name", "attributes", "told"),
    [
        ("LSTM", {}, "unknown op 'LSTM' in opset 1. Did you mean 'Lstm'"),
        ("Op", {}, "unknown op"),
        ("Recurrent", {"units": 3}, "unknown op"),
        ("Lstm", {"unitz": 3}, "no option 'unitz'. Did you mean 'units'"),
        ("Lstm", {}, "units"),
        ("Lstm", {"units": 0}, "units"),
        ("Lstm", {"units": -3}, "units"),
        ("Lstm", {"units": "3"}, "units"),
        ("Lstm", {"units": 2.5}, "units"),
        ("Lstm", {"units": True}, "units"),
        ("Lstm", {"units": [3]}, "units"),
        ("Lstm", {"units": 3, "use_bias": "no"}, "use_bias"),
        ("Lstm", {"units": 3, "use_bias": 1}, "use_bias"),
        ("Lstm", {"units": 3, "zero_output_for_mask": None}, "zero_output_for_mask"),
        ("Lstm", {"units": 3, "activation": 5}, "activation"),
        ("Gru", {"units": 3, "reset_after": "x"}, "reset_after"),
        ("Embed", {"size": 0, "units": 3}, "size"),
        ("Embed", {"size": 5, "units": 3.0}, "units"),
        ("Reshape", {"shape": 3}, "shape"),
        ("Reshape", {"shape": ["a"]}, "shape"),
        ("Transpose", {"axes": "021"}, "axes"),
        ("Transpose", {"axes": [True, 0]}, "axes"),
        ("NotEqual", {"value": "x"}, "value"),
        ("NotEqual", {"value": 0.5}, "value"),
    ],
)
def test_attributes_that_do_not_fit(name: str, attributes: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        from_attributes(name, attributes)
