"""Each NumPy kernel against the op's formula, written again in plain loops over float64 numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from lstmcore_numpy.backend import NumpyBackend
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.activations import Function
from lstmcore.contract import choose
from lstmcore.errors import InputError
from lstmcore.program import Builder, Program

Array = NDArray[Any]
DTYPES = ("float64", "float32")


def draw(*shape: int, seed: int = 0, dtype: str = "float64") -> Array:
    """Numbers without symmetry, of both signs, none near 0."""
    generator = np.random.default_rng([seed, *shape])
    numbers = generator.uniform(0.25, 2.0, shape) * generator.choice([-1.0, 1.0], shape) + 0.125
    return np.asarray(numbers, dtype)


def bools(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).random(shape) < 0.6


def frozen(value: Any) -> Any:
    """What a kernel may read but not write."""
    if value is not None:
        value.setflags(write=False)
    return value


def run(
    op: ops.Op, *inputs: Array | None, weights: Mapping[str, Array] | None = None, **more: Any
) -> tuple[Array, ...]:
    """The kernel, on inputs that it cannot write to; its results' shapes and kinds are those that the op says."""
    weights = {port: frozen(array) for port, array in (weights or {}).items()}
    (kernel,) = NumpyBackend.kernels[type(op)]
    kinds: dict[str, ops.Kind] = {"f": "float", "i": "int", "b": "bool"}
    tensors = [None if x is None else ops.Tensor(x.shape, kinds[x.dtype.kind]) for x in inputs]
    assert {port: array.shape for port, array in weights.items()} == op.inventory(*tensors)
    with np.errstate(all="ignore"):
        outputs = kernel.run(op, weights, *map(frozen, inputs), **more)
    if not isinstance(op, ops.Scan):
        expected = op.infer(*tensors)
        assert [(y.shape, kinds[y.dtype.kind]) for y in outputs] == [(t.shape, t.kind) for t in expected]
    floats = {x.dtype for x in (*inputs, *weights.values()) if x is not None and x.dtype.kind == "f"}
    assert {y.dtype for y in outputs if y.dtype.kind == "f"} <= floats
    return outputs


def check(y: Array, expected: Any) -> None:
    wanted = np.asarray(expected)
    assert y.shape == wanted.shape
    tolerance = 1e-12 if y.dtype == np.float64 else 2e-5
    np.testing.assert_allclose(y, wanted, rtol=tolerance, atol=tolerance)


def indices(shape: tuple[int, ...]) -> Any:
    return itertools.product(*map(range, shape))


# --- linear ---------------------------------------------------------------------------------------

EQUATIONS = (
    "bij,bjk->bik",
    "bij,bkj->bik",
    "bqhd,bkhd->bhqk",
    "bhqk,bkhd->bqhd",
    "bij,jk->bik",
    "bi,jk->kbij",
    "bij,bij->b",
    "bij,bij->bij",
    "bij,bij->",
    "bij,bjk->kb",
    "bij,jik->bk",
    "bijx,bjz->ib",
    "bix,zy->i",
    "BaC,Cb->CaB",
    "b,b->b",
    "abc,dc->dab",
)


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_einsum(equation: str, dtype: str) -> None:
    op = ops.Einsum(equation)
    letters = sorted(set("".join(op.terms)))
    lengths = {letter: 2 + k for k, letter in enumerate(letters)}
    x, other = (draw(*(lengths[c] for c in t), seed=k, dtype=dtype) for k, t in enumerate(op.terms[:2]))
    expected = np.zeros([lengths[c] for c in op.terms[2]])
    for numbers in itertools.product(*(range(lengths[c]) for c in letters)):
        at = dict(zip(letters, numbers, strict=True))
        here_x, here_other, here_y = (tuple(at[c] for c in term) for term in op.terms)
        expected[here_y] += float(x[here_x]) * float(other[here_other])
    check(run(op, x, other)[0], expected)


