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
NAMES = {"torch": "loop with its backward", "tensorflow": "while with its backward"}
OPS = {"torch": (ops.Lstm, ops.Gru), "tensorflow": (ops.Lstm, ops.Gru, ops.SimpleRnn)}
CASES = [(name, op) for name, own in OPS.items() for op in own]
FORMS = [(name, op, {}) for name, op in CASES] + [(name, ops.Gru, {"reset_after": False}) for name in OPS]


def gates(op: type[ops.Recurrent], *functions: str) -> dict[str, Function]:
    options = ("activation",) if op is ops.SimpleRnn else ("activation", "recurrent_activation")
    return {option: Function(name) for option, name in zip(options, functions, strict=False)}


def loss_of(op: ops.Recurrent) -> tuple[Program, str]:
    """All outputs, each number weighed differently, and summed. x and the first states are sums with weights, so that
    the gradients of these tell theirs."""
    build = Builder()

    def entering(name: str, *shape: int | None) -> Any:
        given = build.input(name, (None, *shape))
        with build.scope("added"):
            return (Term(build, given) + Term(build, build.weight(name, (BATCH, *(n or STEPS for n in shape))))).value

    x, states = entering("x", None, FEATURES), [entering(state, UNITS) for state in op.states]
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


def both(name: str, op: ops.Recurrent, dtype: str) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    program, loss = loss_of(op)
    backend, numpy = plugins.get(name), plugins.get("numpy")
    (kernel,) = (kernel for kernel in backend.kernels[type(op)] if kernel.name == NAMES[name])
    assert kernel.when(op, Facts((), False, dtype, "cpu", training=True))
    choices = with_kernel(choose(backend, program, dtype, training=True), kernel)
    exact = run(numpy, choose(numpy, program, "float64", training=True), program, loss, "float64")
    return run(backend, choices, program, loss, dtype), exact


def check(found: Any, exact: Any, limit: float) -> None:
    assert found.keys() == exact.keys()
    for name, array in exact.items():
        assert found[name].shape == array.shape
        assert np.abs(found[name] - array).max() <= limit * np.abs(array).max(), name


@pytest.mark.parametrize(("name", "op", "options"), FORMS)
def test_gradients_are_the_same_without_being_compiled(name: str, op: type[ops.Recurrent], options: Any) -> None:
    program, loss = loss_of(op(UNITS, **options))
    backend = plugins.get(name)
    choices = choose(backend, program, "float64", training=True)
    assert NAMES[name] in {choice.kernel.name for choice in choices} or (name, op) == ("torch", ops.Lstm)
    (_, graph), (_, eager) = (run(backend, choices, program, loss, "float64", compiled) for compiled in (True, False))
    for weight, gradient in graph.items():
        np.testing.assert_allclose(eager[weight], gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())


@pytest.mark.parametrize(("name", "op", "form"), FORMS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "functions", [("tanh", "sigmoid"), ("relu", "sigmoid"), ("sigmoid", "tanh"), ("linear", "relu")]
)
def test_values_and_gradients_are_the_references(
    name: str, op: type[Any], form: dict[str, bool], bias: bool, functions: tuple[str, str]
) -> None:
    node = op(UNITS, use_bias=bias, **gates(op, *functions), **form)
    (outputs, gradients), (exact_outputs, exact) = both(name, node, "float64")
    check(outputs, exact_outputs, 1e-13)
    check(gradients, exact, 1e-10)
    assert {key.rsplit("/")[-1] for key in gradients} >= {"x", "h", "kernel", "recurrent_kernel"}


@pytest.mark.parametrize(("name", "op"), CASES)
@pytest.mark.parametrize("function", ["tanh", "relu"])
def test_float32_stays_float32_and_as_close(name: str, op: type[Any], function: str) -> None:
    (outputs, gradients), (exact_outputs, exact) = both(name, op(UNITS, **gates(op, function, "sigmoid")), "float32")
    assert {array.dtype.name for array in (*outputs.values(), *gradients.values())} == {"float32"}
    check(outputs, exact_outputs, 2e-6)
    check(gradients, exact, 1e-5)


@pytest.mark.parametrize(("name", "op"), CASES)
def test_they_are_chosen_in_training_alone_without_a_mask_and_where_the_slope_follows_from_the_value(
    name: str, op: type[Any]
) -> None:
    backend = plugins.get(name)

    def chosen(node: ops.Recurrent, training: bool = True, masked: bool = False) -> str:
        facts = Facts((), masked, "float32", "cpu", training)
        return next(kernel.name for kernel in backend.kernels[op] if kernel.when(node, facts))

    relu = op(UNITS, **gates(op, "relu", "sigmoid"))
    assert chosen(relu) == NAMES[name]
    assert chosen(relu, training=False) != NAMES[name]
    assert chosen(relu, masked=True) != NAMES[name]
    assert chosen(op(UNITS, activation=Function("softsign"))) != NAMES[name]
    assert chosen(op(UNITS, activation=Function("relu", (("max_value", 1.0),)))) != NAMES[name]


def test_torch_takes_its_fused_kernels_in_training_where_they_are_faster() -> None:
    kernels = plugins.get("torch").kernels

    def chosen(node: ops.Recurrent, device: str) -> str:
        facts = Facts((), False, "float32", device, training=True)
        return next(kernel.name for kernel in kernels[type(node)] if kernel.when(node, facts))

    assert [chosen(ops.Lstm(UNITS), device) for device in ("cpu", "cuda:0")] == ["fused", "fused"]
    assert [chosen(ops.Gru(UNITS), device) for device in ("cpu", "cuda:0")] == [NAMES["torch"], "fused"]
    assert chosen(ops.Gru(UNITS, reset_after=False), "cuda:0") == NAMES["torch"]
