"""The kernels that only training chooses: their numbers and gradients are the reference's; and when they are chosen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lstmcore import ops, plugins
from lstmcore.activations import Function
from lstmcore.contract import Backend, Choice, Facts, choose
from lstmcore.formulas import Term
from lstmcore.program import Builder, Program

BATCH, STEPS, FEATURES, UNITS = 3, 5, 2, 4
NAMES = {
    "torch": ("loop with its backward",),
    "tensorflow": (
        "unrolled in halves with its backward",
        "unrolled with its backward",
        "while with its backward",
    ),
}
OPS = {"torch": (ops.Lstm, ops.Gru), "tensorflow": (ops.Lstm, ops.Gru, ops.SimpleRnn)}
ROWS = [(name, row) for name, rows in NAMES.items() for row in rows]
CASES = [(name, row, op) for name, row in ROWS for op in OPS[name]]
FORMS = [(*case, {}) for case in CASES] + [(*row, ops.Gru, {"reset_after": False}) for row in ROWS]


def gates(op: type[ops.Recurrent], *functions: str) -> dict[str, Function]:
    options = ("activation",) if op is ops.SimpleRnn else ("activation", "recurrent_activation")
    return {option: Function(name) for option, name in zip(options, functions, strict=False)}


def loss_of(op: ops.Recurrent, steps: int | None = None) -> tuple[Program, str]:
    """All outputs, each number weighed differently, and summed. x and the first states are sums with weights, so that
    the gradients of these tell theirs."""
    build = Builder()

    def entering(name: str, *shape: int | None) -> Any:
        given = build.input(name, (None, *shape))
        with build.scope("added"):
            return (Term(build, given) + Term(build, build.weight(name, (BATCH, *(n or STEPS for n in shape))))).value

    x, states = entering("x", steps, FEATURES), [entering(state, UNITS) for state in op.states]
    with build.scope("layer"):
        outputs = build.op(op, x, *states)
    weighed = [
        Term(build, y) * Term(build, build.input(f"weigh {k}", (None, *y.shape[1:]))) for k, y in enumerate(outputs)
    ]
    terms = [term.total() for term in weighed]
    total = sum(terms[1:], start=terms[0])
    return build.finish([total.value.name, *(y.name for y in outputs)]), total.value.name


def numbers(program: Program) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(11)
    weights = {name: rng.normal(0, 0.6, shape) for name, shape in program.weights.items()}
    shapes = {name: program.values[name].shape for name in program.inputs}
    values = {name: rng.normal(size=[BATCH, *(n or STEPS for n in s[1:])]) for name, s in shapes.items()}
    return weights, values


def run(
    backend: Backend, choices: tuple[Choice, ...], program: Program, loss: str, dtype: str, compiled: bool = True
) -> tuple[Any, Any]:
    weights, values = numbers(program)
    function = backend.differentiate(program, choices, loss, tuple(weights))
    if compiled:
        function = backend.compile(function, (program.weight_tensors, program.entering_tensors), dtype)
    given = [{n: backend.tensor(a.astype(dtype)) for n, a in group.items()} for group in (weights, values)]
    outputs, _, gradients = function(*given)
    return tuple({n: backend.numpy(tensor) for n, tensor in group.items()} for group in (outputs, gradients))  # type: ignore[return-value]


def with_kernel(choices: tuple[Choice, ...], kernel: Any) -> tuple[Choice, ...]:
    return tuple(
        dataclasses.replace(choice, kernel=kernel) if isinstance(choice.node.op, ops.Recurrent) else choice
        for choice in choices
    )


def chosen(backend: Backend, row: str, op: ops.Recurrent, program: Program, dtype: str) -> tuple[Choice, ...]:
    """The choices for the program, its recurrent op on the row of that name, which it must fit."""
    (kernel,) = (kernel for kernel in backend.kernels[type(op)] if kernel.name == row)
    choices = choose(backend, program, dtype, training=True)
    (own,) = (choice.node for choice in choices if isinstance(choice.node.op, ops.Recurrent))
    given = tuple(None if name is None else program.values[name] for name in own.inputs)
    assert kernel.when(op, Facts(given, False, dtype, "cpu", training=True))
    return with_kernel(choices, kernel)


def both(name: str, row: str, op: ops.Recurrent, dtype: str) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    program, loss = loss_of(op, STEPS)
    backend, numpy = plugins.get(name), plugins.get("numpy")
    exact = run(numpy, choose(numpy, program, "float64", training=True), program, loss, "float64")
    return run(backend, chosen(backend, row, op, program, dtype), program, loss, dtype), exact


def check(found: Any, exact: Any, limit: float) -> None:
    assert found.keys() == exact.keys()
    for name, array in exact.items():
        assert found[name].shape == array.shape
        assert np.abs(found[name] - array).max() <= limit * np.abs(array).max(), name


@pytest.mark.parametrize(("name", "row", "op", "options"), FORMS)
def test_gradients_are_the_same_without_being_compiled(
    name: str, row: str, op: type[ops.Recurrent], options: Any
) -> None:
    node = op(UNITS, **options)
    program, loss = loss_of(node, STEPS)
    backend = plugins.get(name)
    choices = chosen(backend, row, node, program, "float64")
    (_, graph), (_, eager) = (run(backend, choices, program, loss, "float64", compiled) for compiled in (True, False))
    for weight, gradient in graph.items():
        np.testing.assert_allclose(eager[weight], gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())


@pytest.mark.parametrize(("name", "row", "op", "form"), FORMS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "functions", [("tanh", "sigmoid"), ("relu", "sigmoid"), ("sigmoid", "tanh"), ("linear", "relu")]
)
def test_values_and_gradients_are_the_references(
    name: str, row: str, op: type[Any], form: dict[str, bool], bias: bool, functions: tuple[str, str]
) -> None:
    node = op(UNITS, use_bias=bias, **gates(op, *functions), **form)
    (outputs, gradients), (exact_outputs, exact) = both(name, row, node, "float64")
    check(outputs, exact_outputs, 1e-13)
    check(gradients, exact, 1e-10)
    assert {key.rsplit("/")[-1] for key in gradients} >= {"x", "h", "kernel", "recurrent_kernel"}


@pytest.mark.parametrize(("name", "row", "op"), CASES)
@pytest.mark.parametrize("function", ["tanh", "relu"])
def test_float32_stays_float32_and_as_close(name: str, row: str, op: type[Any], function: str) -> None:
    (outputs, gradients), (exact_outputs, exact) = both(
        name, row, op(UNITS, **gates(op, function, "sigmoid")), "float32"
    )
    assert {array.dtype.name for array in (*outputs.values(), *gradients.values())} == {"float32"}
    check(outputs, exact_outputs, 2e-6)
    check(gradients, exact, 1e-5)


def first(name: str, op: ops.Recurrent, steps: int | None = STEPS, **facts: Any) -> str:
    """The name of the row that a backend takes."""
    x = ops.Tensor((None, steps, FEATURES))
    known = Facts((x,), **{"masked": False, "dtype": "float32", "device": "cpu", "training": True, **facts})
    return next(kernel.name for kernel in plugins.get(name).kernels[type(op)] if kernel.when(op, known))


@pytest.mark.parametrize(("name", "op"), [(name, op) for name, own in OPS.items() for op in own])
def test_they_are_chosen_in_training_alone_without_a_mask_and_where_the_slope_follows_from_the_value(
    name: str, op: type[Any]
) -> None:
    relu = op(UNITS, **gates(op, "relu", "sigmoid"))
    assert first(name, relu) in NAMES[name]
    assert first(name, relu, training=False) not in NAMES[name]
    assert first(name, relu, masked=True) not in NAMES[name]
    assert first(name, op(UNITS, activation=Function("softsign"))) not in NAMES[name]
    assert first(name, op(UNITS, activation=Function("relu", (("max_value", 1.0),)))) not in NAMES[name]


@pytest.mark.parametrize("op", OPS["tensorflow"])
def test_tensorflow_unrolls_few_steps_in_halves_where_it_has_threads(
    op: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    halves, unrolled, loop = NAMES["tensorflow"]
    monkeypatch.setattr("lstmcore_tensorflow.trained._threads", lambda: 2)
    assert [first("tensorflow", op(UNITS), steps) for steps in (None, 0, 1, 32, 33)] == [
        loop,
        loop,
        halves,
        halves,
        loop,
    ]
    assert first("tensorflow", op(UNITS), device="gpu:0") == unrolled
    monkeypatch.setattr("lstmcore_tensorflow.trained._threads", lambda: 1)
    assert first("tensorflow", op(UNITS)) == unrolled


def test_torch_takes_its_fused_kernels_in_training_where_they_are_faster() -> None:
    (loop,) = NAMES["torch"]
    assert [first("torch", ops.Lstm(UNITS), device=device) for device in ("cpu", "cuda:0")] == ["fused", "fused"]
    assert [first("torch", ops.Gru(UNITS), device=device) for device in ("cpu", "cuda:0")] == [loop, "fused"]
    assert first("torch", ops.Gru(UNITS, reset_after=False), device="cuda:0") == loop
