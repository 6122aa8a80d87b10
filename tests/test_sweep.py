"""The reverse sweep: how it sums, what it skips; whole programs against differences and the engines' own gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from lstmcore import layers, ops, plugins, sweep
from lstmcore.activations import Function
from lstmcore.contract import Backend, Kernel, choose, pulls
from lstmcore.errors import SpecError, UnsupportedOp
from lstmcore.layers import GRU, LSTM, Bidirectional, Cell, Conv1D, Dense, Embedding, Input, MaxPooling1D
from lstmcore.layers.cells import Weight
from lstmcore.models import Model, Sequential
from lstmcore.program import Builder, Program, interpret

Arrays = dict[str, np.ndarray[Any, Any]]
NUMPY = plugins.load("numpy")()
BATCH = 3


def draw(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, *shape]).normal(0.05, 0.6, shape)


# --- how it goes back -----------------------------------------------------------------------------


def chain(*names: str, shape: tuple[int, ...] = (None, 3)) -> tuple[Program, list[Any]]:
    """x + x, times a weight; and what nothing uses. Its pulls, and what each vjp was given."""
    build = Builder()
    x = build.input("x", shape)
    (w,) = build.op(ops.Parameter(shape[1:]), name="w", weights={"value": "w"})
    (double,) = build.op(ops.Binary("add"), x, x, name="double")
    (again,) = build.op(ops.Binary("multiply"), double, w, name="again")
    (y,) = build.op(ops.Binary("add"), again, x, name="y")
    build.op(ops.Unary("exp"), again, name="unused")
    program = build.finish((y.name, double.name))
    return program, [chosen.pull for chosen in choose(NUMPY, program, "float64")]


def test_on_paper() -> None:
    """y = 2 x w + x, so dx = 2 w + 1 and dw = 2 x; the other output, 2 x, adds 2 each."""
    program, ready = chain()
    x, w = np.array([[1.0, -2.0, 3.0]]), np.array([4.0, 5.0, 6.0])
    outputs, carries, vjp = sweep.pull(program, ready, {"w": w}, {"x": x})
    y, double = program.outputs
    assert (
        outputs[y].tolist() == [[9.0, -22.0, 39.0]] and outputs[double].tolist() == [[2.0, -4.0, 6.0]] and not carries
    )
    one = np.ones((1, 3))
    by_weight, by_value = vjp({y: one})
    assert by_weight["w"].tolist() == [2.0, -4.0, 6.0] and by_value["x"].tolist() == [[9.0, 11.0, 13.0]]
    by_weight, by_value = vjp({y: one, double: 10 * one})
    assert by_weight["w"].tolist() == [2.0, -4.0, 6.0] and by_value["x"].tolist() == [[29.0, 31.0, 33.0]]
    assert vjp({double: one}) == ({}, {"x": pytest.approx(2 * one)}), "the weight is not reached"
    assert vjp({}) == vjp({y: None}) == ({}, {})


def test_a_node_that_no_gradient_reaches_is_skipped() -> None:
    program, ready = chain()
    unused = [node.name for node in program.nodes].index("unused")

    def refusing(*args: Any) -> Any:
        outputs, _ = choose(NUMPY, program, "float64")[unused].pull(*args)
        return outputs, lambda *gradients: pytest.fail("it was asked")

    ready[unused] = refusing
    _, _, vjp = sweep.pull(program, ready, {"w": draw(3)}, {"x": draw(1, 3)})
    vjp({program.outputs[0]: np.ones((1, 3))})


def test_it_writes_to_no_array_of_others() -> None:
    program, ready = chain()
    given = {program.outputs[0]: draw(1, 3), program.outputs[1]: draw(1, 3, seed=1), "again.y": draw(1, 3, seed=2)}
    for array in given.values():
        array.setflags(write=False)
    _, _, vjp = sweep.pull(program, ready, {"w": draw(3)}, {"x": draw(1, 3)})
    first = vjp(given)
    second = vjp(given)
    assert first[0]["w"].tolist() == second[0]["w"].tolist() and first[1]["x"].tolist() == second[1]["x"].tolist()


def test_an_unknown_value() -> None:
    program, ready = chain()
    _, _, vjp = sweep.pull(program, ready, {"w": draw(3)}, {"x": draw(1, 3)})
    with pytest.raises(SpecError, match=r"'agian.y', no value of the program. Did you mean 'again.y'"):
        vjp({"agian.y": draw(1, 3)})


def test_gradients_of_a_shared_scalar_stay_arrays() -> None:
    build = Builder()
    x = build.input("x", (None, 2))
    parts = [build.op(ops.Parameter(()), name=f"w{k}", weights={"value": "w"})[0] for k in range(3)]
    for part in parts:
        (x,) = build.op(ops.Binary("multiply"), x, part)
    program = build.finish((x.name,))
    _, _, vjp = sweep.pull(
        program, pulls(choose(NUMPY, program, "float64")), {"w": np.array(2.0)}, {"x": np.ones((1, 2))}
    )
    (dw,) = vjp({x.name: np.ones((1, 2))})[0].values()
    assert isinstance(dw, np.ndarray) and dw.tolist() == 24.0


def test_a_kernel_without_a_backward() -> None:
    class Forward(Backend):
        name = "forward-only"
        kernels: ClassVar[Any] = {op: (Kernel(row[0].name, row[0].run),) for op, row in NUMPY.kernels.items()}

    build = Builder()
    x = build.input("x", (None, 2))
    (y,) = build.op(ops.Activate(Function("tanh")), x, name="squash")
    choices = choose(Forward(), build.finish((y.name,)), "float64")
    with pytest.raises(UnsupportedOp, match=r"'forward-only' cannot differentiate Activate\(.*tanh.*\(node 'squash'\)"):
        pulls(choices)


# --- whole programs -------------------------------------------------------------------------------


class Leaky(Cell):
    """A cell as a user writes it."""

    units: int

    @property
    def state_size(self) -> int:
        return self.units

    def declare(self, features: int) -> dict[str, Weight]:
        return {"kernel": Weight((features, self.units)), "recurrent": Weight((self.units, self.units))}

    def step(self, ops: Any, inputs: Any, states: Any, w: Any) -> Any:
        (h,) = states
        h = 0.8 * h + 0.2 * ops.tanh(inputs @ w["kernel"] + h @ w["recurrent"])
        return h, [h]


def attention() -> Model:
    ids = Input((6,), dtype="int32")
    x = Embedding(9, 4, mask_zero=True)(ids)
    h = LSTM(4, return_sequences=True)(x)
    mixed = layers.MultiHeadAttention(2, 3)(h, x, use_causal_mask=True)
    mixed = layers.LayerNormalization()(layers.Add()([mixed, h]))
    scores = layers.Attention(use_scale=True)([mixed, h])
    return Model(ids, Dense(3, "softmax")(layers.GlobalAveragePooling1D()(scores)))


def shared() -> Model:
    a, b = Input((5, 3)), Input((4, 3))
    one = LSTM(4, activation="softsign", recurrent_activation="gelu", return_state=True)
    (ya, *states), (yb, *_) = one(a), one(b)
    again = GRU(4)(b, initial_state=states[1])
    return Model([a, b], [layers.Concatenate()([ya, yb, again]), layers.Dot(1)([ya, yb])])


MODELS: dict[str, Callable[[], Any]] = {
    "lstm, dense": lambda: Sequential([Input((6, 3)), LSTM(5, return_sequences=True), LSTM(4), Dense(3, "softmax")]),
    "masked, bidirectional": lambda: Sequential(
        [
            Input((6, 3)),
            layers.Masking(),
            Bidirectional(GRU(4, return_sequences=True)),
            Bidirectional(LSTM(3)),
            Dense(2),
        ]
    ),
    "custom cell": lambda: Sequential([Input((5, 3)), layers.Masking(), layers.RNN(Leaky(4)), Dense(2, "gelu")]),
    "convolution, pool": lambda: Sequential(
        [
            Input((12, 3)),
            Conv1D(6, 3, padding="causal", activation="silu", dilation_rate=2),
            layers.BatchNormalization(),
            MaxPooling1D(2),
            Conv1D(4, 3, padding="same", strides=2, groups=2),
            layers.AveragePooling1D(2, strides=1, padding="same"),
            layers.SimpleRNN(4, return_sequences=True, go_backwards=True),
            layers.Flatten(),
            Dense(2, "log_softmax"),
        ]
    ),
    "attention": attention,
    "shared": shared,
    "stateful": lambda: Sequential(
        [
            Input((4, 3), batch_size=BATCH),
            LSTM(4, stateful=True, return_sequences=True),
            GRU(3, stateful=True, reset_after=False),
        ]
    ),
}


class Problem:
    """A program with numbers, and a gradient for everything that it yields."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.weights = {p: draw(*shape, seed=k) for k, (p, shape) in enumerate(program.weights.items())}
        self.weights = {p: np.abs(w) + 0.5 if "variance" in p else w for p, w in self.weights.items()}
        self.values = {name: self.entering(name, 70 + k) for k, name in enumerate(program.entering)}
        outputs, carries = self.run(self.weights, self.values)
        after = {carry.after: carries[carry.name] for carry in program.carries}
        self.given = {name: draw(*y.shape, seed=90 + k) for k, (name, y) in enumerate({**outputs, **after}.items())}

    def entering(self, name: str, seed: int) -> np.ndarray[Any, Any]:
        value = self.program.values[name]
        shape = (BATCH, *(length or 1 for length in value.shape[1:]))
        if value.kind == "int":
            ids = np.random.default_rng(seed).integers(1, 9, shape, dtype=np.int32)
            ids[0, 3:] = ids[1, 1] = 0
            return ids
        x = draw(*shape, seed=seed)
        if name in self.program.inputs:
            x[0, -1] = x[1, 1] = 0  # masked, where there is a Masking
        return x

    def run(self, weights: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
        runs = [choice.run for choice in choose(NUMPY, self.program, "float64")]
        return interpret(self.program, runs, weights, values)

    def total(self, outputs: Mapping[str, Any], carries: Mapping[str, Any], tensor: Callable[[Any], Any]) -> Any:
        """The number whose gradients are asked, of any engine's tensors."""
        made = {**outputs, **{carry.after: carries[carry.name] for carry in self.program.carries}}
        parts = [made[name] * tensor(given) for name, given in self.given.items()]
        return [part.sum() if hasattr(part, "sum") else part for part in parts]

    def floats(self) -> Arrays:
        """All that has a gradient, by name."""
        trained = {p: w for p, w in self.weights.items() if "moving" not in p}
        return trained | {name: x for name, x in self.values.items() if x.dtype.kind == "f"}

    def gradients(self) -> Arrays:
        ready = pulls(choose(NUMPY, self.program, "float64"))
        _, _, vjp = sweep.pull(self.program, ready, self.weights, self.values)
        by_weight, by_value = vjp(self.given)
        return {**by_weight, **by_value}


@pytest.fixture(scope="module", params=MODELS)
def problem(request: pytest.FixtureRequest) -> Problem:
    return Problem(MODELS[request.param]().program)


def close(found: Mapping[str, Any], expected: Mapping[str, Any], limit: float) -> None:
    for name, gradient in expected.items():
        scale = max(np.abs(gradient).max(), 1e-3)
        zero = np.zeros_like(gradient)
        assert np.abs(found.get(name, zero) - gradient).max() <= limit * scale, name


def test_against_differences(problem: Problem) -> None:
    def total() -> float:
        outputs, carries = problem.run(problem.weights, problem.values)
        return float(sum(problem.total(outputs, carries, np.asarray)))

    expected = {}
    for name, array in problem.floats().items():
        expected[name] = np.zeros_like(array)
        masked = array == 0  # a step from there would unmask
        for at in np.argwhere(~masked)[:: max(1, array.size // 12)]:
            kept, ends = array[tuple(at)], []
            for step in (-4e-6, 4e-6):
                array[tuple(at)] = kept + step
                ends.append(total())
            array[tuple(at)] = kept
            expected[name][tuple(at)] = (ends[1] - ends[0]) / 8e-6
    found = problem.gradients()
    assert set(found) >= {name for name, gradient in expected.items() if gradient.any()}
    looked = {name: found[name] * (gradient != 0) for name, gradient in expected.items() if name in found}
    close(looked, expected, 1e-7)


def by_torch(problem: Problem) -> Arrays:
    import torch

    backend = plugins.load("torch")("cpu")
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in problem.floats().items()}
    others = {n: torch.tensor(a) for n, a in {**problem.weights, **problem.values}.items() if n not in leaves}
    known = {**others, **leaves}
    runs = [choice.run for choice in choose(backend, problem.program, "float64", training=True)]
    total = sum(problem.total(*interpret(problem.program, runs, known, known), torch.tensor))
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {name: g.numpy() for name, g in zip(leaves, found, strict=True) if g is not None}


def by_tensorflow(problem: Problem) -> Arrays:
    import tensorflow as tf

    backend = plugins.load("tensorflow")("cpu")
    known = {name: tf.constant(array) for name, array in {**problem.weights, **problem.values}.items()}
    watched = {name: known[name] for name in problem.floats()}
    runs = [choice.run for choice in choose(backend, problem.program, "float64", training=True)]
    with tf.GradientTape() as tape:
        tape.watch(list(watched.values()))
        total = tf.add_n(
            [
                tf.reduce_sum(part)
                for part in problem.total(*interpret(problem.program, runs, known, known), tf.constant)
            ]
        )
    found = tape.gradient(total, watched)
    return {name: tf.convert_to_tensor(g).numpy() for name, g in found.items() if g is not None}


OWN = {"torch": by_torch, "tensorflow": by_tensorflow}
ENGINES = [info.name for info in plugins.backends() if info.status == "available" and info.name in OWN]


@pytest.mark.parametrize("engine", ENGINES)
def test_against_the_gradients_of_an_engine(problem: Problem, engine: str) -> None:
    expected = OWN[engine](problem)
    assert len(expected) > 2
    close(problem.gradients(), expected, 1e-12)
    close(expected, problem.gradients(), 1e-12)
