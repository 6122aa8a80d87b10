"""The program: building, running, printing, and JSON in both directions, whatever the JSON holds."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcore import ops
from lstmcore.activations import Function
from lstmcore.errors import SpecError
from lstmcore.layers import GRU, LSTM, Activation, Dense, Dropout, Embedding, Flatten, Input, InputLayer, SimpleRNN
from lstmcore.models import Sequential
from lstmcore.program import Builder, Node, Program, from_json, interpret

MODELS: dict[str, list[Any]] = {
    "ids": [
        Input((9,), dtype="int32"),
        Embedding(20, 6, mask_zero=True),
        GRU(5, return_sequences=True, go_backwards=True),
        LSTM(4, activation={"name": "relu", "max_value": 3.0}, dropout=0.5),
        Dropout(0.5),
        Dense(2, activation="softmax"),
    ],
    "images": [Input(batch_shape=(2, 3, 4)), Flatten("channels_first"), Dense(3, use_bias=False)],
    "states": [Input(batch_shape=(2, 3, 4)), SimpleRNN(3, stateful=True, return_state=True)],
}
PROGRAMS = {name: Sequential(layers).program for name, layers in MODELS.items()}
JSON = {name: json.loads(program.to_json()) for name, program in PROGRAMS.items()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_json_reads_back(name: str) -> None:
    again = from_json(PROGRAMS[name].to_json(indent=2))
    assert again == PROGRAMS[name]
    assert str(again) == str(PROGRAMS[name])
    assert list(again.weights) == list(PROGRAMS[name].weights)


def test_the_text_of_a_program() -> None:
    lines = str(PROGRAMS["states"]).splitlines()
    assert lines == [
        "program, opset 1",
        "  input   input_layer: float[2, 3, 4]",
        "  carry   simple_rnn/h.before: float[2, 3], next simple_rnn.h",
        "  simple_rnn.y: float[2, 3, 3], simple_rnn.h: float[2, 3] = SimpleRnn(units=3) of input_layer, "
        "simple_rnn/h.before, -, - with simple_rnn/kernel, simple_rnn/recurrent_kernel, simple_rnn/bias",
        "  simple_rnn/last.y: float[2, 3] = Last() of simple_rnn.y",
        "  output  simple_rnn/last.y",
        "  output  simple_rnn.h",
    ]


def test_options_that_change_nothing_are_noted() -> None:
    told = "\n".join(PROGRAMS["ids"].notes)
    assert "dropout: Dropout acts in training only" in told
    assert "lstm: dropout and recurrent_dropout act in training only" in told
    unrolled = Sequential([Input((3, 2)), LSTM(2, unroll=True, use_cudnn=False, implementation=1)]).program
    assert "unroll, implementation and use_cudnn" in unrolled.notes[0]
    assert len(unrolled.notes) == 1


def test_interpreting() -> None:
    build = Builder()
    x = build.input("x", (None, 2))
    with build.scope("a"):
        (y,) = build.op(ops.Affine(3), x)
        (z,) = build.op(ops.Activate(Function("relu")), y, name="relu")
    program = build.finish([z.name, y.name])
    assert dict(program.weights) == {"a/kernel": (2, 3), "a/bias": (3,)}

    def affine(op: ops.Affine, w: Any, x: Any) -> Any:
        return (x @ w["kernel"] + w["bias"],)

    def relu(op: ops.Activate, w: Any, x: Any) -> Any:
        return (np.maximum(x, 0),)

    weights = {"a/kernel": np.array([[1.0, -1, 0], [0, 2, 1]]), "a/bias": np.array([0.5, 0, -9])}
    outputs, carries = interpret(program, (affine, relu), weights, {"x": np.array([[1.0, 2.0]])})
    assert outputs["a.y"].tolist() == [[1.5, 3.0, -7.0]]
    assert outputs["a/relu.y"].tolist() == [[1.5, 3.0, 0.0]]
    assert carries == {}


def test_ids_are_limited_where_they_enter() -> None:
    assert dict(PROGRAMS["ids"].limits) == {"input_layer": 20}


def test_a_program_read_from_json_limits_its_ids_whatever_the_json_says() -> None:
    """Otherwise a damaged file lets ids reach a kernel that reads outside its table."""
    for limits in ({}, {"input_layer": 50}, {"input_layer": None}):
        data = {**copy.deepcopy(JSON["ids"]), "limits": limits}
        try:
            program = from_json(json.dumps(data))
        except SpecError:
            continue
        assert dict(program.limits) == {"input_layer": 20}, limits


# Building


def test_the_builder_refuses() -> None:
    build = Builder()
    x = build.input("x", (None, 3, 2))
    with pytest.raises(SpecError, match=r"'x' exists already|two inputs are called 'x'"):
        build.input("x", (None, 2))
    with pytest.raises(SpecError, match="reads 'q', which no earlier node makes"):
        build.add(Node("n", ops.Last(), ("q",), ("n.y",)))
    with pytest.raises(SpecError, match="makes 'x', which exists already"):
        build.add(Node("n", ops.Last(), ("x",), ("x",)))
    with pytest.raises(SpecError, match="takes 1 inputs and makes 1 outputs"):
        build.add(Node("n", ops.Last(), ("x", "x"), ("n.y",)))
    with pytest.raises(SpecError, match="has weights"):
        build.add(Node("n", ops.Affine(3), ("x",), ("n.y",), {"kernel": "k"}))
    with pytest.raises(SpecError, match="should yield 'q'"):
        build.finish(["q"])
    build.op(ops.Affine(3), x)
    with pytest.raises(SpecError, match="weight 'kernel' is used with shapes"):
        build.op(ops.Affine(4), x)


def test_the_scope_closes_after_an_error() -> None:
    build = Builder()
    with pytest.raises(ValueError, match="inside"), build.scope("a"):
        raise ValueError("inside")
    assert build.path("x") == "x"


# JSON that is none. Only SpecError may come out, and what is accepted must hold together.

VALUES: list[Any] = [
    None, True, -1, 0, 1, 2.5, 1e308, 10**30, "", "x", "lstm", "float", [], {}, [1], [[]], {"a": 1}, [None], ["x"],
    "\ud800", [1, [2]], {"name": "relu", "max_value": "a"}, [1, -1], ["input_layer"],
]  # fmt: skip


def paths(data: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from paths(value, (*here, key))


def damaged(data: Any, path: tuple[Any, ...], value: Any, remove: bool = False) -> Any:
    if not path:
        return value
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize("name", JSON)
def test_any_value_anywhere_is_a_spec_error_or_a_sound_program(name: str) -> None:
    for path in paths(JSON[name]):
        for value in VALUES:
            try:
                program = from_json(json.dumps(damaged(JSON[name], path, value)))
            except SpecError:
                continue
            sound(program, f"{path} = {value!r}")


@pytest.mark.parametrize("name", JSON)
def test_any_key_may_be_missing(name: str) -> None:
    for path in paths(JSON[name]):
        if not path:
            continue
        try:
            program = from_json(json.dumps(damaged(JSON[name], path, None, remove=True)))
        except SpecError:
            continue
        sound(program, f"without {path}")


def sound(program: Program, told: str) -> None:
    assert from_json(program.to_json()) == program, told
    assert str(program), told
    names = [*program.inputs, *program.outputs, *program.weights, *(c.name for c in program.carries)]
    names += [node.name for node in program.nodes]
    assert all(type(name) is str and name for name in names), told
    assert program.outputs, told
    assert all(type(note) is str for note in program.notes), told
    assert all(type(carry.stateful) is bool for carry in program.carries), told
    lengths = [n for value in program.values.values() for n in value.shape if n is not None]
    lengths += [n for shape in program.weights.values() for n in shape]
    assert all(type(n) is int and n > 0 for n in lengths), told
    assert all(type(n) is int and n > 0 for n in program.limits.values()), told
    assert set(program.limits) <= set(program.inputs), told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "1",
        "{}",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"opset":1}',
        '{"opset":2}',
        '{"opset":true}',
        '{"opset":1,',
        "\x00",
        b"\xff",
        None,
        5,
    ],
)
def test_what_is_no_program(text: Any) -> None:
    with pytest.raises(SpecError, match="program"):
        from_json(text)


def node(name: str) -> dict[str, Any]:
    return next(node for node in JSON["images"]["nodes"] if node["name"] == name)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("nodes", 0, "op"), "LSTM", "unknown op 'LSTM'"),
        (("nodes", 0, "inputs"), ["dense.y"], "reads 'dense.y', which no earlier node makes"),
        (("nodes", 0, "outputs"), ["input_layer"], "exists already"),
        (("nodes", 0, "outputs"), ["a", "b"], "makes 1 outputs"),
        (("nodes", 1, "attributes"), {"shape": [13]}, "12 numbers"),
        (("nodes", 2, "attributes", "colour"), "red", "no option 'colour'"),
        (("nodes", 2, "weights"), {"kernel": "dense/kernel", "bias": "dense/bias"}, "weights"),
        (("outputs",), ["elsewhere"], "'elsewhere', which no node makes"),
        (("inputs", 0, "kind"), "complex", "complex"),
        (("inputs", 0, "kind"), "int", "holds int"),
        (("inputs", 0, "shape"), [2, 3, -4], "shape"),
        (("inputs", 0, "shape"), "abc", "shape"),
        (("inputs",), [JSON["images"]["inputs"][0]] * 2, "two inputs|exists already"),
        (("opset",), 2, "opset 2; this version reads opset 1"),
        (("opset",), True, "opset"),
    ],
)
def test_what_the_message_says(path: tuple[Any, ...], value: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        from_json(json.dumps(damaged(JSON["images"], path, value)))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("carries", 0, "after"), "elsewhere", "'elsewhere', which no node makes"),
        (("carries", 0, "after"), "input_layer", "shape|carry|state"),
        (("carries", 0, "after"), "simple_rnn.y", "shape|carry|state"),
        (("carries", 0, "shape"), [2, 9], "shape"),
        (("carries", 0, "shape"), [5, 3], "shape|batch"),
        (("carries",), JSON["states"]["carries"] * 2, "two states|twice|exists"),
        (("carries", 0, "before"), "input_layer", "exists|no earlier node"),
    ],
)
def test_what_the_message_says_of_states(path: tuple[Any, ...], value: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        from_json(json.dumps(damaged(JSON["states"], path, value)))


def test_nodes_of_one_name_are_refused() -> None:
    """``explain().kernels`` maps names to kernels: a second node of a name would vanish from it."""
    data = damaged(JSON["images"], ("nodes", 1, "name"), JSON["images"]["nodes"][0]["name"])
    with pytest.raises(SpecError, match=r"node.*(called|name)"):
        from_json(json.dumps(data))


# Random models


@st.composite
def models(draw: st.DrawFn) -> Sequential:
    flag = st.booleans()
    layers: list[Any] = []
    if draw(flag):
        layers += [InputLayer((4,)), Embedding(7, 3, mask_zero=draw(flag))]
    else:
        layers += [InputLayer((draw(st.sampled_from([4, None])), 3))]
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from([LSTM, GRU, SimpleRNN]))
        layers.append(
            kind(
                draw(st.integers(1, 4)),
                activation=draw(st.sampled_from(["tanh", "relu", None, {"name": "elu", "alpha": 0.5}])),
                use_bias=draw(flag),
                go_backwards=draw(flag),
                return_sequences=True,
                zero_output_for_mask=draw(flag),
                **({"reset_after": draw(flag)} if kind is GRU else {}),
            )
        )
    layers.append(draw(st.sampled_from([Activation("softmax"), Dropout(0.5), Dense(2, activation="gelu")])))
    if draw(flag):
        layers.append(LSTM(2, return_state=True))
    return Sequential([type(layer).from_config(layer.get_config()) for layer in layers])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(models())
def test_json_of_random_models(model: Sequential) -> None:
    again = from_json(model.program.to_json())
    assert again == model.program
    assert {name: array.shape for name, array in model.weights.items()} == dict(again.weights)
    assert list(model.weights) == list(again.weights)
