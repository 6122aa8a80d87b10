"""Every row of the engines' tables, op by op, against the reference in float64."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from lstmcore import ops, plugins
from lstmcore.activations import Function, function
from lstmcore.contract import Backend, Choice, Facts, Kernel, choose
from lstmcore.errors import SpecError
from lstmcore.ops import Op, Tensor
from lstmcore.program import Builder, Node, Program
from lstmcore.runtime.compare import LIMIT, scale_error

RNG = np.random.default_rng(11)
INF, NAN = np.inf, np.nan
KINDS = {"f": "float", "i": "int", "b": "bool"}
ENGINES = [
    info.name for info in plugins.backends() if info.status == "available" and info.name in ("torch", "tensorflow")
]


def floats(*shape: int) -> np.ndarray[Any, Any]:
    """Numbers that float32 holds exactly."""
    return RNG.normal(size=shape).astype(np.float32).astype(np.float64)


def bools(*shape: int, share: float = 0.6) -> np.ndarray[Any, Any]:
    return RNG.random(shape) < share


def ints(*shape: int, below: int = 5) -> np.ndarray[Any, Any]:
    return RNG.integers(0, below, shape, dtype=np.int32)


@dataclass(frozen=True)
class Case:
    """An op and its inputs; those at the places ``whole`` have no batch axis."""

    op: Op
    inputs: tuple[np.ndarray[Any, Any] | None, ...]
    whole: tuple[int, ...] = ()

    def tensors(self, open_axes: int = 0) -> tuple[Tensor | None, ...]:
        """What is known of the inputs with so many of their first axes open."""

        def tensor(place: int, x: np.ndarray[Any, Any] | None) -> Tensor | None:
            if x is None:
                return None
            count = 0 if place in self.whole else min(open_axes, x.ndim)
            return Tensor((*[None] * count, *x.shape[count:]), KINDS[x.dtype.kind])  # type: ignore[arg-type]

        return tuple(tensor(place, x) for place, x in enumerate(self.inputs))

    def facts(self, dtype: str, training: bool) -> Facts:
        ports = dict(zip((*self.op.inputs, *self.op.optional), self.inputs, strict=True))
        return Facts(self.tensors(), ports.get("mask") is not None, dtype, "cpu", training)

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        own = np.random.default_rng(3)
        drawn = {port: own.normal(0, 0.6, shape) for port, shape in self.op.inventory(*self.tensors()).items()}
        drawn = {port: w.astype(np.float32).astype(np.float64) for port, w in drawn.items()}
        return {port: np.abs(w) if port == "moving_variance" else w for port, w in drawn.items()}


def pointwise_cases() -> Iterator[Case]:
    for name in ("abs", "exp", "negative", "reciprocal", "square", "sin", "cos"):
        yield Case(ops.Unary(name), (floats(2, 5, 3),))
        yield Case(ops.Unary(name), (np.array([[0.0, INF if name not in ("sin", "cos") else 1.0, NAN]]),))
    for name in ("log", "rsqrt", "sqrt"):
        yield Case(ops.Unary(name), (np.abs(floats(2, 5)) + 0.125,))
        yield Case(ops.Unary(name), (np.array([[0.0, INF, NAN, -1.0]]),))
    yield Case(ops.Unary("not"), (bools(2, 4),))
    for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "less_equal", "equal"):
        yield Case(ops.Binary(name), (floats(2, 5, 3), floats(2, 5, 3)))
        yield Case(ops.Binary(name), (floats(2, 5, 1), floats(2, 1, 3)))
        yield Case(ops.Binary(name), (floats(2, 5, 3), floats(3)), (1,))
        yield Case(ops.Binary(name), (floats(1, 1), floats(2, 5, 3)), (0,))
        yield Case(ops.Binary(name), (np.array([[NAN, 1.0, INF, 2.0]]), np.array([[1.0, NAN, -INF, 2.0]])))
    yield Case(ops.Binary("power"), (np.abs(floats(2, 3)), floats(2, 3)))
    yield Case(ops.Binary("power"), (np.array([[0.0, 2.0, -8.0, 4.0]]), np.array([[0.0, -1.0, 3.0, 0.5]])))
    for name in ("and", "or"):
        yield Case(ops.Binary(name), (bools(2, 5), bools(2, 5)))
        yield Case(ops.Binary(name), (bools(2, 1, 5), bools(2, 4, 1)))
    yield Case(ops.Select(), (bools(2, 5), floats(2, 5), floats(2, 5)))
    yield Case(ops.Select(), (bools(2, 5, 1), floats(2, 5, 3), floats(3)), (2,))
    yield Case(ops.Select(), (bools(2, 1), np.full((2, 3), NAN), floats(2, 3)))
    yield Case(ops.NotEqual(2), (ints(2, 5),))
    yield Case(ops.NotEqual(2.0), (ints(2, 5),))
    yield Case(ops.NotEqual(0.5), (np.array([[0.5, NAN, -0.5]]),))
    yield Case(ops.NotEqual(0), (np.array([[0.0, -0.0, 1.0]]),))
    yield Case(ops.Cast(), (bools(2, 5), floats(2, 1)))
    yield Case(ops.Cast(), (ints(2, 5, 3, below=2**20), floats(2, 4)))
    for activation in (Function("tanh"), function("relu", max_value=1.0), function("softmax", axis=-1)):
        yield Case(ops.Activate(activation), (floats(2, 5, 4),))
    yield Case(ops.Constant(values=(0.1, 1 / 3, -2.0, 0.0, 5.0, 1e-9), shape=(2, 3)), (floats(4, 2),))
    yield Case(ops.Constant(values=(0.1,), shape=()), (floats(4, 2),))
    yield Case(ops.Parameter((2, 3)), ())
    yield Case(ops.Zeros((3,)), (floats(4, 2),))
    yield Case(ops.Zeros(()), (floats(4, 5, 2),))


def linear_cases() -> Iterator[Case]:
    for shape, bias in itertools.product([(3, 4), (2, 5, 4), (2, 3, 2, 4)], [True, False]):
        yield Case(ops.Affine(6, bias), (floats(*shape),))
    for shape in [(3,), (2, 5), (2, 3, 4)]:
        yield Case(ops.Embed(5, 3), (ints(*shape),))
    yield Case(ops.Einsum("bij,bjk->bik"), (floats(2, 4, 3), floats(2, 3, 5)))
    yield Case(ops.Einsum("bqd,bkd->bqk"), (floats(2, 4, 3), floats(2, 7, 3)))
    yield Case(ops.Einsum("bqhd,bkhd->bhqk"), (floats(2, 4, 2, 3), floats(2, 5, 2, 3)))
    yield Case(ops.Einsum("bti,oi->bto"), (floats(2, 4, 3), floats(5, 3)), (1,))
    yield Case(ops.Einsum("bij,bkl->bil"), (floats(2, 4, 3), floats(2, 3, 5)))
    yield Case(ops.Einsum("bi,bj->bji"), (floats(2, 4), floats(2, 3)))
    options = itertools.product(["valid", "same", "causal"], [1, 2, 3], [1, 2], [1, 4], [1, 2])
    for padding, strides, dilation, size, groups in options:
        op = ops.Conv(6, size, strides, dilation, padding, groups, use_bias=groups == 1)
        yield Case(op, (floats(2, 11, 4),))
    yield Case(ops.Conv(4, 5, padding="same"), (floats(1, 2, 3),))
    yield Case(ops.Conv(4, 2, strides=5, padding="same"), (floats(1, 12, 3),))
    yield Case(ops.Conv(8, 3, groups=4), (floats(3, 6, 4),))


def shape_cases() -> Iterator[Case]:
    for x in (floats(2, 6, 4), ints(2, 6, 4), bools(2, 6, 4)):
        yield Case(ops.Reshape((4, -1)), (x,))
        yield Case(ops.Reshape((24,)), (x,))
        yield Case(ops.Transpose((0, 2, 1)), (x,))
        yield Case(ops.Reverse(), (x,))
        yield Case(ops.Last(), (x,))
        for axis in (1, 2):
            yield Case(ops.Concat(axis, 2), (x, x[:, ::-1].copy()))
            yield Case(ops.Repeat(axis, 3), (x,))
            yield Case(ops.Pad(axis, 1, 2), (x,))
            yield Case(ops.Pad(axis, 0, 0), (x,))
            for start, stop in [(0, None), (1, 3), (-2, None), (0, -1), (-3, -1), (1, 100)]:
                yield Case(ops.Slice(axis, start, stop), (x,))
        yield Case(ops.Fold(), (x,))
        yield Case(ops.Fold(), (x[..., 0],))
        yield Case(ops.Unfold(), (x.reshape(12, 4), floats(2, 6)))
        yield Case(ops.Unfold(), (x.reshape(12, 4)[:, 0], bools(2, 6, 3)))
    yield Case(ops.Concat(1, 3), (floats(2, 3), floats(2, 1), floats(2, 4)))
    yield Case(ops.Concat(1, 1), (floats(2, 3),))


def reduce_cases() -> Iterator[Case]:
    for name, axes, keepdims in itertools.product(
        ("sum", "mean", "max", "min", "any", "all"), [(1,), (2,), (1, 2), (1, 3)], [False, True]
    ):
        x = bools(2, 5, 3, 2, share=0.8) if name in ("any", "all") else floats(2, 5, 3, 2)
        yield Case(ops.Reduce(name, axes, keepdims), (x,))
    broken = floats(2, 5, 3)
    broken[0, 1, 2], broken[1, 2, 0] = NAN, INF
    for name in ("sum", "mean", "max", "min"):
        yield Case(ops.Reduce(name, (1,)), (broken,))
    for name, size, strides, padding in itertools.product(("max", "mean"), (1, 2, 3, 5), (1, 2, 3), ("valid", "same")):
        yield Case(ops.Pool(name, size, strides, padding), (floats(2, 8, 3) - 3,))
        yield Case(ops.Pool(name, size, strides, padding), (floats(1, 5, 2),))
    unusual = floats(2, 9, 2)
    unusual[0, 4, 1], unusual[1, :5, 0] = NAN, -INF
    for name, padding in itertools.product(("max", "mean"), ("valid", "same")):
        yield Case(ops.Pool(name, 3, 2, padding), (unusual,))
    for shape in [(2, 4, 4), (2, 3, 5), (2, 2, 5, 3)]:
        yield Case(ops.Causal(), (floats(*shape),))
    for total, shape in itertools.product(("sum", "mean"), [(3,), (2, 5), (2, 3, 4)]):
        yield Case(ops.Total(total), (floats(*shape) + 0.5,))
        for kept in range(1, len(shape) + 1):
            yield Case(ops.Total(total, kept), (floats(*shape) + 0.5,))
    for shape in [(4,), (2, 5), (2, 3, 4)]:
        yield Case(ops.OneHot(3), (ints(*shape, below=5) - 1, floats(2, 1)))


def normalize_cases() -> Iterator[Case]:
    options = [(True, True), (True, False), (False, True), (False, False)]
    for shape, (center, scale) in itertools.product([(3, 4), (2, 5, 4), (2, 3, 2, 4)], options):
        x = floats(*shape) + 0.5
        yield Case(ops.BatchNormalize(1e-3, center, scale), (x,))
        yield Case(ops.LayerNormalize((len(shape) - 1,), 1e-3, center, scale), (x,))
        if len(shape) > 2:
            yield Case(ops.LayerNormalize((1,), 1e-5, center, scale), (x,))
            yield Case(ops.LayerNormalize((1, 2), 1e-5, center, scale), (x,))
    yield Case(ops.LayerNormalize((1, 3), 1e-5, True, True), (floats(2, 3, 2, 4),))


def masks(batch: int, steps: int) -> Iterator[np.ndarray[Any, Any] | None]:
    yield None
    yield np.arange(steps) < np.array([[steps], [2], [1], [0]])[:batch]  # padded behind
    yield np.arange(steps) >= np.array([[0], [2], [steps], [1]])[:batch]  # padded before
    yield np.zeros((batch, steps), bool)
    yield np.array([[0, 1, 0, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0, 1]], bool)


def unused(x: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    """NaN at the masked steps: nothing may come of them."""
    return x if mask is None else np.where(mask.reshape(*mask.shape, *[1] * (x.ndim - 2)), x, NAN)


def recurrent_cases() -> Iterator[Case]:
    tanh, sigmoid, relu = Function("tanh"), Function("sigmoid"), Function("relu")
    hard = Function("hard_sigmoid")
    kinds: list[tuple[type[Any], dict[str, Any]]] = [
        *((ops.Lstm, {"activation": a, "recurrent_activation": r}) for a, r in ((tanh, sigmoid), (relu, hard))),
        *((ops.Gru, {"activation": a, "reset_after": after}) for a in (tanh, relu) for after in (True, False)),
        *((ops.SimpleRnn, {"activation": a}) for a in (tanh, relu, hard)),
    ]
    for (op, options), mask in itertools.product(kinds, masks(4, 7)):
        for zero, given, bias in [(False, False, True), (False, True, False), (True, True, True)]:
            states = (floats(4, 5) for _ in op.states)
            x = unused(floats(4, 7, 3), mask)
            whole = op(5, use_bias=bias, zero_output_for_mask=zero, **options)
            yield Case(whole, (x, *states, mask, floats(4, 5) if given else None))
    long = np.arange(60) % 7 != 3
    for op in (ops.Lstm, ops.Gru, ops.SimpleRnn):
        states = (floats(3, 5) for _ in op.states)
        yield Case(op(5), (floats(3, 60, 4), *states, np.stack([long, ~long, long]), None))


def plain_cell() -> Program:
    """h' = tanh(x W + b + h U) = y."""
    build = Builder()
    x, h = build.input("x", (None, 3)), build.input("h", (None, 4))
    with build.scope("input"):
        (a,) = build.op(ops.Affine(4), x)
    with build.scope("state"):
        (b,) = build.op(ops.Affine(4, False), h)
    (z,) = build.op(ops.Binary("add"), a, b)
    (y,) = build.op(ops.Activate(Function("tanh")), z)
    return build.finish((y.name, y.name))


