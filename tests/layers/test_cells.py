"""Cells: those of Keras equal their layers, a user's own runs on every engine, and mistakes in one are told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import SpecError
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Cell,
    Dense,
    GRUCell,
    Input,
    LSTMCell,
    Masking,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
    TimeDistributed,
    Weight,
    deserialize,
    serialize,
)
from lstmcore.models import Model, Sequential, model_from_json

BACKENDS = ("numpy", "torch", "tensorflow")
RNG = np.random.default_rng(7)
X = RNG.normal(size=(3, 5, 4))
COUNTS = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
PAIRS = {"LSTM": (LSTM, LSTMCell), "GRU": (GRU, GRUCell), "SimpleRNN": (SimpleRNN, SimpleRNNCell)}


def filled(model: Any) -> Any:
    """The model with asymmetric weights that saturate nothing."""
    r = np.random.default_rng(5)
    model.set_weights([r.normal(scale=0.5, size=w.shape) for w in model.get_weights()])
    return model


class Leaky(Cell):
    units: int
    leak: float = 0.25

    @property
    def state_size(self) -> int:
        return self.units

    def declare(self, features: int) -> dict[str, Weight]:
        return {
            "kernel": Weight((features, self.units)),
            "recurrent": Weight((self.units, self.units), "orthogonal"),
            "bias": Weight((self.units,), "ones"),
        }

    def step(self, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        (h,) = states
        h = (1 - self.leak) * h + self.leak * ops.tanh(inputs @ w["kernel"] + h @ w["recurrent"] + w["bias"])
        return h, [h]


class TwoStates(Cell):
    """Output and states of three different lengths."""

    def declare(self, features: int) -> dict[str, Weight]:
        return {"a": Weight((features, 2)), "b": Weight((2, 3))}

    state_size: ClassVar[Any] = [2, 3]
    output_size: ClassVar[Any] = 5

    def step(self, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        a, b = states
        a = 0.5 * a + inputs @ w["a"]
        b = ops.sigmoid(b + a @ w["b"])
        return ops.concatenate([a, b]), [a, b]


def leaky(x: np.ndarray, weights: list[np.ndarray], leak: float, mask: np.ndarray | None = None) -> np.ndarray:
    """Leaky over time in NumPy, float64."""
    kernel, recurrent, bias = (w.astype(np.float64) for w in weights)
    h = np.zeros((x.shape[0], bias.size))
    outputs = np.zeros((*x.shape[:2], bias.size))
    for t in range(x.shape[1]):
        new = (1 - leak) * h + leak * np.tanh(x[:, t] @ kernel + h @ recurrent + bias)
        h = new if mask is None else np.where(mask[:, t, None], new, h)
        outputs[:, t] = h
    return outputs


# The cells of Keras equal the layers

OPTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *[(kind, {}, {"return_sequences": True}) for kind in PAIRS],
    *[(kind, {"use_bias": False}, {"go_backwards": True, "return_sequences": True}) for kind in PAIRS],
    *[(kind, {"activation": "relu"}, {"return_state": True}) for kind in PAIRS],
    *[(kind, {"activation": None}, {"zero_output_for_mask": True, "return_sequences": True}) for kind in PAIRS],
    *[(kind, {"dropout": 0.5, "recurrent_dropout": 0.5}, {"unroll": True}) for kind in PAIRS],
    *[(kind, {"recurrent_activation": "hard_sigmoid"}, {"return_state": True}) for kind in ("LSTM", "GRU")],
    ("GRU", {"reset_after": False}, {"return_sequences": True}),
    ("GRU", {"reset_after": False, "use_bias": False}, {"return_state": True}),
    ("GRU", {"use_bias": False, "recurrent_activation": "softmax"}, {}),
    ("LSTM", {"unit_forget_bias": False}, {"go_backwards": True, "return_state": True, "return_sequences": True}),
]


def pair(kind: str, options: dict[str, Any], runs: dict[str, Any], dtype: str, masked: bool) -> tuple[Model, Model]:
    layer, cell = PAIRS[kind]

    def model(made: Any) -> Model:
        x, mask = Input((None, 4), dtype=dtype), Input((None,), dtype="bool")
        return Model([x, mask], made(x, mask=mask) if masked else made(x))

    one = model(layer(3, **options, **runs, dtype=dtype))
    other = model(RNN(cell(3, **options, dtype=dtype), **runs, dtype=dtype))
    assert [w.shape for w in one.get_weights()] == [w.shape for w in other.get_weights()]
    other.set_weights(filled(one).get_weights())
    return one, other


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options", "runs"), OPTIONS)
def test_a_cell_over_time_equals_the_layer(
    kind: str, options: dict[str, Any], runs: dict[str, Any], dtype: str, masked: bool
) -> None:
    one, other = pair(kind, options, runs, dtype, masked)
    given = [X.astype(dtype), COUNTS]
    tolerance = 1e-13 if dtype == "float64" else 1e-5
    expected = one.predict(given, backend="numpy")
    for backend in BACKENDS:
        found = other.predict(given, backend=backend)
        for y, reference in zip(listed(found), listed(expected), strict=True):
            assert y.dtype == dtype
            np.testing.assert_allclose(y, reference, rtol=tolerance, atol=tolerance)


def listed(y: Any) -> list[Any]:
    return y if isinstance(y, list) else [y]


@pytest.mark.parametrize("kind", PAIRS)
def test_initial_weights_start_as_those_of_the_layer_do(kind: str) -> None:
    layer, cell = (made(3) for made in PAIRS[kind])
    layer.build((None, 5, 4))
    rnn = RNN(cell)
    rnn.build((None, 5, 4))
    assert [np.ptp(w) == 0 for w in layer.get_weights()] == [np.ptp(w) == 0 for w in rnn.get_weights()]
    if kind == "LSTM":
        assert rnn.get_weights()[2].tolist() == [0] * 3 + [1] * 3 + [0] * 6
    assert list(rnn.weights) == ["kernel", "recurrent_kernel", "bias"]


@pytest.mark.parametrize("kind", PAIRS)
def test_states_given_and_kept(kind: str) -> None:
    layer, cell = PAIRS[kind]
    x = X.astype(np.float32)
    count = 2 if kind == "LSTM" else 1
    states = [RNG.normal(size=(3, 3)).astype(np.float32) for _ in range(count)]
    one, other = layer(3, stateful=True), RNN(cell(3), stateful=True)
    one(x), other(x)
    one.reset_states(), other.reset_states()
    other.set_weights(filled(one).get_weights())
    for given in ({}, {}, {"initial_state": states}, {}):
        np.testing.assert_allclose(other(x, **given), one(x, **given), rtol=1e-5, atol=1e-6)


def test_a_stack_equals_the_layers_one_upon_the_other() -> None:
    layers = [LSTM(3, return_sequences=True), GRU(2, return_sequences=True), SimpleRNN(4, return_state=True)]
    chain = filled(Sequential([Input((None, 4)), Masking(), *layers]))
    stack = Sequential(
        [Input((None, 4)), Masking(), RNN([LSTMCell(3), GRUCell(2), SimpleRNNCell(4)], return_state=True)]
    )
    stack.set_weights(chain.get_weights())
    x = np.where(COUNTS[..., None], X, 0).astype(np.float32)
    expected = chain.predict(x, backend="numpy")
    assert list(stack.weights)[:2] == ["rnn/cell_0/kernel", "rnn/cell_0/recurrent_kernel"]
    for backend in BACKENDS:
        y, first, second, third = stack.predict(x, backend=backend)
        np.testing.assert_allclose(y, expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(third[0], expected[1], rtol=1e-5, atol=1e-6)
        assert [a.shape for a in first] == [(3, 3), (3, 3)] and [a.shape for a in second] == [(3, 2)]


def test_stacks_nest_and_take_their_states_nested() -> None:
    inner = StackedRNNCells([LSTMCell(2), TwoStates()])
    rnn = RNN(StackedRNNCells([inner, GRUCell(3)]), return_state=True)
    x = X.astype(np.float32)
    y, first, second = rnn(x)
    assert y.shape == (3, 3) and [a.shape for a in first] == [(3, 2), (3, 2), (3, 2), (3, 3)]
    assert [a.shape for a in second] == [(3, 3)]
    again, *_ = rnn(x, initial_state=[[a * 0 for a in first], [a * 0 for a in second]])
    assert np.array_equal(again, y)
    restored = deserialize(serialize(rnn))
    assert restored.get_config() == rnn.get_config()
    single = RNN([LSTMCell(2)], return_state=True)
    assert len(single(x)) == 3  # Keras 3.15: the states of a stack of one stay flat


# Cells of one's own


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("masked", [False, True])
def test_an_own_cell_on_every_engine(backend: str, masked: bool) -> None:
    x, mask = Input((None, 4), dtype="float64"), Input((None,), dtype="bool")
    rnn = RNN(Leaky(3, 0.5, dtype="float64"), return_sequences=True)
    model = filled(Model([x, mask], rnn(x, mask=mask) if masked else rnn(x)))
    expected = leaky(X, model.get_weights(), 0.5, COUNTS if masked else None)
    np.testing.assert_allclose(model.predict([X, COUNTS], backend=backend), expected, rtol=1e-12)


def test_options_are_annotated_fields() -> None:
    class Optioned(Cell):
        units: int
        names: Any = ("a", "b")
        more: Any = None
        shared: ClassVar[list[int]] = [1]
        plain = 5

    cell = Optioned(3, more={"deep": [1, 2.5, None, True]})
    assert (cell.units, cell.names, cell.more["deep"][1]) == (3, ["a", "b"], 2.5)
    config = cell.get_config()
    assert "shared" not in config and "plain" not in config
    assert Optioned.from_config(config).get_config() == config
    assert Optioned(units=2, name="called", dtype="float64").dtype == "float64"
    assert "more={'deep'" in repr(cell)
    assert cell.plain == 5 and Optioned.shared == [1]


def test_options_are_inherited() -> None:
    class Slower(Leaky):
        leak: float = 0.1
        extra: str = "x"

    assert [key for key in Slower(2).get_config() if key in ("units", "leak", "extra")] == ["units", "leak", "extra"]
    assert Slower(2).leak == 0.1
    np.testing.assert_allclose(RNN(Slower(2))(X.astype(np.float32)).shape, (3, 2))


@pytest.mark.parametrize("value", [np.ones(2), object(), {1, 2}, lambda: 0, b"bytes", {5: 1}, Dense(2), 1j])
def test_options_must_be_values_that_json_holds(value: Any) -> None:
    with pytest.raises(SpecError, match=r"Leaky: leak is .*expected None, a number, a text"):
        Leaky(2, leak=value)


def test_options_that_are_none_of_its_own() -> None:
    with pytest.raises(SpecError, match=r"Leaky has no option 'leek'. Did you mean 'leak'"):
        Leaky(2, leek=1)
    with pytest.raises(TypeError, match="units"):
        Leaky()
    cell = Leaky(2)
    with pytest.raises(SpecError, match="does not change"):
        cell.units = 3


def test_a_class_defined_again_is_the_one_that_counts() -> None:
    def define(factor: float) -> type[Cell]:
        class Again(Cell):
            state_size: ClassVar[Any] = 2

            def declare(self, features: int) -> dict[str, Weight]:
                return {"k": Weight((features, 2), "ones")}

            def step(self, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
                h = factor * (inputs @ w["k"])
                return h, [h]

        return Again

    x = np.ones((1, 1, 4), np.float32)
    old = define(1.0)()
    saved = Sequential([Input((None, 4)), RNN(define(1.0)())]).to_json()
    new = define(10.0)()
    assert RNN(old)(x)[0, 0] == 4 and RNN(new)(x)[0, 0] == 40
    assert model_from_json(saved).predict(x)[0, 0] == 40
    # A copy of a cell is of the cell's own class, not of the latest of that name.
    assert Bidirectional(RNN(old))(x)[0].tolist() == [4] * 4
    assert Bidirectional(RNN([old, Leaky(2)]), merge_mode=None)(x)[0].shape == (1, 2)


@pytest.mark.parametrize("name", ["LSTM", "LSTMCell", "Dense", "RNN"])
def test_names_of_lstmcore_are_taken(name: str) -> None:
    before = getattr(lc.layers, name)
    with pytest.raises(SpecError, match=f"lstmcore has a layer {name} itself; call yours differently"):
        type(name, (Cell,), {})
    assert deserialize(serialize(LSTM(2))).__class__ is LSTM and getattr(lc.layers, name) is before


def test_of_two_classes_of_one_name_a_file_means_that_of_its_module() -> None:
    text = Sequential([Input((None, 4)), RNN(Leaky(2, 0.5))]).to_json()
    other = type("Leaky", (Leaky,), {"__module__": "elsewhere"})
    try:
        assert Cell.registry["Leaky"] is other
        assert type(model_from_json(text).layers[0].cell) is Leaky
        assert type(model_from_json(text.replace(Leaky.__module__, "gone")).layers[0].cell) is other
    finally:
        Cell.registry["Leaky"] = Leaky


MODULE = """
from lstmcore.layers import Cell, Weight
class Kept(Cell):
    units: int
    factor: float = 2.0
    @property
    def state_size(self): return self.units
    def declare(self, features): return {"k": Weight((features, self.units))}
    def step(self, ops, inputs, states, w):
        h = self.factor * (inputs @ w["k"]) - states[0]
        return h, [h]
