"""Which kernel is chosen, that every candidate agrees, and that nothing is compiled twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lstmcore_conformance import suite

from lstmcore import ops, plugins
from lstmcore.contract import Backend, Facts, Kernel
from lstmcore.layers import GRU, LSTM, Dense, Embedding, Input, SimpleRNN
from lstmcore.layers.base import Layer
from lstmcore.models import Sequential
from lstmcore.program import interpret
from lstmcore.runtime import session
from lstmcore.runtime.compare import LIMIT, scale_error

RNG = np.random.default_rng(5)


def model_of(layer: Layer, shape: tuple[int | None, ...] = (7, 3)) -> Sequential:
    model = Sequential([Input(shape), layer])
    model.set_weights([RNG.normal(0, 0.6, w.shape) for w in model.get_weights()])
    return model


def chosen(layer: Layer, backend: str = "torch") -> str:
    return model_of(layer).explain(backend).kernels[str(layer.name)]


def test_torch_uses_its_fused_kernels_where_the_formula_is_ours() -> None:
    assert chosen(LSTM(4)) == "fused"
    assert chosen(GRU(4)) == "fused"
    assert chosen(SimpleRNN(4)) == "fused"
    assert chosen(SimpleRNN(4, "relu")) == "fused"


@pytest.mark.parametrize(
    "layer",
    [
        lambda: LSTM(4, "relu"),
        lambda: LSTM(4, recurrent_activation="hard_sigmoid"),
        lambda: GRU(4, reset_after=False),
        lambda: GRU(4, "relu"),
        lambda: SimpleRNN(4, "sigmoid"),
        lambda: SimpleRNN(4, {"name": "relu", "max_value": 1.0}),
    ],
)
def test_torch_loops_elsewhere(layer: Any) -> None:
    assert chosen(layer()) == "loop"


def test_a_mask_takes_the_packed_kernel_and_explain_says_why() -> None:
    model = Sequential([Input((5,)), Embedding(9, 3, mask_zero=True), LSTM(4)])
    explanation = model.explain("torch")
    assert explanation.kernels["lstm"] == "packed"
    assert "holds: activation tanh, recurrent_activation sigmoid, a mask" in str(explanation)
    assert "not 'fused': needs activation tanh, recurrent_activation sigmoid, no mask" in str(explanation)


@pytest.mark.parametrize("layer", [lambda: LSTM(4, "relu"), lambda: GRU(4, reset_after=False)])
def test_a_mask_takes_the_loop_where_the_formula_is_not_torchs(layer: Any) -> None:
    model = Sequential([Input((5,)), Embedding(9, 3, mask_zero=True), recurrent := layer()])
    assert model.explain("torch").kernels[str(recurrent.name)] == "loop"


def forced(backend: Backend, op: type[ops.Op], kernel: Kernel) -> Backend:
    """The same backend with one kernel for an op."""
    table = {**backend.kernels, op: (kernel,)}
    return type("Forced", (type(backend),), {"kernels": table})(backend.device)


STANDARD = [(LSTM, ops.Lstm), (GRU, ops.Gru), (SimpleRNN, ops.SimpleRnn)]


@pytest.mark.parametrize("name", ["numpy", "torch", "tensorflow"])
@pytest.mark.parametrize(("layer", "op"), STANDARD, ids=lambda v: v.__name__)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("masked", [False, True])
def test_every_candidate_kernel_agrees_not_only_the_one_chosen(
    name: str, layer: type[Any], op: type[ops.Op], bias: bool, dtype: str, masked: bool
) -> None:
    backend = plugins.get(name)
    recurrent = layer(4, use_bias=bias, return_sequences=True, dtype=dtype)
    model = Sequential([Input((7,)), Embedding(9, 3, mask_zero=masked, dtype=dtype), recurrent])
    model.set_weights([RNG.normal(0, 0.6, w.shape) for w in model.get_weights()])
    ids = np.array([[0, 3, 0, 0, 8, 1, 0], [5, 6, 7, 1, 2, 2, 4], [0, 0, 0, 0, 0, 0, 0]])
    exact, _ = model.session("numpy", "float64").run({"input_layer": ids.astype("int32")})
    facts = Facts((ops.Tensor((None, 7, 3)),), masked, dtype, "cpu")
    candidates = [kernel for kernel in backend.kernels[op] if kernel.when(op(4, use_bias=bias), facts)]
    assert len(candidates) == (2 if name == "torch" else 1)
    for kernel in candidates:
        y = model.predict(ids, backend=forced(backend, op, kernel))
        assert y.dtype == dtype
        assert scale_error(y, exact[0], dtype) <= LIMIT, kernel.name


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows whenever a program is walked in Python: at every call on NumPy, at every trace on TensorFlow."""
    walked: list[object] = []

    def counted(*args: Any) -> Any:
        walked.append(args[0])
        return interpret(*args)

    monkeypatch.setattr(session, "interpret", counted)
    return walked


