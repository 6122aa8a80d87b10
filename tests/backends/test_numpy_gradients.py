"""NumPy's backward of each op and option against central differences; the reverse sweep over whole programs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from lstmcore_numpy.backend import NumpyBackend
from numpy.typing import NDArray

from lstmcore import activations, ops
from lstmcore.activations import Function, function
from lstmcore.contract import Choice, choose
from lstmcore.program import Builder, Node, Program

Array = NDArray[Any]
STEP = 4e-6
LIMIT = 1e-7  # of the largest entry of a gradient


def draw(*shape: int, seed: int = 0) -> Array:
    """Numbers without symmetry, of both signs, that float32 holds exactly."""
    return np.random.default_rng([seed, *shape]).normal(0.1, 0.8, shape).astype(np.float32).astype(float)


def apart(*shape: int, seed: int = 0) -> Array:
    """Numbers of both signs, all different by more than a step of the differences, and none near 0."""
    count = int(np.prod(shape))
    numbers = np.random.default_rng([seed, *shape]).permutation(count) - count // 2
    return np.asarray((numbers + 0.5) / 8, np.float32).astype(float).reshape(shape)


def bools(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).random(shape) < 0.6


@dataclass(frozen=True)
class Case:
    """An op with its inputs; weights that are not to be drawn."""

    op: ops.Op
    inputs: tuple[Array | None, ...]
    given: Mapping[str, Array] = field(default_factory=dict)
    whole: float = 0.5  # the size of the weights

    def __str__(self) -> str:
        shapes = ", ".join("-" if x is None else "x".join(map(str, x.shape)) or "()" for x in self.inputs)
        return f"{self.op}({shapes})"

    def weights(self) -> dict[str, Array]:
        kinds: dict[str, ops.Kind] = {"f": "float", "i": "int", "b": "bool"}
        tensors = [None if x is None else ops.Tensor(x.shape, kinds[x.dtype.kind]) for x in self.inputs]
        shapes = self.op.inventory(*tensors)
        return {p: self.given.get(p, self.whole * draw(*s, seed=3 + k)) for k, (p, s) in enumerate(shapes.items())}


def chosen(op: ops.Op) -> Choice:
    (kernel,) = NumpyBackend.kernels[type(op)]
    body = getattr(op, "body", None)
    inner = () if body is None else choose(NumpyBackend(), body, "float64")
    return Choice(Node("node", op, (), ()), kernel, body=inner, backend="numpy")


def frozen(array: Any) -> Any:
    """What a kernel may read but not write."""
    if array is not None:
        array = np.array(array)
        array.setflags(write=False)
    return array


def directions(outputs: Sequence[Array]) -> list[Array]:
    return [frozen(draw(*y.shape, seed=50 + k).astype(y.dtype)) for k, y in enumerate(outputs)]


def differences(total: Callable[[], float], array: Array) -> Array:
    """d total / d array, entry by entry; the array is what ``total`` reads."""
    found = np.zeros_like(array)
    for at in np.ndindex(array.shape):
        kept, ends = array[at], []
        for step in (-STEP, STEP):
            array[at] = kept + step
            ends.append((array[at], total()))
        array[at] = kept
        found[at] = (ends[1][1] - ends[0][1]) / (ends[1][0] - ends[0][0])
    return found


def close(found: Array, expected: Array, limit: float, what: str) -> None:
    assert found.shape == expected.shape, f"{what} has shape {found.shape}; expected {expected.shape}"
    scale = max(np.abs(expected).max(initial=0.0), 1e-3)
    error = np.abs(found - expected).max(initial=0.0) / scale
    assert error <= limit, f"{what} is off by {error:.1e} of its largest entry"


def weighed(outputs: Sequence[Array], given: Sequence[Array | None]) -> float:
    return float(sum(np.sum(y * d) for y, d in zip(outputs, given, strict=True) if d is not None))


def same(a: Any, b: Any) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def check(case: Case, limit: float = LIMIT) -> None:
    """All that a ``pull`` promises."""
    op, choice = case.op, chosen(case.op)
    weights = {port: frozen(array) for port, array in case.weights().items()}
    inputs = [frozen(x) for x in case.inputs]
    outputs, vjp = choice.pull(op, weights, *inputs)
    for y, expected in zip(outputs, choice.run(op, weights, *inputs), strict=True):
        assert np.array_equal(y, expected) and y.dtype == expected.dtype
    outputs = tuple(map(frozen, outputs))
    given = directions(outputs)
    found, dinputs = vjp(*given)
    assert all(itertools.starmap(same, zip(dinputs, vjp(*given)[1], strict=True))), "a second call gives something else"
    assert set(found) == {port for port in weights if not port.startswith("moving")}
    assert len(dinputs) == len(inputs)
    check_numbers(case, found, dinputs, given, limit)
    check_single(case, found, dinputs)
    if len(outputs) > 1:
        check_each_output(vjp, given, found, dinputs)


def check_numbers(
    case: Case, found: Mapping[str, Array], dinputs: Sequence[Any], given: Sequence[Array], limit: float
) -> None:
    """Against central differences; None is zero."""
    choice = chosen(case.op)
    weights = {port: np.array(array) for port, array in case.weights().items()}
    inputs = [None if x is None else np.array(x) for x in case.inputs]

    def total() -> float:
        return weighed(choice.run(case.op, weights, *inputs), given)

    for port in found:
        assert isinstance(found[port], np.ndarray)
        close(found[port], differences(total, weights[port]), limit, f"the gradient of {port}")
    for port, x, dx in zip((*case.op.inputs, *case.op.optional), inputs, dinputs, strict=True):
        if x is None or x.dtype.kind != "f":
            assert dx is None
            continue
        expected = differences(total, x)
        close(np.zeros_like(x) if dx is None else dx, expected, limit, f"the gradient of {port}")


def check_single(case: Case, found: Mapping[str, Array], dinputs: Sequence[Any]) -> None:
    """float32 stays float32, and agrees."""

    def low(x: Array | None) -> Any:
        return frozen(x.astype(np.float32) if x is not None and x.dtype.kind == "f" else x)

    weights = {port: low(array) for port, array in case.weights().items()}
    outputs, vjp = chosen(case.op).pull(case.op, weights, *map(low, case.inputs))
    found32, dinputs32 = vjp(*map(low, directions(outputs)))
    pairs = [(found32[port], found[port]) for port in found]
    pairs += [(a, b) for a, b in zip(dinputs32, dinputs, strict=True) if b is not None]
    for single, double in pairs:
        assert single.dtype == np.float32
        close(single.astype(float), double, 1e-5, "a gradient in float32")


def check_each_output(vjp: Any, given: Sequence[Any], found: Mapping[str, Array], dinputs: Sequence[Any]) -> None:
    """The gradients are the sum of those of each output, the others unused."""
    parts = [vjp(*(d if k == only else None for k, d in enumerate(given))) for only in range(len(given))]
    for port, expected in found.items():
        total = sum(part[0].get(port, 0) for part in parts)
        close(np.asarray(total), expected, 1e-12, f"the gradient of {port}, output by output,")
    for k, expected in enumerate(dinputs):
        if expected is not None:
            total = sum((0 if part[1][k] is None else part[1][k]) for part in parts)
            close(np.asarray(total), expected, 1e-12, f"the gradient of input {k}, output by output,")


# --- activations ----------------------------------------------------------------------------------

FUNCTIONS = [
    *(Function(name) for name in sorted(activations.PARAMETERS) if name not in ("threshold", "glu")),
    function("threshold", threshold=0.3, default_value=-1.5),
    function("celu", alpha=1.5),
    function("elu", alpha=0.5),
    function("gelu", approximate=True),
    function("hard_shrink", threshold=0.2),
    function("leaky_relu", negative_slope=0.1),
    function("relu", negative_slope=0.1),
    function("relu", max_value=1.0),
    function("relu", threshold=0.3),
    function("relu", negative_slope=0.1, max_value=1.0, threshold=0.3),
    function("soft_shrink", threshold=0.2),
    function("squareplus", b=2.0),
]
ALONG = [function(name, axis=1) for name in ("softmax", "log_softmax", "sparsemax", "glu")] + [Function("glu")]


@pytest.mark.parametrize("f", FUNCTIONS + ALONG, ids=str)
def test_activate(f: Function) -> None:
    check(Case(ops.Activate(f), (2 * draw(3, 4, 6),)))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "gelu", "softplus", "linear"])
def test_a_function_of_a_scalar(name: str) -> None:
    check(Case(ops.Activate(Function(name)), (np.array(0.75),)))


# Keras on TensorFlow under tf.GradientTape, measured; but for celu and relu(max_value=6), see `functions`.
KINKS: list[tuple[Function, list[float], list[float]]] = [
    (Function("celu"), [0.0], [1.0]),
    (Function("elu"), [0.0], [1.0]),
    (function("elu", alpha=0.5), [0.0], [0.5]),
    (Function("gelu"), [0.0], [0.5]),
    (Function("hard_shrink"), [-0.5, 0.5], [0, 0]),
    (Function("hard_sigmoid"), [-3, 3], [0, 0]),
    (Function("hard_sigmoid_0_2"), [-2.5, 2.5], [0.2, 0.2]),
    (Function("hard_silu"), [-3, 3], [0, 1]),
    (Function("hard_tanh"), [-1, 1], [1, 1]),
    (Function("leaky_relu"), [0.0], [0.2]),
    (Function("relu"), [0.0], [0.0]),
    (function("relu", negative_slope=0.1), [0.0], [0.1]),
    (function("relu", max_value=2.0), [0.0, 2.0, 3.0], [0, 1, 0]),
    (function("relu", max_value=6.0), [0.0, 6.0, 7.0], [0, 1, 0]),
    (function("relu", threshold=0.5), [0.0, 0.5], [0, 0]),
    (Function("relu6"), [0.0, 6.0], [0, 0]),
    (Function("selu"), [0.0], [1.0507009873554805]),
    (Function("soft_shrink"), [-0.5, 0.5], [0, 0]),
    (Function("softsign"), [0.0], [1.0]),
    (Function("sparse_plus"), [-1, 1], [0, 1]),
    (Function("sparse_sigmoid"), [-1, 1], [0, 0]),
    (function("threshold", threshold=0.5, default_value=-1.0), [0.5], [0]),
]


@pytest.mark.parametrize(("f", "x", "expected"), KINKS, ids=lambda v: str(v))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_kink(f: Function, x: list[float], expected: list[float], dtype: str) -> None:
    _, vjp = chosen(ops.Activate(f)).pull(ops.Activate(f), {}, np.array(x, dtype))
    np.testing.assert_allclose(vjp(np.ones(len(x), dtype))[1][0], expected, rtol=1e-6)


def test_saturated_functions_have_no_nan() -> None:
    x = np.array([-1e3, -90.0, 90.0, 1e3])
    for f in FUNCTIONS:
        with np.errstate(over="ignore"):
            _, vjp = chosen(ops.Activate(f)).pull(ops.Activate(f), {}, x)
            (dx,) = vjp(np.array([0.5, 1.0, -2.0, 3.0]))[1]
        assert np.isfinite(dx).all() or f.name == "exponential", f


# --- pointwise ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["abs", "cos", "exp", "log", "negative", "reciprocal", "rsqrt", "sin", "sqrt", "square"]
)
@pytest.mark.parametrize("shape", [(3, 4), ()], ids=str)
def test_unary(name: str, shape: tuple[int, ...]) -> None:
    x = np.asarray(np.abs(draw(*shape)) + 0.5)
    check(Case(ops.Unary(name), (x if name in ("log", "rsqrt", "sqrt") else np.asarray(x * np.where(x > 1, 1, -1)),)))


PAIRS = [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((3, 1), (2, 1, 4)), ((2, 1, 4), (2, 3, 1)), ((2, 3), ()), ((), ())]


@pytest.mark.parametrize("name", ["add", "divide", "maximum", "minimum", "multiply", "power", "subtract"])
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
def test_binary(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, other = apart(*shapes[0]), apart(*shapes[1], seed=1) + 0.03
    if name == "power":
        x = np.abs(x) + 0.5
    if name == "divide":
        other = other + np.sign(other)
    check(Case(ops.Binary(name), (np.asarray(x), np.asarray(other))))


def gradients(op: ops.Op, *inputs: Array, dy: Any = 1.0) -> tuple[Any, ...]:
    (y,), vjp = chosen(op).pull(op, {}, *inputs)
    return tuple(d.tolist() for d in vjp(np.full_like(y, dy))[1])


def test_ties_and_edges() -> None:
    """As TensorFlow has them (measured), but for 0 ** 0, whose slope is NaN there."""
    one = np.array([1.0])
    assert gradients(ops.Binary("maximum"), one, one) == ([1.0], [0.0])
    assert gradients(ops.Binary("minimum"), one, one) == ([1.0], [0.0])
    assert gradients(ops.Unary("abs"), np.zeros(1)) == ([0.0],)
    x, other = np.array([0.0, 0.0, 0.0, -2.0, -2.0]), np.array([0.0, 2.0, 1.0, 3.0, 2.0])
    assert gradients(ops.Binary("power"), x, other) == ([0.0, 0.0, 1.0, 12.0, -4.0], [0.0] * 5)


def test_what_has_no_gradient() -> None:
    x, flags = draw(2, 3), bools(2, 3)
    for op, inputs in (
        (ops.NotEqual(), (x,)),
        (ops.Cast(), (flags, x)),
        (ops.Causal(), (x,)),
        (ops.Constant((1.0, 2.0), (2,)), (x,)),
        (ops.Zeros((4,)), (x,)),
        (ops.OneHot(3), (np.array([1, 2], np.int32), x)),
        (ops.Unary("not"), (flags,)),
        (ops.Binary("less"), (x, x)),
        (ops.Binary("and"), (flags, flags)),
        (ops.Reduce("any", (1,)), (flags,)),
    ):
        outputs, vjp = chosen(op).pull(op, {}, *map(frozen, inputs))
        assert all(map(np.array_equal, outputs, chosen(op).run(op, {}, *inputs)))
        assert vjp(np.ones(outputs[0].shape)) == ({}, (None,) * len(inputs)), op


@pytest.mark.parametrize("shapes", [((2, 3, 1), (3, 4), (2, 1, 4)), ((2, 3), (2, 3), (2, 3)), ((2, 3), (), (3,))])
def test_select(shapes: tuple[tuple[int, ...], ...]) -> None:
    condition, x, other = bools(*shapes[0]), draw(*shapes[1]), draw(*shapes[2], seed=1)
    check(Case(ops.Select(), (condition, np.asarray(x), np.asarray(other))))


def test_select_is_deaf_to_what_it_did_not_select() -> None:
    condition, nan = np.array([True, False]), np.array([np.nan, 1.0])
    _, vjp = chosen(ops.Select()).pull(ops.Select(), {}, condition, nan[::-1], nan)
    assert [d.tolist() for d in vjp(np.array([2.0, np.nan]))[1][1:]] == [
        [2.0, 0.0],
        pytest.approx([0, np.nan], nan_ok=True),
    ]


# --- linear, values, shape, reduce, normalize -----------------------------------------------------

EQUATIONS = (
    *("bij,bjk->bik", "bij,bkj->bik", "bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd", "bij,jk->bik", "bi,jk->kbij"),
    *("bij,bij->b", "bij,bij->bij", "bij,bij->", "bij,bjk->kb", "bij,jik->bk", "bijx,bjz->ib", "bix,zy->i"),
    *("bix,zy->", "BaC,Cb->CaB", "b,b->b", "b,a->", "abc,dc->dab"),
)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation: str) -> None:
    op = ops.Einsum(equation)
    lengths = {letter: 2 + k % 3 for k, letter in enumerate(sorted(set("".join(op.terms))))}
    x, other = (draw(*(lengths[c] for c in term), seed=k) for k, term in enumerate(op.terms[:2]))
    check(Case(op, (x, other)))


CONVS = [
    dict(zip(("size", "strides", "dilation", "groups"), numbers, strict=True))
    for numbers in [(1, 1, 1, 1), (3, 1, 1, 1), (4, 2, 1, 1), (3, 1, 2, 2), (2, 3, 3, 1), (3, 2, 2, 4), (2, 4, 1, 2)]
]


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("options", CONVS, ids=str)
@pytest.mark.parametrize(("time", "use_bias"), [(9, True), (8, False)])
def test_conv(padding: str, options: dict[str, int], time: int, use_bias: bool) -> None:
    x = draw(2, 4, time).transpose(0, 2, 1)  # not contiguous
    check(Case(ops.Conv(8, padding=padding, use_bias=use_bias, **options), (x,)))


OTHERS = [
    Case(ops.Affine(5), (draw(2, 3, 4),)),
    Case(ops.Affine(5, use_bias=False), (draw(3, 4),)),
    Case(ops.Embed(6, 3), (np.array([[4, 0, 1], [1, 1, 4]], np.int32),)),
    Case(ops.Embed(6, 3), (np.array([5, 0, 5], np.int32),)),
    Case(ops.Parameter((2, 3)), ()),
    Case(ops.Parameter(()), ()),
    Case(ops.Reshape((2, -1)), (draw(2, 3, 4),)),
    Case(ops.Transpose((0, 3, 1, 2)), (draw(2, 3, 4, 5),)),
    Case(ops.Reverse(), (draw(2, 3, 4),)),
    Case(ops.Last(), (draw(2, 3, 4),)),
    Case(ops.Concat(1, 3), tuple(draw(2, n, 3) for n in (1, 4, 2))),
    Case(ops.Concat(2, 1), (draw(2, 3, 4),)),
    *(Case(ops.Slice(2, *ends), (draw(2, 3, 6),)) for ends in ((0, None), (2, 5), (-3, None), (-99, -1), (1, 99))),
    *(Case(ops.Pad(1, *ends), (draw(2, 3, 4),)) for ends in ((0, 0), (2, 0), (1, 3))),
    Case(ops.Repeat(1, 3), (draw(2, 3, 2),)),
    Case(ops.Repeat(2, 2), (draw(2, 3, 2),)),
    Case(ops.Fold(), (draw(2, 3, 4),)),
    Case(ops.Unfold(), (draw(6, 4), bools(2, 3))),
    Case(ops.Unfold(), (draw(6, 4), draw(2, 3, 5))),
    *(Case(ops.Total(name), (draw(*shape),)) for name in ("sum", "mean") for shape in ((2, 3, 4), (3,))),
    *(Case(ops.Total(name, kept), (draw(2, 3, 4),)) for name in ("sum", "mean") for kept in (1, 2, 3)),
    *(
        Case(ops.Reduce(name, axes, keepdims), (apart(2, 3, 4, 2),))
        for name in ("sum", "mean", "max", "min")
        for axes in ((1,), (3,), (2, 1), (1, 2, 3))
        for keepdims in (False, True)
    ),
    *(
        Case(ops.Pool(name, size, strides, padding), (apart(2, time, 3),))
        for name in ("max", "mean")
        for padding in ("valid", "same")
        for size, strides in ((1, 1), (2, 2), (3, 1), (4, 3), (3, 5), (7, 7))
        for time in (7, 10)
    ),
    *(
        Case(ops.BatchNormalize(0.02, center, scale), (draw(*shape),), {"moving_variance": np.abs(draw(4)) + 0.25})
        for center, scale in itertools.product([True, False], repeat=2)
        for shape in ((3, 4), (2, 3, 4))
    ),
    *(
        Case(ops.LayerNormalize(axes, 0.02, center, scale), (draw(2, 3, 4, 2),))
        for center, scale in itertools.product([True, False], repeat=2)
        for axes in ((3,), (1,), (1, 3), (1, 2, 3))
    ),
]


@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_op(case: Case) -> None:
    check(case)


def test_equal_maxima() -> None:
    """A reduction shares evenly, a pool gives all to the first (TensorFlow, measured)."""
    x = np.array([[1.0, 3.0, 3.0, 2.0, 3.0]])
    assert gradients(ops.Reduce("max", (1,)), x, dy=3.0) == ([[0, 1, 1, 0, 1]],)
    assert gradients(ops.Reduce("min", (1,)), -x, dy=3.0) == ([[0, 1, 1, 0, 1]],)
    assert gradients(ops.Pool("max", 3, 2, "valid"), x[..., None]) == ([[[0], [1], [1], [0], [0]]],)


# --- recurrent ------------------------------------------------------------------------------------

B, T, N, U = 5, 6, 3, 4
MASKS: dict[str, Array | None] = {
    "none": None,
    "right": np.arange(T) < np.array([[6], [4], [1], [5], [2]]),
    "left": np.arange(T) >= np.array([[0], [2], [5], [1], [3]]),
    "holes": np.array([[1, 0, 1, 0, 0, 1], [0, 1, 1, 0, 1, 0], [1] * 6, [1, 1, 0, 0, 1, 1], [0, 0, 1, 0, 1, 1]], bool),
    "first step": np.broadcast_to(np.arange(T) > 0, (B, T)),
    "a whole row": np.array([[1] * 6, [0] * 6, [1, 1, 0, 1, 0, 0], [0] * 6, [0, 1, 1, 1, 1, 1]], bool),
    "everything": np.zeros((B, T), bool),
}
RULES = [
    (name, given, zero)
    for name, given, zero in itertools.product(MASKS, [False, True], [False, True])
    if name != "none" or (given, zero) in ((False, False), (True, False))
]
CELLS: list[Callable[..., ops.Recurrent]] = [
    ops.Lstm,
    lambda *a, **k: ops.Gru(*a, **k),
    lambda *a, **k: ops.Gru(*a, reset_after=False, **k),
    ops.SimpleRnn,
]
NAMES = ["lstm", "gru", "gru reset before", "simple"]


def recurrent(op: ops.Recurrent, mask: Array | None = None, given: bool = False, steps: int = T) -> Case:
    """Of a few steps where the functions are not bounded: such a recurrence soon overflows."""
    states = tuple(draw(B, U, seed=20 + k) for k in range(len(op.states)))
    x, mask = draw(B, T, N, seed=1)[:, :steps], None if mask is None else mask[:, :steps]
    return Case(op, (x, *states, mask, draw(B, U, seed=9) if given else None))


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
@pytest.mark.parametrize(("mask", "given", "zero"), RULES)
def test_recurrent_masks(cell: Callable[..., ops.Recurrent], mask: str, given: bool, zero: bool) -> None:
    check(recurrent(cell(U, zero_output_for_mask=zero), MASKS[mask], given))


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("f", [f for f in FUNCTIONS if f.name != "exponential"], ids=str)
def test_recurrent_activations(cell: Callable[..., ops.Recurrent], use_bias: bool, f: Function) -> None:
    check(recurrent(cell(U, f, use_bias), MASKS["holes"], steps=3))


@pytest.mark.parametrize("cell", CELLS[:3], ids=NAMES[:3])
@pytest.mark.parametrize("activation", ["tanh", "softmax"])
@pytest.mark.parametrize("f", [f for f in FUNCTIONS if f.name != "exponential"], ids=str)
def test_recurrent_activations_of_gates(cell: Callable[..., ops.Recurrent], activation: str, f: Function) -> None:
    check(recurrent(cell(U, Function(activation), recurrent_activation=f), steps=3))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax"])
@pytest.mark.parametrize("cell", CELLS[:3], ids=NAMES[:3])
def test_axis_1_of_a_gate_is_its_units(cell: Callable[..., ops.Recurrent], name: str) -> None:
    last, first = (cell(U, recurrent_activation=f) for f in (Function(name), function(name, axis=1)))
    inputs, weights = recurrent(last).inputs, recurrent(last).weights()
    for y, other in zip(
        chosen(last).run(last, weights, *inputs), chosen(first).run(first, weights, *inputs), strict=True
    ):
        assert np.array_equal(y, other)
    check(recurrent(first))


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
def test_one_step_and_one_sample(cell: Callable[..., ops.Recurrent]) -> None:
    op = cell(U)
    states = tuple(draw(1, U, seed=20 + k) for k in range(len(op.states)))
    check(Case(op, (draw(1, 1, N), *states, None, None)))


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
def test_a_nan_at_a_masked_step_reaches_no_gradient(cell: Callable[..., ops.Recurrent]) -> None:
    op, mask = cell(U), MASKS["holes"]
    case = recurrent(op, mask)
    spoiled = Case(op, (np.where(mask[:, :, None], case.inputs[0], np.nan), *case.inputs[1:]))
    results = []
    for one in (case, spoiled):
        outputs, vjp = chosen(op).pull(op, one.weights(), *one.inputs)
        found, dinputs = vjp(*directions(outputs))
        results.append([*outputs, *found.values(), *(d for d in dinputs if d is not None)])
    assert all(map(np.array_equal, *results))


def cell_program() -> Program:
    """A cell with two states of different shapes, one that it does not change, and an output that is none of them.

    ::

        a' = tanh(x W + a)    n' = n * gain + sum(x)    k' = k    y = (a' * n', gain * k)
    """
    build = Builder()
    x, a = build.input("x", (None, N)), build.input("a", (None, U))
    n, k = build.input("n", (None, 1)), build.input("k", (None, U))
    with build.scope("deep/affine"):
        (z,) = build.op(ops.Affine(U, use_bias=False), x)
    (gain,) = build.op(ops.Parameter(()))
    (z,) = build.op(ops.Binary("add"), z, a)
    (after_a,) = build.op(ops.Activate(Function("tanh")), z)
    (total,) = build.op(ops.Reduce("sum", (1,), keepdims=True), x)
    (after_n,) = build.op(ops.Binary("multiply"), n, gain)
    (after_n,) = build.op(ops.Binary("add"), after_n, total)
    (y,) = build.op(ops.Binary("multiply"), after_a, after_n)
    (kept,) = build.op(ops.Binary("multiply"), gain, k)
    (y,) = build.op(ops.Concat(1, 2), y, kept)
    return build.finish((y.name, after_a.name, after_n.name, k.name))


@pytest.mark.parametrize(("mask", "given", "zero"), RULES)
def test_scan(mask: str, given: bool, zero: bool) -> None:
    op = ops.Scan(cell_program(), zero_output_for_mask=zero)
    states = draw(B, U, seed=1), draw(B, 1, seed=2), draw(B, U, seed=3)
    check(Case(op, (draw(B, T, N), *states, MASKS[mask], draw(B, 2 * U, seed=9) if given else None)))


def test_scan_of_a_value_that_is_two_outputs_and_over_ids() -> None:
    build = Builder()
    ids, h = build.input("x", (None,), "int"), build.input("h", (None, U))
    (x,) = build.op(ops.Embed(5, U), ids)
    (z,) = build.op(ops.Binary("multiply"), x, h)
    (after,) = build.op(ops.Activate(Function("tanh")), z)
    op = ops.Scan(build.finish((after.name, after.name)))
    check(Case(op, (np.arange(B * T, dtype=np.int32).reshape(B, T) % 5, draw(B, U), MASKS["holes"], None)))


def test_a_nan_at_a_masked_step_reaches_no_gradient_through_a_body() -> None:
    op, mask = ops.Scan(cell_program()), MASKS["holes"]
    case = Case(op, (draw(B, T, N), draw(B, U), draw(B, 1), draw(B, U), mask, None))
    x = np.where(mask[:, :, None], case.inputs[0], np.nan)
    outputs, vjp = chosen(op).pull(op, case.weights(), x, *case.inputs[1:])
    found, dinputs = vjp(*directions(outputs))
    assert all(np.isfinite(d).all() for d in (*outputs, *found.values(), *dinputs) if d is not None)


def test_every_kernel_has_a_backward() -> None:
    assert not [op.__name__ for op, rows in NumpyBackend.kernels.items() for kernel in rows if kernel.pull is None]
