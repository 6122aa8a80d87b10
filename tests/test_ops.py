"""The canonical ops: shapes, weights and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lstmcore import ops
from lstmcore.activations import Function, function
from lstmcore.errors import SpecError
from lstmcore.ops import Tensor, from_attributes
from lstmcore.program import Builder, Program

F = Tensor((None, 13, 5))
STATE = Tensor((None, 4))
MASK = Tensor((None, 13), "bool")
SCALAR = Tensor(())


def cell(features: tuple[int | None, ...] = (5,), kind: ops.Kind = "float") -> Program:
    """A body for Scan: the sum of what came so far, and its double as y."""
    build = Builder()
    x, total = build.input("x", (None, *features), kind), build.input("total", (None, 5))
    if kind != "float":
        (x,) = build.op(ops.Cast(), x, total)
    with build.scope("cell"):
        (gain,) = build.op(ops.Parameter((5,)), name="gain")
    (scaled,) = build.op(ops.Binary("multiply"), x, gain)
    (after,) = build.op(ops.Binary("add"), scaled, total)
    (y,) = build.op(ops.Concat(1, 2), after, after)
    return build.finish((y.name, after.name))


SCAN = ops.Scan(cell())
SUM = Tensor((None, 5))
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
    (ops.Lstm(4), [F, STATE, STATE, None, None], [(None, 13, 4), (None, 4), (None, 4)]),
    (ops.Lstm(4), [F, STATE, STATE, MASK, None], [(None, 13, 4), (None, 4), (None, 4)]),
    (ops.Lstm(4), [F, STATE, STATE, MASK, STATE], [(None, 13, 4), (None, 4), (None, 4)]),
    (ops.Gru(4), [F, STATE, None, None], [(None, 13, 4), (None, 4)]),
    (ops.SimpleRnn(4), [F, STATE, None, STATE], [(None, 13, 4), (None, 4)]),
    (ops.NotEqual(0.5), [F], [(None, 13, 5)]),
    (ops.NotEqual(3.0), [Tensor((None, 7), "int")], [(None, 7)]),
    (ops.Unary("sqrt"), [F], [(None, 13, 5)]),
    (ops.Unary("not"), [MASK], [(None, 13)]),
    (ops.Binary("add"), [F, F], [(None, 13, 5)]),
    (ops.Binary("less"), [F, SCALAR], [(None, 13, 5)]),
    (ops.Binary("power"), [Tensor((5,)), F], [(None, 13, 5)]),
    (ops.Binary("divide"), [F, Tensor((None, None, 1))], [(None, 13, 5)]),
    (ops.Binary("maximum"), [Tensor((None, None, 5)), Tensor((3, 1, 1))], [(3, None, 5)]),
    (ops.Binary("and"), [MASK, Tensor((13,), "bool")], [(None, 13)]),
    (ops.Select(), [MASK, SCALAR, Tensor((None, 1))], [(None, 13)]),
    (ops.Select(), [Tensor((None, 13, 1), "bool"), F, Tensor((5,))], [(None, 13, 5)]),
    (ops.Cast(), [MASK, F], [(None, 13)]),
    (ops.Cast(), [Tensor((None, 7), "int"), SCALAR], [(None, 7)]),
    (ops.Constant((1, 2.5, 3, 4, 5, 6), (2, 3)), [F], [(2, 3)]),
    (ops.Constant((1e-300,), ()), [F], [()]),
    (ops.Parameter((2, 3)), [], [(2, 3)]),
    (ops.Parameter(()), [], [()]),
    (ops.Zeros((7, 2)), [F], [(None, 7, 2)]),
    (ops.OneHot(4), [Tensor((None, 7), "int"), SCALAR], [(None, 7, 4)]),
    (ops.Total(), [F], [()]),
    (ops.Total("mean"), [SCALAR], [()]),
    (ops.Total("mean", 1), [F], [(5,)]),
    (ops.Total("sum", 3), [F], [(None, 13, 5)]),
    (ops.Zeros(()), [Tensor((3, 5))], [(3,)]),
    (ops.Einsum("bij,bjk->bik"), [F, Tensor((None, 5, 7))], [(None, 13, 7)]),
    (ops.Einsum("bqhd,bkhd->bhqk"), [Tensor((None, None, 2, 3)), Tensor((4, 9, 2, 3))], [(4, 2, None, 9)]),
    (ops.Einsum("Bij,jk->kB"), [F, Tensor((5, 7))], [(7, None)]),
    (ops.Einsum("ij,ij->"), [Tensor((2, 3)), Tensor((2, 3))], [()]),
    (ops.Conv(6, 4), [F], [(None, 10, 6)]),
    (ops.Conv(6, 4, strides=3), [F], [(None, 4, 6)]),
    (ops.Conv(6, 4, strides=4), [F], [(None, 3, 6)]),
    (ops.Conv(6, 4, dilation=4), [F], [(None, 1, 6)]),
    (ops.Conv(6, 4, strides=5, padding="same"), [F], [(None, 3, 6)]),
    (ops.Conv(6, 99, strides=2, padding="causal"), [F], [(None, 7, 6)]),
    (ops.Conv(6, 4, padding="same"), [Tensor((2, None, 5))], [(2, None, 6)]),
    (ops.Pool("max", 4, 4, "valid"), [F], [(None, 3, 5)]),
    (ops.Pool("mean", 4, 4, "same"), [F], [(None, 4, 5)]),
    (ops.Pool("mean", 4, 4, "valid"), [Tensor((None, None, None))], [(None, None, None)]),
    (ops.Reduce("sum", (1,)), [F], [(None, 5)]),
    (ops.Reduce("max", (2, 1)), [F], [(None,)]),
    (ops.Reduce("mean", (2,), keepdims=True), [F], [(None, 13, 1)]),
    (ops.Reduce("any", (1,), keepdims=True), [MASK], [(None, 1)]),
    (ops.Causal(), [F], [(None, 13, 5)]),
    (ops.Concat(1, 3), [F, F, Tensor((4, 2, None))], [(4, 28, 5)]),
    (ops.Concat(2, 2), [F, Tensor((None, None, None))], [(None, 13, None)]),
    (ops.Concat(1, 1), [MASK], [(None, 13)]),
    (ops.Slice(1, 2, -3), [F], [(None, 8, 5)]),
    (ops.Slice(2, -2), [F], [(None, 13, 2)]),
    (ops.Slice(1, -99, 99), [F], [(None, 13, 5)]),
    (ops.Slice(1, 5, 9), [Tensor((None, None), "int")], [(None, None)]),
    (ops.Pad(1, 2, 3), [F], [(None, 18, 5)]),
    (ops.Pad(1, 0, 1), [Tensor((None, None), "bool")], [(None, None)]),
    (ops.Repeat(2, 3), [F], [(None, 13, 15)]),
    (ops.Repeat(1, 3), [Tensor((None, None), "int")], [(None, None)]),
    (ops.Fold(), [F], [(None, 5)]),
    (ops.Fold(), [Tensor((2, 3, 4), "int")], [(6, 4)]),
    (ops.Unfold(), [Tensor((None, 7)), F], [(None, 13, 7)]),
    (ops.Unfold(), [Tensor((6, 7), "bool"), Tensor((2, 3, 4), "int")], [(2, 3, 7)]),
    (ops.BatchNormalize(), [F], [(None, 13, 5)]),
    (ops.LayerNormalize((1, 2)), [F], [(None, 13, 5)]),
    (ops.LayerNormalize((1,), 0.1, False, False), [Tensor((None, None, 5))], [(None, None, 5)]),
    (SCAN, [F, SUM, None, None], [(None, 13, 10), (None, 5)]),
    (SCAN, [Tensor((3, None, 5)), SUM, MASK, Tensor((None, 10))], [(3, None, 10), (3, 5)]),
    (
        ops.Scan(cell((), "int"), zero_output_for_mask=True),
        [Tensor((5, 13), "int"), SUM, None, None],
        [(5, 13, 10), (5, 5)],
    ),
]
KINDS: list[tuple[ops.Op, list[Tensor | None], list[ops.Kind]]] = [
    (ops.Unary("not"), [MASK], ["bool"]),
    (ops.Binary("less_equal"), [F, F], ["bool"]),
    (ops.Binary("or"), [MASK, MASK], ["bool"]),
    (ops.Binary("add"), [F, F], ["float"]),
    (ops.Select(), [MASK, SCALAR, SCALAR], ["float"]),
    (ops.NotEqual(0.5), [F], ["bool"]),
    (ops.Cast(), [MASK, F], ["float"]),
    (ops.Reduce("all", (1,)), [MASK], ["bool"]),
    (ops.Reduce("min", (1,)), [F], ["float"]),
    (ops.Causal(), [F], ["bool"]),
    *(
        (op, [Tensor((2, 6), kind)], [kind])
        for kind in ("float", "int", "bool")
        for op in (ops.Concat(1, 1), ops.Slice(1, 2), ops.Pad(1, 1, 1), ops.Repeat(1, 2), ops.Fold())
    ),
    (ops.Unfold(), [Tensor((6,), "int"), F], ["int"]),
    (ops.Unfold(), [Tensor((None,), "float"), MASK], ["float"]),
    (SCAN, [F, SUM, None, None], ["float", "float"]),
]


@pytest.mark.parametrize(("op", "inputs", "kinds"), KINDS, ids=[f"{k[0]}-{k[2][0]}" for k in KINDS])
def test_kinds(op: ops.Op, inputs: list[Tensor | None], kinds: list[ops.Kind]) -> None:
    assert [output.kind for output in op.infer(*inputs)] == kinds


def test_every_op_is_tried() -> None:
    assert {type(s[0]).__name__ for s in SHAPES} == set(ops.Op.registry)
    assert all(hasattr(ops, name) for name in ops.Op.registry)


def test_ops_that_only_move_numbers() -> None:
    moving = {name for name, op in ops.Op.registry.items() if op.moves}
    assert moving == {"Reshape", "Transpose", "Reverse", "Last", "Slice", "Repeat", "Fold"}


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
    (ops.Conv(6, 4), [F], {"kernel": (4, 5, 6), "bias": (6,)}),
    (ops.Conv(10, 4, groups=5, use_bias=False), [F], {"kernel": (4, 1, 10)}),
    (ops.Parameter((2, 3)), [], {"value": (2, 3)}),
    (ops.Parameter(()), [], {"value": ()}),
    (ops.BatchNormalize(), [F], {"gamma": (5,), "beta": (5,), "moving_mean": (5,), "moving_variance": (5,)}),
    (ops.BatchNormalize(center=False), [F], {"gamma": (5,), "moving_mean": (5,), "moving_variance": (5,)}),
    (ops.BatchNormalize(scale=False), [F], {"beta": (5,), "moving_mean": (5,), "moving_variance": (5,)}),
    (ops.LayerNormalize((2,)), [F], {"gamma": (5,), "beta": (5,)}),
    (ops.LayerNormalize((1, 2), center=False), [F], {"gamma": (13, 5)}),
    (ops.LayerNormalize((1,), scale=False), [F], {"beta": (13,)}),
    (SCAN, [F, SUM], {"cell/value": (5,)}),
    (ops.Einsum("ij,jk->ik"), [STATE, STATE], {}),
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
    (ops.NotEqual(), [MASK], "holds bool; expected int or float"),
    (ops.NotEqual(0.5), [Tensor((None, 7), "int")], r"value is 0\.5; expected a whole number"),
    (ops.NotEqual(2.0**31), [Tensor((None, 7), "int")], "within int32"),
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
    (ops.Gru(4), [F, STATE, None, Tensor((None, 5))], r"'previous' has shape \(None, 5\); expected \(batch, 4\)"),
    (ops.Gru(4), [F, STATE, None, Tensor((None, 4), "int")], "'previous' holds int; expected float"),
    (ops.Gru(4), [Tensor((3, 13, 5)), STATE, None, Tensor((2, 4))], "different batch sizes"),
    (ops.Unary("not"), [F], "holds float; expected bool"),
    (ops.Unary("exp"), [MASK], "holds bool; expected float"),
    (ops.Binary("add"), [F, Tensor((4,))], r"\(None, 13, 5\) and \(4,\) cannot be broadcast"),
    (ops.Binary("add"), [F, MASK], "'other' holds bool; expected float"),
    (ops.Binary("and"), [MASK, F], "'other' holds float; expected bool"),
    (ops.Binary("add"), [F, None], "'other' is missing"),
    (ops.Select(), [F, F, F], "'condition' holds float; expected bool"),
    (ops.Select(), [MASK, MASK, SCALAR], "'x' holds bool; expected float"),
    (ops.Select(), [MASK, F, SCALAR], "cannot be broadcast"),
    (ops.Cast(), [F, F], "holds float; expected int or bool"),
    (ops.Cast(), [MASK, MASK], "'like' holds bool; expected float"),
    (ops.Constant((1,), ()), [MASK], "'like' holds bool; expected float"),
    (ops.Zeros((3,)), [SCALAR], "'like' has 0 axes"),
    (ops.Zeros((3,)), [MASK], "'like' holds bool"),
    (ops.Einsum("bij,bjk->bik"), [F, F], "axis 'j' has length 5 in x and 13 in other"),
    (ops.Einsum("bij,bjk->bik"), [F, STATE], r"'other' has 2 axes.*expected \(b, j, k\)"),
    (ops.Einsum("bij,bjk->bik"), [F, Tensor((None, 5, 1), "int")], "'other' holds int"),
    (ops.Conv(6, 14), [F], "has 13 steps; expected at least the kernel's reach, 14"),
    (ops.Conv(6, 4, dilation=5), [F], "reach, 16"),
    (ops.Conv(6, 4, groups=3), [F], "5 channels; expected a multiple of groups, 3"),
    (ops.Conv(6, 4), [STATE], r"expected \(batch, time, channels\)"),
    (ops.Conv(6, 4), [Tensor((None, 5, None))], "known length"),
    (ops.Pool("max", 14, 1, "valid"), [F], "has 13 steps; expected at least the window's size, 14"),
    (ops.Pool("max", 2, 1, "valid"), [STATE], "batch, time, channels"),
    (ops.Reduce("sum", (3,)), [F], "no axis 3"),
    (ops.Total("sum", 4), [F], "no 4 axes to keep"),
    (ops.Reduce("any", (1,)), [F], "holds float; expected bool"),
    (ops.Reduce("sum", (1,)), [MASK], "holds bool; expected float"),
    (ops.Causal(), [Tensor((5,))], "queries, keys"),
    (ops.Causal(), [MASK], "holds bool"),
    (ops.Concat(1, 2), [F, MASK], "bool of shape .* cannot follow float"),
    (ops.Concat(1, 2), [F, STATE], "cannot follow"),
    (ops.Concat(1, 2), [F, Tensor((None, 13, 4))], "same lengths but on axis 1"),
    (ops.Concat(3, 1), [F], "no axis 3"),
    (ops.Concat(1, 2), [F, None], "'x1' is missing"),
    (ops.Slice(1, 13), [F], "nothing is left of the 13 entries on axis 1"),
    (ops.Slice(1, 5, 5), [F], "nothing is left"),
    (ops.Slice(3, 0), [F], "no axis 3"),
    (ops.Pad(2, 1, 1), [MASK], "no axis 2"),
    (ops.Repeat(2, 1), [MASK], "no axis 2"),
    (ops.Fold(), [Tensor((None,))], "batch, time"),
    (ops.Unfold(), [Tensor((7, 4)), Tensor((2, 3, 4))], "expected 2 × 3 = 6 entries"),
    (ops.Unfold(), [STATE, Tensor((2,))], "'like' has 1 axes"),
    (ops.BatchNormalize(), [Tensor((None, None))], "known length"),
    (ops.BatchNormalize(), [MASK], "holds bool"),
    (ops.LayerNormalize((1,)), [Tensor((None, None, 5))], "axis 1 of input 'x' must have a known length"),
    (ops.LayerNormalize((3,)), [F], "no axis 3"),
    (SCAN, [Tensor((None, 13, 4)), SUM, None, None], r"'x' has shape \(None, 13, 4\); the body takes \(None, 5\)"),
    (SCAN, [Tensor((None, 13, 5), "int"), SUM, None, None], "'x' holds int; expected float"),
    (SCAN, [Tensor((None,)), SUM, None, None], "batch, time"),
    (SCAN, [F, None, None, None], "'state_0' is missing"),
    (SCAN, [F, STATE, None, None], "'state_0' has shape"),
    (SCAN, [F, SUM, None, SUM], "'previous' has shape"),
    (SCAN, [F, SUM, Tensor((None, 12), "bool"), None], "mask has shape .*13 steps"),
    (SCAN, [F, SUM, Tensor((None, 13)), None], "'mask' holds float"),
    (SCAN, [Tensor((3, 13, 5)), Tensor((2, 5)), None, None], "different batch sizes"),
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
        ("NotEqual", {"value": float("nan")}, "value is nan; expected a finite number"),
        ("NotEqual", {"value": 10**400}, "expected a finite number"),
        ("NotEqual", {"value": True}, "expected a finite number"),
        ("Affine", {"units": 0}, "units is 0; expected 1 or more"),
        ("Unary", {"function": "sinus"}, "unknown function 'sinus'. Did you mean 'sin'"),
        ("Unary", {"function": 3}, "expected a string"),
        ("Unary", {"function": "add"}, "unknown function 'add'"),
        ("Binary", {"function": "<"}, "Known: add, and, divide"),
        ("Constant", {"values": [1, 2], "shape": [3]}, r"2 values; expected 3, which fill \(3,\)"),
        ("Constant", {"values": [1, float("inf")], "shape": [2]}, "a tuple of finite numbers"),
        ("Constant", {"values": [], "shape": [0]}, "positive lengths"),
        ("Constant", {"values": 3, "shape": []}, "a tuple of finite numbers"),
        ("Parameter", {"shape": [2, -1]}, "positive lengths"),
        ("Parameter", {"shape": [2, None]}, "a tuple of integers"),
        ("Zeros", {"shape": [0]}, "positive lengths"),
        ("Einsum", {"equation": "bij,bjk"}, "expected two operands and the output"),
        ("Einsum", {"equation": "...i,ij->...j"}, "expected two operands and the output"),
        ("Einsum", {"equation": "ij,jk,kl->il"}, "expected two operands and the output"),
        ("Einsum", {"equation": "ij, jk->ik"}, "expected two operands and the output"),
        ("Einsum", {"equation": "ii,ij->j"}, "each letter once"),
        ("Einsum", {"equation": "ij,jk->ii"}, "each letter once"),
        ("Einsum", {"equation": "ij,jk->iz"}, "each letter of the output"),
        ("Conv", {"filters": 6, "size": 0}, "size is 0; expected 1 or more"),
        ("Conv", {"filters": 0, "size": 3}, "filters is 0; expected 1 or more"),
        ("Conv", {"filters": 6, "size": 3, "strides": 0}, "strides is 0; expected 1 or more"),
        ("Conv", {"filters": 6, "size": 3, "dilation": -1}, "dilation is -1; expected 1 or more"),
        ("Conv", {"filters": 6, "size": 3, "groups": 0}, "groups is 0; expected 1 or more"),
        ("Conv", {"filters": 6, "size": 3, "groups": 4}, "expected a multiple of groups, 4"),
        ("Conv", {"filters": 6, "size": 3, "padding": "full"}, "unknown padding 'full'. Known: causal, same, valid"),
        ("Pool", {"function": "max", "size": 2, "strides": 1, "padding": "causal"}, "unknown padding 'causal'"),
        ("Pool", {"function": "sum", "size": 2, "strides": 1, "padding": "same"}, "unknown function 'sum'"),
        ("Pool", {"function": "max", "size": 2, "strides": 0, "padding": "same"}, "strides is 0"),
        ("Reduce", {"function": "prod", "axes": [1]}, "unknown function 'prod'"),
        ("Total", {"function": "sum", "kept": -1}, "kept is -1; expected 0 or more"),
        ("Reduce", {"function": "sum", "axes": [0, 1]}, r"\(0, 1\); expected feature axes, counted from 1"),
        ("Reduce", {"function": "sum", "axes": [-1]}, "counted from 1"),
        ("Reduce", {"function": "sum", "axes": [1, 1]}, "each once"),
        ("Reduce", {"function": "sum", "axes": []}, "expected feature axes"),
        ("Concat", {"axis": 0, "count": 2}, "axis is 0; expected feature axes"),
        ("Concat", {"axis": -1, "count": 2}, "axis is -1"),
        ("Concat", {"axis": 1, "count": 0}, "count is 0; expected 1 or more"),
        ("Slice", {"axis": 0, "start": 0}, "axis is 0"),
        ("Slice", {"axis": 1, "start": None}, "start is None; expected an integer"),
        ("Slice", {"axis": 1, "start": 0, "stop": 1.5}, "stop is 1.5; expected an integer or None"),
        ("Pad", {"axis": 0, "before": 1, "after": 1}, "axis is 0"),
        ("Pad", {"axis": 1, "before": -1, "after": 1}, "before is -1; expected 0 or more"),
        ("Pad", {"axis": 1, "before": 1, "after": -2}, "after is -2; expected 0 or more"),
        ("Repeat", {"axis": 0, "times": 2}, "axis is 0"),
        ("Repeat", {"axis": 1, "times": 0}, "times is 0; expected 1 or more"),
        ("BatchNormalize", {"epsilon": -1e-3}, "epsilon is -0.001; expected 0 or more"),
        ("BatchNormalize", {"epsilon": "1e-3"}, "expected a finite number"),
        ("BatchNormalize", {"center": 1}, "center is 1; expected True or False"),
        ("LayerNormalize", {"axes": [2, 1]}, r"ascending order, \(1, 2\)"),
        ("LayerNormalize", {"axes": [0]}, "counted from 1"),
        ("LayerNormalize", {"axes": []}, "expected feature axes"),
        ("Scan", {"body": 3}, "Program|program"),
        ("Scan", {}, "body"),
    ],
)
def test_attributes_that_do_not_fit(name: str, attributes: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        from_attributes(name, attributes)


def test_a_body_that_does_not_fit() -> None:
    def body(*outputs: str) -> ops.Scan:
        build = Builder()
        x, h = build.input("x", (None, 5)), build.input("h", (None, 4))
        build.op(ops.NotEqual(), x, name="mask")
        build.op(ops.Constant((1,) * 4, (4,)), h, name="ones")
        build.op(ops.Affine(4), x, name="wide")
        return ops.Scan(build.finish(outputs))

    assert body("wide.y", "h").inputs == ("x", "state_0")
    with pytest.raises(SpecError, match=r"expected \(x, state, ...\) and \(y, next state, ...\)"):
        body("x")
    with pytest.raises(SpecError, match=r"'mask\.y' in the body is bool"):
        body("mask.y", "h")
    with pytest.raises(SpecError, match=r"'ones.y' in the body is float \(4,\)"):
        body("ones.y", "h")
    with pytest.raises(SpecError, match=r"state 'h' of the body has shape \(None, 4\) and becomes \(None, 5\)"):
        body("h", "x")


def test_a_body_keeps_no_state_of_its_own() -> None:
    build = Builder()
    x = build.input("x", (None, 5))
    build.carry("h", (None, 5))
    with pytest.raises(SpecError, match=r"the body has carries, \['h'\]"):
        ops.Scan(build.finish((x.name,)))


def test_names_that_depend_on_the_options() -> None:
    assert ops.Concat(1, 3).inputs == ("x0", "x1", "x2")
    assert (SCAN.inputs, SCAN.outputs) == (("x", "state_0"), ("y", "state_0"))
    assert SCAN.ports() == ("cell/value",)
    assert str(SCAN) == "Scan(body of y, state_0)"
    assert str(ops.Scan(cell(), True)) == "Scan(body of y, state_0, zero_output_for_mask=True)"
    assert str(ops.Slice(1, 2)) == "Slice(axis=1, start=2)"