def grid_cell() -> Program:
    """x (2, 3), states s (2, 2) and n (); y = p s' + n' of shape (2, 2), with n counting the steps."""
    build = Builder()
    x, s, n = build.input("x", (None, 2, 3)), build.input("s", (None, 2, 2)), build.input("n", (None,))
    (part,) = build.op(ops.Slice(2, 0, 2), x)
    (one,) = build.op(ops.Constant(values=(0.1,), shape=()), x)
    (count,) = build.op(ops.Binary("add"), n, one)
    (state,) = build.op(ops.Binary("add"), part, s)
    (scaled,) = build.op(ops.Binary("multiply"), state, build.weight("p", (2, 2)))
    (column,) = build.op(ops.Reshape((1, 1)), count)
    (y,) = build.op(ops.Binary("add"), scaled, column)
    return build.finish((y.name, state.name, count.name))


def ids_cell() -> Program:
    """Embeds a token; y = the state, moved by it."""
    build = Builder()
    ids, h = build.input("ids", (None,), "int"), build.input("h", (None, 4))
    (e,) = build.op(ops.Embed(5, 4), ids)
    (y,) = build.op(ops.Binary("add"), e, h)
    return build.finish((y.name, y.name))


def scan_cases() -> Iterator[Case]:
    for mask, zero, given in itertools.product(masks(4, 7), (False, True), (False, True)):
        op = ops.Scan(plain_cell(), zero)
        yield Case(op, (unused(floats(4, 7, 3), mask), floats(4, 4), mask, floats(4, 4) if given else None))
        x, previous = unused(floats(4, 7, 2, 3), mask), floats(4, 2, 2) if given else None
        yield Case(ops.Scan(grid_cell(), zero), (x, floats(4, 2, 2), floats(4), mask, previous))
    yield Case(ops.Scan(ids_cell()), (ints(4, 7), floats(4, 4), None, None))