"""
LOAD = """
import sys, numpy as np, lstmcore as lc
if sys.argv[1] != "-": __import__(sys.argv[1])
try:
    model = lc.load_model(sys.argv[2])
    print(repr(model.predict(np.ones((1, 3, 4), "float32")).ravel().tolist()))
except lc.errors.FileError as error:
    print("refused:", error)
"""


def test_a_file_in_a_fresh_process(tmp_path: Path) -> None:
    (tmp_path / "kept_cells.py").write_text(MODULE)
    model = tmp_path / "model.safetensors"
    make = (
        "import sys, numpy as np, kept_cells; from lstmcore.layers import *; from lstmcore.models import Sequential\n"
        "m = Sequential([Input((None, 4)), RNN(kept_cells.Kept(2, 0.5)), Dense(1)]); m.save(sys.argv[1])\n"
        "print(repr(m.predict(np.ones((1, 3, 4), 'float32')).ravel().tolist()))"
    )
    written = run(tmp_path, make, str(model))
    assert run(tmp_path, LOAD, "kept_cells", str(model)) == written
    refused = run(tmp_path, LOAD, "-", str(model))
    assert refused.startswith("refused:") and "'Kept' of module 'kept_cells'" in refused and "import" in refused
    assert b"factor" in model.read_bytes() and b"states[0]" not in model.read_bytes()


def run(folder: Path, code: str, *arguments: str) -> str:
    roots = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": roots, "LSTMCORE_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_files_and_json_in_this_process(tmp_path: Path) -> None:
    model = filled(
        Sequential([Input((None, 4)), RNN(Leaky(3, 0.5), return_sequences=True), RNN([TwoStates(), LSTMCell(2)])])
    )
    model.save(tmp_path / "model.safetensors")
    again = lc.load_model(tmp_path / "model.safetensors")
    x = X.astype(np.float32)
    assert list(again.weights) == list(model.weights) and np.array_equal(again.predict(x), model.predict(x))
    assert model_from_json(model.to_json()).get_config() == model.get_config()


def test_an_own_cell_in_wrappers_and_streams() -> None:
    x = X.astype(np.float32)
    rnn = RNN(Leaky(3), return_sequences=True)
    both = Bidirectional(rnn, merge_mode=None)
    forward, backward = both(x)
    w = both.get_weights()
    np.testing.assert_allclose(forward, leaky(x, w[:3], 0.25), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(backward, leaky(x[:, ::-1], w[3:], 0.25)[:, ::-1], rtol=1e-5, atol=1e-6)
    apart = TimeDistributed(RNN(Leaky(2)))
    deep = RNG.normal(size=(3, 2, 5, 4)).astype(np.float32)
    y = apart(deep)
    for t in range(2):
        np.testing.assert_allclose(y[:, t], leaky(deep[:, t], apart.get_weights(), 0.25)[:, -1], rtol=1e-5, atol=1e-6)
    model = Sequential([Input(batch_shape=(3, None, 4)), RNN(TwoStates(), stateful=True, return_sequences=True)])
    halves = np.concatenate([model.predict(x[:, :2]), model.predict(x[:, 2:])], 1)
    model.reset_states()
    whole = model.predict(x)
    np.testing.assert_allclose(halves, whole, rtol=1e-6)
    for backend in BACKENDS:
        stream = model.stream(3, backend)
        pieces = np.concatenate([stream.push(x[:, a:b]) for a, b in ((0, 1), (1, 4), (4, 5))], 1)
        np.testing.assert_allclose(pieces, whole, rtol=1e-5, atol=1e-6)


def test_a_cell_by_itself() -> None:
    x, h = X[:, 0].astype(np.float32), RNG.normal(size=(3, 3)).astype(np.float32)
    cell = Leaky(3)
    y, (after,) = cell(x, [h])
    kernel, recurrent, bias = cell.get_weights()
    np.testing.assert_allclose(y, 0.75 * h + 0.25 * np.tanh(x @ kernel + h @ recurrent + bias), rtol=1e-5, atol=1e-6)
    assert np.array_equal(y, after)
    a, b = Input((4,)), Input((3,))
    made, states = cell(a, [b])
    np.testing.assert_allclose(Model([a, b], [made, *states]).predict([x, h])[0], y, rtol=1e-6)
    with pytest.raises(SpecError, match=r"given states of shapes \[\]; expected \[\(None, 3\)\]"):
        cell(a)


# The language of a step: each function and operator against NumPy

A, B = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
A[0, 0] = B[0, 0]
W, V = RNG.normal(size=(4, 2)), RNG.normal(size=(2, 4))


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def softmax(z: Any) -> Any:
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


Say = Callable[[Any, Any, Any, Any], Any]
LANGUAGE: dict[str, tuple[Say, Callable[[], Any]]] = {
    "a + b": (lambda ops, a, b, w: a + b, lambda: A + B),
    "a - b": (lambda ops, a, b, w: a - b, lambda: A - B),
    "a * b": (lambda ops, a, b, w: a * b, lambda: A * B),
    "a / b": (lambda ops, a, b, w: a / b, lambda: A / B),
    "a ** 2": (lambda ops, a, b, w: a**2, lambda: A**2),
    "-a": (lambda ops, a, b, w: -a, lambda: -A),
    "abs": (lambda ops, a, b, w: abs(a), lambda: np.abs(A)),
    "2 + a": (lambda ops, a, b, w: 2 + a, lambda: 2 + A),
    "2 - a": (lambda ops, a, b, w: 2 - a, lambda: 2 - A),
    "2 * a": (lambda ops, a, b, w: np.float32(2) * a, lambda: 2 * A),
    "2 / a": (lambda ops, a, b, w: 2 / a, lambda: 2 / A),
    "2 ** a": (lambda ops, a, b, w: 2**a, lambda: 2**A),
    "a @ w": (lambda ops, a, b, w: a @ w["w"] @ w["v"], lambda: A @ W @ V),
    "row": (lambda ops, a, b, w: a * w["v"][1], lambda: A * V[1]),
    "row of numpy": (lambda ops, a, b, w: a * w["v"][np.int64(0)], lambda: A * V[0]),
    "a < b": (lambda ops, a, b, w: ops.where(a < b, a, b), lambda: np.minimum(A, B)),
    "a > b": (lambda ops, a, b, w: ops.where(a > b, 1, b), lambda: np.where(A > B, 1, B)),
    "a <= b": (lambda ops, a, b, w: ops.where(a <= b, a, 0), lambda: np.where(A <= B, A, 0)),
    "a >= b": (lambda ops, a, b, w: ops.where(a >= b, a, 0), lambda: np.where(A >= B, A, 0)),
    "0 < a": (lambda ops, a, b, w: ops.where(0 < a, a, b), lambda: np.where(A > 0, A, B)),  # noqa: SIM300
    **{
        f"ops.{name}": (
            lambda ops, a, b, w, name=name: getattr(ops, name)(ops.abs(a)),
            lambda f=f: f(np.abs(A)),
        )
        for name, f in {
            "cos": np.cos, "exp": np.exp, "log": np.log, "negative": np.negative, "reciprocal": np.reciprocal,
            "rsqrt": lambda z: 1 / np.sqrt(z), "sin": np.sin, "sqrt": np.sqrt, "square": np.square, "tanh": np.tanh,
            "sigmoid": sigmoid, "softmax": softmax, "softplus": lambda z: np.log1p(np.exp(z)), "linear": lambda z: z,
        }.items()
    },
    **{
        f"ops.{name}": (lambda ops, a, b, w, name=name: getattr(ops, name)(a, b), lambda f=f: f(A, B))
        for name, f in {
            "add": np.add, "divide": np.divide, "maximum": np.maximum, "minimum": np.minimum,
            "multiply": np.multiply, "subtract": np.subtract,
        }.items()
    },
    "ops.power": (lambda ops, a, b, w: ops.power(ops.abs(a), b), lambda: np.abs(A) ** B),
    "ops.maximum of a number": (lambda ops, a, b, w: ops.maximum(0.5, a), lambda: np.maximum(0.5, A)),
    "ops.equal": (lambda ops, a, b, w: ops.where(ops.equal(a, b), 1, a), lambda: np.where(A == B, 1, A)),
    "ops.less": (lambda ops, a, b, w: ops.where(ops.less(a, b), a, 7), lambda: np.where(A < B, A, 7)),
    "ops.less_equal": (lambda ops, a, b, w: ops.where(ops.less_equal(a, b), a, 7), lambda: np.where(A <= B, A, 7)),
    **{
        f"ops.{name}": (
            lambda ops, a, b, w, name=name: b + getattr(ops, name)(a, keepdims=True),
            lambda f=f: B + f(A, axis=-1, keepdims=True),
        )
        for name, f in {"max": np.max, "mean": np.mean, "min": np.min, "sum": np.sum}.items()
    },
    "ops.sum over an axis": (
        lambda ops, a, b, w: ops.sum(ops.einsum("bi,bj->bij", a, b), axis=1),
        lambda: A.sum(1, keepdims=True) * B,
    ),
    "ops.sum over axes": (
        lambda ops, a, b, w: ops.einsum("b,bi->bi", ops.sum(ops.einsum("bi,bj->bij", a, b), axis=[1, -1]), b),
        lambda: A.sum(1, keepdims=True) * B.sum(1, keepdims=True) * B,
    ),
    "ops.where": (lambda ops, a, b, w: ops.where(ops.less(a, 0), b, a), lambda: np.where(A < 0, B, A)),
    "ops.activate": (
        lambda ops, a, b, w: ops.activate({"name": "relu", "max_value": 0.5}, a),
        lambda: np.clip(A, 0, 0.5),
    ),
    "ops.activate none": (lambda ops, a, b, w: ops.activate(None, a), lambda: A),
    "ops.matmul": (lambda ops, a, b, w: ops.matmul(ops.matmul(a, w["w"]), w["v"]), lambda: A @ W @ V),
    "ops.einsum": (lambda ops, a, b, w: ops.einsum("bi,iu->bu", a, w["w"]) @ w["v"], lambda: A @ W @ V),
    "ops.einsum of two": (
        lambda ops, a, b, w: ops.einsum("bij,bj->bi", ops.einsum("bi,bj->bij", a, b), b),
        lambda: A * (B * B).sum(1, keepdims=True),
    ),
    "ops.einsum, weight first": (lambda ops, a, b, w: ops.einsum("iu,bi->bu", w["w"], a) @ w["v"], lambda: A @ W @ V),
    "ops.concatenate": (
        lambda ops, a, b, w: ops.concatenate([a @ w["w"], b @ w["w"]]),
        lambda: np.concatenate([A @ W, B @ W], 1),
    ),
    "ops.split": (
        lambda ops, a, b, w: ops.concatenate(ops.split(a, 2)[::-1], axis=1),
        lambda: np.concatenate([A[:, 2:], A[:, :2]], 1),
    ),
    "ops.split into lengths": (
        lambda ops, a, b, w: ops.concatenate(ops.split(a, [1, 3])[::-1]),
        lambda: np.concatenate([A[:, 1:], A[:, :1]], 1),
    ),
    "ops.split of a weight": (
        lambda ops, a, b, w: ops.concatenate([a @ part for part in ops.split(w["w"], 2)] + [b @ w["w"]]),
        lambda: np.concatenate([A @ W, B @ W], 1),
    ),
    "ops.reshape": (lambda ops, a, b, w: ops.reshape(ops.reshape(a, (2, 2)) + 1, [-1]) * b, lambda: (A + 1) * B),
    "ops.reshape of a weight": (
        lambda ops, a, b, w: ops.reshape(ops.einsum("bi,ijk->bjk", a @ w["w"], ops.reshape(w["v"], (2, 2))), (4,)),
        lambda: A @ W @ V,
    ),
    "ops.dropout": (lambda ops, a, b, w: ops.dropout(a, 0.5) + b, lambda: A + B),
    "ops.dropout of copies": (
        lambda ops, a, b, w: ops.reshape(ops.dropout(a @ w["w"], 0.5, copies=2), (4,)) + b,
        lambda: np.concatenate([A @ W, A @ W], 1) + B,
    ),
    "ops.training": (lambda ops, a, b, w: b if ops.training else a, lambda: A),
    "ops.zeros_like": (lambda ops, a, b, w: ops.zeros_like(a) + b, lambda: B),
    "ops.ones_like": (lambda ops, a, b, w: ops.ones_like(a) * 2, lambda: np.full_like(A, 2)),
}  # fmt: skip


def saying(say: Any, name: str = "Said", **members: Any) -> Any:
    """A cell with states of 4, and weights w (4, 2) and v (2, 4), whose step returns what ``say`` makes."""

    def step(self: Any, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        y = say(ops, inputs, states[0], w)
        return y, [states[0]]

    def declare(self: Any, features: int) -> dict[str, Weight]:
        return {"w": Weight((features, 2)), "v": Weight((2, features))}

    return type(name, (Cell,), {"state_size": 4, "declare": declare, "step": step, **members})


@pytest.mark.parametrize("text", LANGUAGE)
def test_every_function_and_operator_is_numpys(text: str) -> None:
    say, expected = LANGUAGE[text]
    x, h = Input((1, 4), dtype="float64"), Input((4,), dtype="float64")
    model = Model([x, h], RNN(saying(say)(dtype="float64"))(x, initial_state=h))
    model.set_weights([W, V])
    for backend in BACKENDS:
        found = model.predict([A[:, None], B], backend=backend)
        np.testing.assert_allclose(found, expected(), rtol=1e-12, atol=1e-13)


def test_the_whole_language_is_tried() -> None:
    from lstmcore.layers import expressions

    public = [name for name in vars(expressions.CellOps) if not name.startswith("_")]
    for name in (*expressions.BINARY, *expressions.UNARY, *expressions.REDUCTIONS, *public):
        assert any(f"ops.{name}" in text or name == text for text in LANGUAGE), name


# What is refused

WRONG: list[tuple[Say, str]] = [
    (lambda ops, x, h, w: x if x else h, r"choose by ops\.where, not by if"),
    (lambda ops, x, h, w: x + np.ones(4), "values and numbers, not ndarray"),
    (lambda ops, x, h, w: np.ones(4) * x, "values and numbers, not ndarray"),
    (lambda ops, x, h, w: x * "a", "not str"),
    (lambda ops, x, h, w: x * True, "not bool"),
    (lambda ops, x, h, w: x * float("nan"), "finite"),
    (lambda ops, x, h, w: x * 10**400, "no float can hold"),
    (lambda ops, x, h, w: ops.tahn(x), r"no function 'tahn'\. Did you mean 'tanh'"),
    (lambda ops, x, h, w: ops.tanh(3.0), r"ops\.tanh takes values of the step, not float"),
    (lambda ops, x, h, w: ops.add(1, 2), r"ops\.add takes values of the step, not int"),
    (lambda ops, x, h, w: ops.activate("tahn", x), "tahn"),
    (lambda ops, x, h, w: x[0], "rows are taken of weights"),
    (lambda ops, x, h, w: x[:, 0], "rows are taken of weights"),
    (lambda ops, x, h, w: x * w["v"][2], "rows are taken of weights"),
    (lambda ops, x, h, w: list(x), "rows are taken of weights"),
    (lambda ops, x, h, w: x @ 2, "the right side of @ is a weight of two axes"),
    (lambda ops, x, h, w: x @ h, "the right side of @ is a weight of two axes"),
    (lambda ops, x, h, w: x @ w["v"], "length 4 in x and 2 in other"),
    (lambda ops, x, h, w: ops.split(x, 3), "4 entries do not make 3 equal parts"),
    (lambda ops, x, h, w: ops.split(x, 0), "do not make 0"),
    (lambda ops, x, h, w: ops.split(x, [1, 2]), r"parts of \[1, 2\] do not add up to 4"),
    (lambda ops, x, h, w: ops.split(x, [5, -1]), "expected a number of parts"),
    (lambda ops, x, h, w: ops.split(x, 1.5), "expected a number of parts"),
    (lambda ops, x, h, w: ops.split(x, 2, axis=0), "axis 0 is not one of the axes"),
    (lambda ops, x, h, w: ops.concatenate([]), "takes a list of values"),
    (lambda ops, x, h, w: ops.concatenate(x), "takes a list of values"),
    (lambda ops, x, h, w: ops.concatenate([x, 1.0]), "not float"),
    (lambda ops, x, h, w: ops.concatenate([x, w["w"]]), "has no batch axis"),
    (lambda ops, x, h, w: ops.sum(x, axis=0), "axis 0 is not one of the axes"),
    (lambda ops, x, h, w: ops.sum(x, axis=2), "axis 2 is not one of the axes"),
    (lambda ops, x, h, w: ops.where(x, x, h), "holds float; expected bool"),
    (lambda ops, x, h, w: ops.where(x < h, 1, 2), r"ops\.where takes values of the step, not int"),
    (lambda ops, x, h, w: ops.einsum(5, x, h), "expected a string"),
    (lambda ops, x, h, w: ops.einsum("bi,ci->bc", x, h), "the batch axis comes first"),
    (lambda ops, x, h, w: ops.einsum("bi,bj->ij", x, h), "the batch axis comes first"),
    (lambda ops, x, h, w: ops.einsum("bi,bu->bu", x, w["w"]), "the batch axis comes first"),
    (lambda ops, x, h, w: ops.einsum("bi,bi->", x, h), "the batch axis comes first"),
    (lambda ops, x, h, w: x + ops.einsum("bi,bj->bij", x, h), "needs as many axes"),
    (lambda ops, x, h, w: ops.einsum("bi,iu->bu", x, w["w"]) + w["w"], "needs as many axes"),
    (lambda ops, x, h, w: ops.where(x < h, x, w["v"][0] + w["v"]), "needs as many axes"),
    (lambda ops, x, h, w: w["v"], "has no batch axis"),
    (lambda ops, x, h, w: x < h, "its output .* holds bool"),
    (lambda ops, x, h, w: 1.0, "made of what it was given"),
]  # fmt: skip


@pytest.mark.parametrize(("say", "told"), WRONG)
def test_a_step_that_cannot_be_names_the_layer(say: Say, told: str) -> None:
    with pytest.raises(SpecError, match=rf"RNN 'runs'.*{told}"):
        RNN(saying(say)(), name="runs")(Input((None, 4)))


Steps = Callable[[Any, Any], Any]
RETURNS: list[tuple[Steps, str]] = [
    (lambda x, h: x, r"it returned <float \(None, 4\)"),
    (lambda x, h: None, "it returned None"),
    (lambda x, h: (x,), r"it returned \(<"),
    (lambda x, h: (x, [h], h), r"it returned \(<"),
    (lambda x, h: (x, []), r"states of shapes \[\]; expected \[\(4,\)\]"),
    (lambda x, h: (x, [h, h]), r"states of shapes \[\(None, 4\), \(None, 4\)\]; expected \[\(4,\)\]"),
    (lambda x, h: (x, [None]), "made of what it was given"),
    (lambda x, h: (x, [h < 0]), "it returned states"),
    (lambda x, h: (x, "ab"), "made of what it was given"),
]


@pytest.mark.parametrize(("made", "told"), RETURNS)
def test_a_step_that_returns_something_else(made: Steps, told: str) -> None:
    cell = saying(None, "Returning", step=lambda self, ops, inputs, states, w: made(inputs, states[0]))
    with pytest.raises(SpecError, match=rf"RNN 'runs': Returning: step must return .*{told}"):
        RNN(cell(), name="runs")(Input((None, 4)))


def test_a_state_alone_need_not_be_a_list() -> None:
    cell = saying(None, "Alone", step=lambda self, ops, inputs, states, w: (inputs, inputs + states[0]))
    assert RNN(cell(), return_state=True)(X.astype(np.float32))[1].shape == (3, 4)


@pytest.mark.parametrize(
    "declared", [None, [1], {"k": (4, 2)}, {"k": Weight(4)}, {"a/b": Weight((4,))}, {5: Weight((4,))}]
)
def test_declare_gives_weights_by_name(declared: Any) -> None:
    cell = saying(None, "Declaring", declare=lambda self, features: declared)
    with pytest.raises(SpecError, match=r"RNN 'runs': Declaring: declare must give a Weight"):
        RNN(cell(), name="runs")(Input((None, 4)))


@pytest.mark.parametrize(
    ("weight", "told"),
    [(Weight((4.0,)), "tuple of integers"), (Weight((0,)), "positive"), (Weight((4,), "nope"), "initializer 'nope'")],
)
def test_weights_that_cannot_be(weight: Weight, told: str) -> None:
    cell = saying(None, "Declaring", declare=lambda self, features: {"w": weight})
    with pytest.raises(SpecError, match=rf"RNN 'runs'.*{told}"):
        RNN(cell(), name="runs")(Input((None, 4)))


@pytest.mark.parametrize("size", [None, 0, -2, 1.5, "4", [], [2, 0], [[2], 3], True])
def test_state_sizes_that_cannot_be(size: Any) -> None:
    with pytest.raises(SpecError, match=r"RNN 'runs': Sized: state_size is .*expected a positive integer"):
        RNN(saying(None, "Sized", state_size=size)(), name="runs")(Input((None, 4)))


def test_inputs_that_no_step_takes() -> None:
    with pytest.raises(SpecError, match=r"RNN 'runs'.*\(batch, \.\.\., features\)"):
        RNN(Leaky(2), name="runs")(Input((4,), dtype="int32"))
    with pytest.raises(SpecError, match=r"RNN 'runs'"):
        RNN(Leaky(2), name="runs")(Input((None, None)))
    rnn = RNN(Leaky(2), name="runs")
    rnn(Input((None, 4)))
    with pytest.raises(SpecError, match=r"was built for .* cannot also take"):
        rnn(Input((None, 5)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: RNN(LSTMCell), r"RNN: cell is <class .*LSTMCell'>; expected a cell, or a list of cells"),
        (lambda: RNN("LSTMCell"), "RNN: cell is 'LSTMCell'"),
        (lambda: RNN(Dense(2)), r"RNN: cell is Dense\(units=2\); expected a Cell"),
        (lambda: RNN(LSTM(2)), "expected a Cell"),
        (lambda: RNN([]), "expected one or more cells"),
        (lambda: RNN([LSTMCell(2), LSTMCell]), "expected a list of layers"),
        (lambda: RNN([LSTMCell(2), Dense(2)]), "expected one or more cells"),
        (lambda: RNN([cell := LSTMCell(2), cell]), "one cell stands twice"),
        (lambda: Sequential([Input((None, 4)), LSTMCell(2)]), "given states"),
        (lambda: Sequential([Input((None, 4)), RNN(LSTMCell(2), stateful=True, name="it")]), "fixed batch size"),
    ],
)
def test_what_is_no_cell(make: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()


def test_cells_and_their_layer_compute_in_one_dtype() -> None:
    x = X.astype(np.float64)
    assert RNN(Leaky(2, dtype="float64"))(x).dtype == np.float64
    rnn = RNN([Leaky(2), LSTMCell(2)], dtype="float64")
    assert rnn(x).dtype == np.float64 and rnn.cell.cells[0].dtype == "float64"
    built = Leaky(2)
    built(X[:, 0].astype(np.float32), [np.zeros((3, 2), np.float32)])
    with pytest.raises(SpecError, match="have dtypes"):
        RNN(built, dtype="float64")


def test_two_layers_may_run_one_cell() -> None:
    cell, x = Leaky(2), Input((None, 4))
    outputs = [RNN(cell, return_sequences=True)(x), RNN(cell, go_backwards=True, return_sequences=True)(x)]
    model = filled(Model(x, outputs))
    assert len(model.get_weights()) == 3
    forward, backward = model.predict(X.astype(np.float32))
    np.testing.assert_allclose(forward, leaky(X, model.get_weights(), 0.25), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(backward, leaky(X[:, ::-1], model.get_weights(), 0.25), rtol=1e-4, atol=1e-5)