CONVS = [
    dict(zip(("size", "strides", "dilation", "groups"), numbers, strict=True))
    for numbers in [(1, 1, 1, 1), (3, 1, 1, 1), (4, 2, 1, 1), (3, 1, 2, 2), (2, 3, 3, 1), (3, 2, 2, 6), (2, 4, 1, 3)]
]


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("options", CONVS, ids=str)
@pytest.mark.parametrize(
    ("time", "dtype", "use_bias"), [(9, "float64", True), (10, "float32", False), (7, "float64", True)]
)
def test_conv(padding: str, options: dict[str, int], time: int, dtype: str, use_bias: bool) -> None:
    op = ops.Conv(12, padding=padding, use_bias=use_bias, **options)
    x = draw(3, 6, time, dtype=dtype).transpose(0, 2, 1)  # not contiguous
    weights = {"kernel": draw(op.size, 6 // op.groups, 12, dtype=dtype), "bias": draw(12, seed=1, dtype=dtype)}
    if not use_bias:
        del weights["bias"]
    reach = op.dilation * (op.size - 1) + 1
    steps = (time - reach) // op.strides + 1 if padding == "valid" else math.ceil(time / op.strides)
    total = max((steps - 1) * op.strides + reach - time, 0)
    left = {"valid": 0, "same": total // 2, "causal": reach - 1}[padding]
    expected = np.zeros((3, steps, 12))
    for b, t, f in indices(expected.shape):
        block = f // (12 // op.groups)
        expected[b, t, f] = float(weights["bias"][f]) if use_bias else 0.0
        for k, c in indices((op.size, 6 // op.groups)):
            at = t * op.strides + k * op.dilation - left
            if 0 <= at < time:
                expected[b, t, f] += float(x[b, at, block * (6 // op.groups) + c]) * float(weights["kernel"][k, c, f])
    check(run(op, x, weights=weights)[0], expected)


def test_a_causal_convolution_sees_nothing_that_comes_later() -> None:
    op, weights = ops.Conv(2, 3, dilation=2, padding="causal", use_bias=False), {"kernel": draw(3, 4, 2)}
    x = draw(1, 8, 4)
    changed = x.copy()
    changed[:, 5:] = np.nan
    before, after = run(op, x, weights=weights)[0], run(op, changed, weights=weights)[0]
    assert np.array_equal(before[:, :5], after[:, :5])
    assert np.isnan(after[:, 5:]).all()


@pytest.mark.parametrize("op", [ops.Conv(2, 4, use_bias=False), ops.Pool("max", 4, 1, "valid")], ids=str)
def test_fewer_steps_than_a_window(op: ops.Op) -> None:
    (kernel,) = NumpyBackend.kernels[type(op)]
    with pytest.raises(InputError, match="3 steps are given; expected at least 4"):
        kernel.run(op, {"kernel": draw(4, 5, 2)}, draw(2, 3, 5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_affine(dtype: str) -> None:
    x, kernel, bias = draw(2, 3, 4, dtype=dtype), draw(4, 5, dtype=dtype), draw(5, dtype=dtype)
    expected = np.zeros((2, 3, 5))
    for b, t, u in indices(expected.shape):
        expected[b, t, u] = bias[u] + sum(float(x[b, t, i]) * float(kernel[i, u]) for i in range(4))
    check(run(ops.Affine(5), x, weights={"kernel": kernel, "bias": bias})[0], expected)


def test_embed() -> None:
    table, ids = draw(5, 3, dtype="float32"), np.array([[4, 0, 1], [1, 1, 3]], np.int32)
    expected = [[table[i].tolist() for i in row] for row in ids.tolist()]
    assert run(ops.Embed(5, 3), ids, weights={"embeddings": table})[0].tolist() == expected


# --- pointwise ------------------------------------------------------------------------------------

UNARY: dict[str, Callable[[float], float]] = {
    "abs": lambda x: x if x > 0 else 0 - x,
    "cos": math.cos,
    "exp": math.exp,
    "log": math.log,
    "negative": lambda x: 0 - x,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: x**-0.5,
    "sin": math.sin,
    "sqrt": lambda x: x**0.5,
    "square": lambda x: x * x,
}
SHAPES: tuple[tuple[int, ...], ...] = ((3, 4, 5), (2,), ())


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_unary(name: str, shape: tuple[int, ...], dtype: str) -> None:
    x = draw(*shape, dtype=dtype)
    if name in ("log", "rsqrt", "sqrt"):
        x = np.asarray(abs(x))
    check(run(ops.Unary(name), x)[0], np.vectorize(UNARY[name])(x.astype(float)))


def test_unary_outside_of_its_domain() -> None:
    x = np.array([0.0, -1.0, np.inf, -np.inf, np.nan])
    results = {name: run(ops.Unary(name), x)[0].tolist() for name in ("log", "reciprocal", "rsqrt", "sqrt", "exp")}
    expected = {
        "log": [-np.inf, np.nan, np.inf, np.nan, np.nan],
        "reciprocal": [np.inf, -1.0, 0.0, -0.0, np.nan],
        "rsqrt": [np.inf, np.nan, 0.0, np.nan, np.nan],
        "sqrt": [0.0, np.nan, np.inf, np.nan, np.nan],
        "exp": [1.0, math.exp(-1), np.inf, 0.0, np.nan],
    }
    for name, numbers in expected.items():
        assert results[name] == pytest.approx(numbers, rel=1e-15, nan_ok=True), name


def test_not() -> None:
    assert run(ops.Unary("not"), np.array([True, False]))[0].tolist() == [False, True]


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "divide": lambda a, b: a / b,
    "equal": lambda a, b: a == b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "maximum": max,
    "minimum": min,
    "multiply": lambda a, b: a * b,
    "power": lambda a, b: math.copysign(math.exp(b * math.log(abs(a))), 1.0),
    "subtract": lambda a, b: a - b,
}
PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2, 3, 4), (2, 3, 4)),
    ((2, 3, 4), (4,)),
    ((3, 1), (2, 1, 4)),
    ((2, 3), ()),
    ((), ()),
)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_binary(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: str) -> None:
    x, other = (draw(*shape, seed=k, dtype=dtype) for k, shape in enumerate(shapes))
    if name == "power":
        x = np.asarray(abs(x))
    if name in ("equal", "less", "less_equal"):
        x, other = np.round(x), np.round(other)  # so that some are equal
    shape = np.broadcast_shapes(*shapes)
    pairs = zip(np.broadcast_to(x, shape).ravel(), np.broadcast_to(other, shape).ravel(), strict=True)
    check(
        run(ops.Binary(name), x, other)[0],
        np.array([BINARY[name](float(a), float(b)) for a, b in pairs]).reshape(shape),
    )


def test_logic() -> None:
    x, other = np.array([[True, True], [False, False]]), np.array([True, False])
    assert run(ops.Binary("and"), x, other)[0].tolist() == [[True, False], [False, False]]
    assert run(ops.Binary("or"), x, other)[0].tolist() == [[True, True], [True, False]]


def test_nan_in_binary() -> None:
    x, other = np.array([np.nan, 1.0, np.nan]), np.array([1.0, np.nan, np.nan])
    for name in ("maximum", "minimum", "add"):
        assert np.isnan(run(ops.Binary(name), x, other)[0]).all(), name
    for name in ("less", "less_equal", "equal"):
        assert not run(ops.Binary(name), x, other)[0].any(), name


def test_power_of_negative_numbers() -> None:
    x = np.array([-2.0, -2.0, -2.0, 0.0])
    y = run(ops.Binary("power"), x, np.array([3.0, -1.0, 0.5, 0.0]))[0]
    assert y.tolist() == pytest.approx([-8.0, -0.5, np.nan, 1.0], nan_ok=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_select(dtype: str) -> None:
    condition, x, other = bools(2, 3, 1), draw(3, 4, dtype=dtype), draw(2, 1, 4, dtype=dtype)
    x[0, 0] = np.nan
    condition[:, 0] = False
    expected = np.zeros((2, 3, 4))
    for b, i, j in indices(expected.shape):
        expected[b, i, j] = x[i, j] if condition[b, i, 0] else other[b, 0, j]
    check(run(ops.Select(), condition, x, other)[0], expected)


def test_not_equal() -> None:
    assert run(ops.NotEqual(2.0), np.array([[1, 2], [0, -2]], np.int32))[0].tolist() == [[True, False], [True, True]]
    x = np.array([0.1, 0.2, np.nan])
    assert run(ops.NotEqual(0.1), x)[0].tolist() == [False, True, True]
    # 0.1 is another number in float32; the value is rounded as the numbers are.
    assert run(ops.NotEqual(0.1), x.astype("float32"))[0].tolist() == [False, True, True]


@pytest.mark.parametrize("dtype", DTYPES)
def test_cast(dtype: str) -> None:
    like = draw(7, dtype=dtype)
    for x in (np.array([[True, False]]), np.array([[3, -(2**31)]], np.int32)):
        (y,) = run(ops.Cast(), x, like)
        assert (y.dtype, y.tolist()) == (np.dtype(dtype), [[float(n) for n in x[0]]])


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "gelu", "softplus"])
def test_a_function_of_a_scalar(name: str) -> None:
    x = np.asarray(0.75, "float32")
    (row,) = run(ops.Activate(Function(name)), x.reshape(1))
    assert run(ops.Activate(Function(name)), x)[0] == row[0] != 0


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_values(dtype: str) -> None:
    like = draw(3, 2, dtype=dtype)
    numbers = (0.1, -2, 1 / 3, 1e-30, 5, 6)
    (constant,) = run(ops.Constant(numbers, (2, 3)), like)
    rounded = [float(np.dtype(dtype).type(n)) for n in numbers]
    assert (constant.tolist(), constant.dtype) == ([rounded[:3], rounded[3:]], like.dtype)
    assert run(ops.Constant((0.1,), ()), like)[0].shape == ()
    (zeros,) = run(ops.Zeros((4, 1)), like)
    assert zeros.shape == (3, 4, 1) and not zeros.any() and zeros.dtype == like.dtype
    value = draw(2, 5, dtype=dtype)
    assert np.array_equal(run(ops.Parameter((2, 5)), weights={"value": value})[0], value)


# --- shape ----------------------------------------------------------------------------------------


def test_concat() -> None:
    x = [draw(2, n, 3, seed=n) for n in (1, 4, 2)]
    expected = [[row.tolist() for part in x for row in part[b]] for b in range(2)]
    assert run(ops.Concat(1, 3), *x)[0].tolist() == expected
    assert run(ops.Concat(1, 2), np.array([[True]]), np.array([[False, True]]))[0].tolist() == [[True, False, True]]


@pytest.mark.parametrize(("start", "stop"), [(0, None), (2, 5), (-3, None), (-99, -1), (1, 99)])
def test_slice(start: int, stop: int | None) -> None:
    x = draw(2, 3, 6)
    expected = [[row.tolist()[start:stop] for row in entry] for entry in x]
    assert run(ops.Slice(2, start, stop), x)[0].tolist() == expected


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (1, 3)])
def test_pad(before: int, after: int) -> None:
    x = draw(2, 3, 4, dtype="float32")
    zero = [0.0] * 4
    expected = [[zero] * before + entry.tolist() + [zero] * after for entry in x]
    assert run(ops.Pad(1, before, after), x)[0].tolist() == expected
    assert run(ops.Pad(1, 1, 0), np.array([[7]], np.int32))[0].tolist() == [[0, 7]]
    assert run(ops.Pad(1, 0, 1), np.array([[True]]))[0].tolist() == [[True, False]]


def test_repeat() -> None:
    x = draw(2, 3, 2)
    expected = [[row.tolist() for row in entry for _ in range(3)] for entry in x]
    assert run(ops.Repeat(1, 3), x)[0].tolist() == expected


@pytest.mark.parametrize(
    "x", [draw(2, 3, 4), np.arange(6, dtype=np.int32).reshape(2, 3), draw(3, 2, 4).transpose(1, 0, 2)]
)
def test_fold_and_unfold(x: Array) -> None:
    (folded,) = run(ops.Fold(), x)
    assert folded.tolist() == [step.tolist() for entry in x for step in entry]
    assert run(ops.Unfold(), folded, bools(2, 3))[0].tolist() == x.tolist()
    assert run(ops.Unfold(), draw(6), x)[0].tolist() == draw(6).reshape(2, 3).tolist()


def test_the_older_movers() -> None:
    x = draw(2, 3, 4)
    assert run(ops.Reshape((2, -1)), x)[0].tolist() == [[e.ravel().tolist()[:6], e.ravel().tolist()[6:]] for e in x]
    swapped = [[[x[b, t, i] for t in range(3)] for i in range(4)] for b in range(2)]
    assert run(ops.Transpose((0, 2, 1)), x)[0].tolist() == swapped
    assert run(ops.Reverse(), x)[0].tolist() == [[x[b, t].tolist() for t in (2, 1, 0)] for b in range(2)]
    assert run(ops.Last(), x)[0].tolist() == [x[b, 2].tolist() for b in range(2)]


# --- reduce ---------------------------------------------------------------------------------------

REDUCE: dict[str, Callable[[list[Any]], Any]] = {
    "sum": math.fsum,
    "mean": lambda v: math.fsum(v) / len(v),
    "max": max,
    "min": min,
    "any": any,
    "all": all,
}


@pytest.mark.parametrize("name", REDUCE)
@pytest.mark.parametrize("axes", [(1,), (3,), (1, 3), (2, 1), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_reduce(name: str, axes: tuple[int, ...], keepdims: bool, dtype: str) -> None:
    x = bools(2, 3, 2, 2) if name in ("any", "all") else draw(2, 3, 4, 5, dtype=dtype)
    gathered: dict[tuple[int, ...], list[Any]] = {}
    for at in indices(x.shape):
        gathered.setdefault(tuple(0 if k in axes else n for k, n in enumerate(at)), []).append(x[at].item())
    expected = np.zeros([1 if k in axes else n for k, n in enumerate(x.shape)], x.dtype if x.dtype == bool else float)
    for at, numbers in gathered.items():
        expected[at] = REDUCE[name](numbers)
    check(run(ops.Reduce(name, axes, keepdims), x)[0], expected if keepdims else expected.squeeze(axes))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_a_nan_reaches_what_it_is_reduced_to(name: str) -> None:
    x = draw(2, 3)
    x[0, 1] = np.nan
    assert np.isnan(run(ops.Reduce(name, (1,)), x)[0]).tolist() == [True, False]


@pytest.mark.parametrize("name", ["max", "mean"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides"), [(1, 1), (2, 2), (3, 1), (4, 3), (3, 5), (5, 2), (7, 7)])
@pytest.mark.parametrize(("time", "dtype"), [(7, "float64"), (10, "float32")])
def test_pool(name: str, padding: str, size: int, strides: int, time: int, dtype: str) -> None:
    x = draw(2, time, 3, dtype=dtype) - 5  # all negative: a zero that counted would show
    steps = (time - size) // strides + 1 if padding == "valid" else math.ceil(time / strides)
    left = 0 if padding == "valid" else max((steps - 1) * strides + size - time, 0) // 2
    expected = np.zeros((2, steps, 3))
    for b, t, c in indices(expected.shape):
        window = [float(x[b, k, c]) for k in range(t * strides - left, t * strides - left + size) if 0 <= k < time]
        expected[b, t, c] = REDUCE[name](window)
    check(run(ops.Pool(name, size, strides, padding), x)[0], expected)


@pytest.mark.parametrize("name", ["max", "mean"])
def test_a_nan_reaches_the_windows_that_it_lies_in(name: str) -> None:
    x = draw(1, 6, 1)
    x[0, 2] = np.nan
    y = run(ops.Pool(name, 3, 1, "same"), x)[0]
    assert np.isnan(y[0, :, 0]).tolist() == [False, True, True, True, False, False]


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3, 5), (2, 5, 3)], ids=str)
def test_causal(shape: tuple[int, ...]) -> None:
    y = run(ops.Causal(), draw(*shape))[0]
    assert all(y[at] == (at[-1] <= at[-2]) for at in indices(shape))


# --- normalize ------------------------------------------------------------------------------------

SWITCHES = list(itertools.product([True, False], repeat=2))


@pytest.mark.parametrize(("center", "scale"), SWITCHES)
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_normalize(center: bool, scale: bool, shape: tuple[int, ...], dtype: str) -> None:
    op = ops.BatchNormalize(0.02, center, scale)
    w = {port: draw(4, seed=k, dtype=dtype) for k, port in enumerate(op.ports())}
    w["moving_variance"] = abs(w["moving_variance"])
    x = draw(*shape, dtype=dtype)
    expected = np.zeros(shape)
    for at in indices(shape):
        f = at[-1]
        z = (float(x[at]) - float(w["moving_mean"][f])) / math.sqrt(float(w["moving_variance"][f]) + 0.02)
        expected[at] = z * (float(w["gamma"][f]) if scale else 1) + (float(w["beta"][f]) if center else 0)
    check(run(op, x, weights=w)[0], expected)


@pytest.mark.parametrize(("center", "scale"), SWITCHES)
@pytest.mark.parametrize("axes", [(3,), (1,), (1, 3), (2, 3), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_normalize(center: bool, scale: bool, axes: tuple[int, ...], dtype: str) -> None:
    op, x = ops.LayerNormalize(axes, 0.02, center, scale), draw(2, 3, 4, 5, dtype=dtype)
    w = {port: draw(*(x.shape[a] for a in axes), seed=k, dtype=dtype) for k, port in enumerate(op.ports())}
    gathered: dict[tuple[int, ...], list[float]] = {}
    for at in indices(x.shape):
        gathered.setdefault(tuple(n for k, n in enumerate(at) if k not in axes), []).append(float(x[at]))
    expected = np.zeros(x.shape)
    for at in indices(x.shape):
        numbers = gathered[tuple(n for k, n in enumerate(at) if k not in axes)]
        mean = math.fsum(numbers) / len(numbers)
        variance = math.fsum((n - mean) ** 2 for n in numbers) / len(numbers)
        port = tuple(at[a] for a in axes)
        gamma, beta = float(w["gamma"][port]) if scale else 1.0, float(w["beta"][port]) if center else 0.0
        expected[at] = (float(x[at]) - mean) / math.sqrt(variance + 0.02) * gamma + beta
    check(run(op, x, weights=w)[0], expected)


def test_layer_normalize_does_not_cancel() -> None:
    x = np.array([[1e4, 1e4 + 1, 1e4 + 3]], "float32")
    y = run(ops.LayerNormalize((1,), 0.0, False, False), x)[0]
    np.testing.assert_allclose(y, [[-1.0690449676, -0.2672612419, 1.3363062096]], rtol=1e-3)


# --- recurrent ------------------------------------------------------------------------------------

B, T, N, U = 4, 7, 3, 5
# The first entry begins masked, the second has holes, the third ends masked, the fourth is all masked.
MASK = np.array([[0, 0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 0, 0, 0], [0] * 7], bool)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def lstm_step(w: Mapping[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    new_h, new_c = np.zeros_like(h), np.zeros_like(c)
    for u in range(U):
        z = [
            w["bias"][g * U + u]
            + sum(x[k] * w["kernel"][k, g * U + u] for k in range(N))
            + sum(h[k] * w["recurrent_kernel"][k, g * U + u] for k in range(U))
            for g in range(4)
        ]
        new_c[u] = sigmoid(z[1]) * c[u] + sigmoid(z[0]) * math.tanh(z[2])
        new_h[u] = sigmoid(z[3]) * math.tanh(new_c[u])
    return new_h, new_c


def gru_step(w: Mapping[str, Array], x: Array, h: Array) -> tuple[Array]:
    def of_x(g: int, u: int) -> float:
        return w["bias"][0, g * U + u] + sum(x[k] * w["kernel"][k, g * U + u] for k in range(N))

    def of_h(g: int, u: int) -> float:
        return w["bias"][1, g * U + u] + sum(h[k] * w["recurrent_kernel"][k, g * U + u] for k in range(U))

    new = np.zeros_like(h)
    for u in range(U):
        update, reset = sigmoid(of_x(0, u) + of_h(0, u)), sigmoid(of_x(1, u) + of_h(1, u))
        new[u] = update * h[u] + (1 - update) * math.tanh(of_x(2, u) + reset * of_h(2, u))
    return (new,)


def rnn_step(w: Mapping[str, Array], x: Array, h: Array) -> tuple[Array]:
    z = [w["bias"][u] + x @ w["kernel"][:, u] + h @ w["recurrent_kernel"][:, u] for u in range(U)]
    return (np.tanh(z),)


def over_time(
    step: Callable[..., tuple[Array, ...]],  # of one example: (x_t, *states) -> (y_t, *states)
    x: Array,
    states: list[Array],
    mask: Array | None,
    previous: Array | None,
    zero_output: bool,
    width: int,
) -> tuple[Array, ...]:
    """The masked-step rule, example by example."""
    ys, ends = [], []
    for b in range(len(x)):
        now = [state[b] for state in states]
        held = np.zeros(width) if previous is None else previous[b]
        row = []
        for t in range(x.shape[1]):
            if mask is None or mask[b, t]:
                held, *now = step(x[b, t], *now)
                row.append(held)
            else:
                row.append(np.zeros(width) if zero_output else held)
        ys.append(row)
        ends.append(now)
    return np.array(ys), *(np.array([end[k] for end in ends]) for k in range(len(states)))


STEPS: dict[type[ops.Recurrent], Callable[..., tuple[Array, ...]]] = {
    ops.Lstm: lstm_step,
    ops.Gru: gru_step,
    ops.SimpleRnn: rnn_step,
}
RULES = [
    (masked, given, zero)
    for masked, given, zero in itertools.product([False, True], repeat=3)
    if masked or (given and not zero) or not (given or zero)
]


@pytest.mark.parametrize("cls", STEPS)
@pytest.mark.parametrize(("masked", "given", "zero_output"), RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_recurrent(cls: type[ops.Recurrent], masked: bool, given: bool, zero_output: bool, dtype: str) -> None:
    op = cls(U, zero_output_for_mask=zero_output)
    shapes = op.inventory(ops.Tensor((B, T, N)))
    w = {port: draw(*shape, seed=k, dtype=dtype) / 2 for k, (port, shape) in enumerate(shapes.items())}
    x, states = draw(B, T, N, dtype=dtype), [draw(B, U, seed=k, dtype=dtype) for k in range(len(op.states))]
    mask, previous = MASK if masked else None, draw(B, U, seed=9, dtype=dtype) if given else None
    exact = {port: array.astype(float) for port, array in w.items()}

    def step(x: Array, *states: Array) -> tuple[Array, ...]:
        new = STEPS[cls](exact, x.astype(float), *states)
        return new[0], *new

    expected = over_time(step, x, states, mask, previous, zero_output, U)
    for y, wanted in zip(run(op, x, *states, mask, previous, weights=w), expected, strict=True):
        check(y, wanted)


def cell() -> Program:
    """A cell with two states of different shapes and an output that is neither.

    ::

        a' = tanh(x W + a)        n' = n * gain + sum(x)        y = (a' * last(n'), gain)
    """
    build = Builder()
    x, a, n = build.input("x", (None, N)), build.input("a", (None, U)), build.input("n", (None, 1))
    with build.scope("deep/affine"):
        (z,) = build.op(ops.Affine(U, use_bias=False), x)
    (gain,) = build.op(ops.Parameter((1,)))
    (z,) = build.op(ops.Binary("add"), z, a)
    (after_a,) = build.op(ops.Activate(Function("tanh")), z)
    (total,) = build.op(ops.Reduce("sum", (1,), keepdims=True), x)
    (after_n,) = build.op(ops.Binary("multiply"), n, gain)
    (after_n,) = build.op(ops.Binary("add"), after_n, total)
    (y,) = build.op(ops.Binary("multiply"), after_a, after_n)
    (y,) = build.op(ops.Concat(1, 2), y, after_n)
    return build.finish((y.name, after_a.name, after_n.name))


def scan_through_the_core(op: ops.Scan, w: Mapping[str, Array], *inputs: Array | None, dtype: str) -> tuple[Array, ...]:
    """The kernel with the body that the core makes for it."""
    build = Builder()
    ports = (*op.inputs, *op.optional)
    values = [
        None if x is None else build.input(port, (None, *x.shape[1:]), "bool" if x.dtype == bool else "float")
        for port, x in zip(ports, inputs, strict=True)
    ]
    outputs = build.op(op, *values)
    program = build.finish(tuple(value.name for value in outputs))
    (choice,) = choose(NumpyBackend(), program, dtype)
    return choice.run(op, {port: frozen(w[port]) for port in op.ports()}, *map(frozen, inputs))


@pytest.mark.parametrize(("masked", "given", "zero_output"), RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scan(masked: bool, given: bool, zero_output: bool, dtype: str) -> None:
    op = ops.Scan(cell(), zero_output_for_mask=zero_output)
    w = {name: draw(*shape, seed=k, dtype=dtype) / 2 for k, (name, shape) in enumerate(op.body.weights.items())}
    kernel, gain = (w[name].astype(float) for name in sorted(w, key=lambda name: -w[name].size))

    def step(x: Array, a: Array, n: Array) -> tuple[Array, ...]:
        after = np.array([math.tanh(a[u] + sum(float(x[k]) * kernel[k, u] for k in range(N))) for u in range(U)])
        count = n[0] * gain[0] + sum(map(float, x))
        return np.array([*(after * count), count]), after, np.array([count])

    x, a, n = draw(B, T, N, dtype=dtype), draw(B, U, dtype=dtype), draw(B, 1, dtype=dtype)
    mask, previous = MASK if masked else None, draw(B, U + 1, seed=9, dtype=dtype) if given else None
    expected = over_time(step, x, [a, n], mask, previous, zero_output, U + 1)
    outputs = scan_through_the_core(op, w, x, a, n, mask, previous, dtype=dtype)
    for y, wanted in zip(outputs, expected, strict=True):
        assert y.dtype == dtype
        check(y, wanted)


def test_what_a_masked_step_computes_does_not_matter() -> None:
    op = ops.Scan(cell())
    w = {name: draw(*shape) for name, shape in op.body.weights.items()}
    x, a, n = draw(B, T, N), draw(B, U), draw(B, 1)
    spoiled = np.where(MASK[:, :, None], x, np.nan)
    first, second = (scan_through_the_core(op, w, given, a, n, MASK, None, dtype="float64") for given in (x, spoiled))
    assert all(np.array_equal(y, z) for y, z in zip(first, second, strict=True))


def test_scan_hands_its_weights_on_and_takes_any_rank() -> None:
    op, w = ops.Scan(cell()), {name: draw(*shape) for name, shape in cell().weights.items()}
    seen = []

    def body(weights: Mapping[str, Array], x: Array, state: Array, other: Array) -> tuple[Array, ...]:
        seen.append(weights)
        return x[..., None] + state, state * 2, other

    x, state = draw(B, T, 2, 3), draw(B, 2, 3, 4)
    y, after, _ = NumpyBackend.kernels[ops.Scan][0].run(op, w, x, state, draw(B, 1), MASK, None, body=body)
    assert len(seen) == T and all(weights is w for weights in seen)
    count = MASK.sum(1)
    np.testing.assert_allclose(after, state * (2.0**count)[:, None, None, None])
    assert y.shape == (B, T, 2, 3, 4)
    np.testing.assert_allclose(y[0, 2], x[0, 2][..., None] + state[0])
    assert not y[0, :2].any()


def test_every_op_has_its_kernel() -> None:
    assert set(NumpyBackend.kernels) == set(ops.Op.registry.values())