SUBJECTS = {
    "pointwise": pointwise_cases,
    "linear": linear_cases,
    "shape": shape_cases,
    "reduce": reduce_cases,
    "normalize": normalize_cases,
    "recurrent": recurrent_cases,
    "scan": scan_cases,
}
CASES = [case for cases in SUBJECTS.values() for case in cases()]
IDS = [f"{type(case.op).__name__}-{k}" for k, case in enumerate(CASES)]


def rows(backend: Backend, case: Case, dtype: str) -> list[Kernel]:
    """The kernels of the op's row that can run it, in training or not."""
    both = [case.facts(dtype, training) for training in (False, True)]
    return [kernel for kernel in backend.kernels[type(case.op)] if any(kernel.when(case.op, facts) for facts in both)]


def runner(backend: Backend, case: Case, kernel: Kernel, dtype: str) -> Any:
    """The kernel as a function of (weights, *inputs)."""
    body = getattr(case.op, "body", None)
    inner = () if body is None else choose(backend, body, dtype)
    run = Choice(Node("node", case.op, (), ()), kernel, body=inner).run
    return lambda weights, *inputs: run(case.op, weights, *inputs)


def entering(backend: Backend, case: Case, dtype: str) -> tuple[dict[str, Any], list[Any]]:
    """Weights and inputs as the engine's tensors."""

    def tensor(x: np.ndarray[Any, Any] | None) -> Any:
        return None if x is None else backend.tensor(x.astype(dtype) if x.dtype.kind == "f" else x)

    return {port: tensor(w) for port, w in case.weights().items()}, [tensor(x) for x in case.inputs]