def test_tensorflow_traces_a_program_once_for_all_batches(traces: list[object]) -> None:
    model = Sequential([Input((6, 3)), LSTM(4), Dense(2)])
    for count in (1, 7, 32, 45, 100):
        model.predict(RNG.normal(size=(count, 6, 3)).astype("float32"), backend="tensorflow")
    assert len(traces) == 1
    model.predict(np.zeros((64, 6, 3), np.float32), backend="numpy")
    assert len(traces) == 3


def test_tensorflow_traces_once_for_all_lengths_where_time_is_open(traces: list[object]) -> None:
    model = Sequential([Input((None, 3)), LSTM(4, return_sequences=True)])
    for steps in (1, 2, 9, 30):
        y = model.predict(RNG.normal(size=(3, steps, 3)).astype("float32"), backend="tensorflow")
        assert y.shape == (3, steps, 4)
    assert len(traces) == 1


def test_new_weights_do_not_trace_again_and_do_arrive(traces: list[object]) -> None:
    model = model_of(LSTM(4))
    x = RNG.normal(size=(2, 7, 3)).astype("float32")
    before = model.predict(x, backend="tensorflow")
    model.set_weights([w * 1.5 for w in model.get_weights()])
    after = model.predict(x, backend="tensorflow")
    assert len(traces) == 1
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, model.predict(x, backend="numpy"), atol=1e-6)


def test_weights_go_to_the_device_once() -> None:
    model = model_of(LSTM(4))
    tensors = dict(model.session("torch")._weights)
    model.predict(RNG.normal(size=(2, 7, 3)).astype("float32"), backend="torch")
    assert all(model.session("torch")._weights[name] is tensor for name, tensor in tensors.items())


def test_prediction_leaves_its_input_and_the_weights_alone() -> None:
    x = RNG.normal(size=(2, 7, 3)).astype("float32")
    for name in ("numpy", "torch", "tensorflow"):
        model = model_of(LSTM(4))
        copy, weights = x.copy(), model.get_weights()
        y = model.predict(x, backend=name)
        y[...] = 0
        assert (x == copy).all()
        assert all((a == b).all() for a, b in zip(weights, model.get_weights(), strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", "tensorflow"])
def test_a_gpu_agrees(name: str) -> None:
    devices = plugins.load(name).devices()
    if devices[0] == "cpu":
        pytest.skip(f"no GPU that {name} can use on this machine")
    for layer in (LSTM(16, return_sequences=True), GRU(16), LSTM(16, "relu"), SimpleRNN(16)):
        model = model_of(layer, (20, 8))
        x = RNG.normal(size=(4, 20, 8)).astype("float32")
        exact, _ = model.session("numpy", "float64").run({"input_layer": x.astype("float64")})
        y = model.predict(x, backend=f"{name}:{devices[0]}")
        assert scale_error(y, exact[0], "float32") <= 64


def test_the_slow_path_passes_the_suite_too() -> None:
    """Where a fused kernel wins, the general one behind it is judged by itself."""
    torch = plugins.get("torch")
    general = {op: table[-1:] for op, table in torch.kernels.items()}
    slow = type("Slow", (type(torch),), {"kernels": general})(torch.device)
    results = list(suite.run(slow, suite.cases("smoke")))
    assert len(results) == len(suite.cases("smoke")) > 100
    assert [result.id for result in results if result.status != "passed"] == []