EXACT: dict[int, list[np.ndarray[Any, Any]]] = {}


@np.errstate(all="ignore")
def exact(case: Case) -> list[np.ndarray[Any, Any]]:
    """The reference's outputs in float64."""
    if id(case) not in EXACT:
        backend = plugins.get(plugins.reference())
        weights, inputs = entering(backend, case, "float64")
        run = runner(backend, case, rows(backend, case, "float64")[0], "float64")
        EXACT[id(case)] = [np.array(backend.numpy(y)) for y in run(weights, *inputs)]
    return EXACT[id(case)]


def judge(case: Case, outputs: list[np.ndarray[Any, Any]], dtype: str, what: str) -> None:
    declared = case.op.infer(*case.tensors())
    expected = exact(case)
    assert len(outputs) == len(declared) == len(expected)
    for port, y, said, right in zip(case.op.outputs, outputs, declared, expected, strict=True):
        place = f"{what}: {case.op}, output {port}"
        assert y.dtype == {"float": np.dtype(dtype), "int": np.int32, "bool": np.bool_}[said.kind], place
        assert all(known in (None, n) for known, n in zip(said.shape, y.shape, strict=True)), place
        if said.kind == "float":
            assert scale_error(y, right, dtype) <= LIMIT, f"{place}: E {scale_error(y, right, dtype):.1f}"
        else:
            np.testing.assert_array_equal(y, right, err_msg=place)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Backend:
    pytest.importorskip(request.param)
    return plugins.get(f"{request.param}:cpu")


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_row_agrees_with_the_reference(engine: Backend, case: Case, dtype: str) -> None:
    weights, inputs = entering(engine, case, dtype)
    kernels = rows(engine, case, dtype)
    assert kernels
    for kernel in kernels:
        outputs = runner(engine, case, kernel, dtype)(weights, *inputs)
        judge(case, [engine.numpy(y) for y in outputs], dtype, f"{engine.name} {kernel.name}")


def open_tensors(case: Case) -> tuple[Tensor | None, ...]:
    """The inputs with batch and time open, or the batch alone where the op must know the second length."""
    try:
        tensors = case.tensors(2)
        case.op.infer(*tensors)
        case.op.inventory(*tensors)
        return tensors
    except SpecError:
        return case.tensors(1)


@pytest.fixture
def tensorflow() -> Any:
    return pytest.importorskip("tensorflow")


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_tensorflow_agrees_in_a_graph_whose_lengths_are_open(tensorflow: Any, case: Case) -> None:
    tf, backend = tensorflow, plugins.get("tensorflow:cpu")
    types = {"float": tf.float32, "int": tf.int32, "bool": tf.bool}
    weights, inputs = entering(backend, case, "float32")
    specs = {port: tf.TensorSpec(w.shape, w.dtype) for port, w in weights.items()}
    for kernel, tensors in itertools.product(rows(backend, case, "float32"), {case.tensors(1), open_tensors(case)}):
        given = [None if t is None else tf.TensorSpec(t.shape, types[t.kind]) for t in tensors]
        traced = tf.function(runner(backend, case, kernel, "float32"), autograph=False)
        graph = traced.get_concrete_function(specs, *given)
        for y, declared in zip(graph.outputs, case.op.infer(*tensors), strict=True):
            kept = [n for n, said in zip(y.shape, declared.shape, strict=True) if said is not None]
            known = [said for said in declared.shape if said is not None]
            assert kept == known, f"{case.op} forgets a length: {y.shape}, expected {declared.shape}"
        outputs = [backend.numpy(y) for y in traced(weights, *inputs)]
        judge(case, outputs, "float32", f"graph {kernel.name}")


def test_every_op_has_a_case() -> None:
    assert {type(case.op) for case in CASES} == set(Op.registry.values())


def test_every_row_of_every_table_is_judged(engine: Backend) -> None:
    judged = {(type(case.op), kernel.name) for case in CASES for kernel in rows(engine, case, "float32")}
    assert judged == {(op, kernel.name) for op, table in engine.kernels.items() for kernel in table}


def test_torch_makes_everything_on_the_device_of_its_inputs() -> None:
    """On the device that holds no numbers: whatever a kernel made elsewhere would not go with its inputs."""
    torch = pytest.importorskip("torch")
    backend = plugins.get("torch:cpu")
    for case in CASES:
        weights, inputs = entering(backend, case, "float32")
        weights = {port: w.to("meta") for port, w in weights.items()}
        inputs = [None if x is None else x.to("meta") for x in inputs]
        for kernel in rows(backend, case, "float32"):
            if kernel.name != "packed":  # it asks the mask how much there is to do
                outputs = runner(backend, case, kernel, "float32")(weights, *inputs)
                assert {y.device for y in outputs} == {torch.device("meta")}, f"{case.op} {kernel.name}"
