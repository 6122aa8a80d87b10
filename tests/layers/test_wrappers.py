"""Bidirectional is two runs merged; TimeDistributed is its layer at each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import InputError, SpecError, WeightsError
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    GRUCell,
    Input,
    LayerNormalization,
    LSTMCell,
    Masking,
    MaxPooling1D,
    Permute,
    Rescaling,
    Reshape,
    SimpleRNN,
    Softmax,
    TimeDistributed,
    deserialize,
    serialize,
)
from lstmcore.models import Model, Sequential

BACKENDS = ("numpy", "torch", "tensorflow")
RNG = np.random.default_rng(13)
X = RNG.normal(size=(3, 5, 4)).astype(np.float32)
COUNTS = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
DEEP = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)


def close(got: Any, expected: Any) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def copied(layer: Any, weights: list[np.ndarray], **changes: Any) -> Any:
    """A layer with these options changed and these weights."""
    made = type(layer).from_config({**layer.get_config(), **changes})
    made.build((3, 5, 4))
    made.set_weights(weights)
    return made


# Bidirectional

RECURRENT = {
    "lstm": lambda **o: LSTM(3, **o),
    "gru": lambda **o: GRU(3, **o),
    "simple": lambda **o: SimpleRNN(3, **o),
    "cell": lambda **o: RNN(GRUCell(3), **o),
    "cells": lambda **o: RNN([LSTMCell(2), GRUCell(3)], **o),
}
MERGES = {
    "concat": lambda f, b: np.concatenate([f, b], -1),
    "sum": lambda f, b: f + b,
    "ave": lambda f, b: (f + b) / 2,
    "mul": lambda f, b: f * b,
}


def filled(layer: Any, x: np.ndarray = X) -> Any:
    """The layer, built, with asymmetric weights."""
    layer(x)
    r = np.random.default_rng(3)
    layer.set_weights([r.normal(scale=0.5, size=w.shape) for w in layer.get_weights()])
    layer.reset_states()
    return layer


def two_runs(both: Any, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of the forward and the backward layer, in order of time, by layers of their own."""
    weights = both.get_weights()
    half = len(both.forward_layer.weights)
    sequences = {"return_state": False, "zero_output_for_mask": both.return_sequences}
    forward = copied(both.layer, weights[:half], **sequences)(X, mask=mask)
    backward = copied(both.backward_layer, weights[half:], **sequences)(X, mask=mask)
    return forward, backward[:, ::-1] if both.return_sequences else backward


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("merge", [*MERGES, None])
@pytest.mark.parametrize("kind", RECURRENT)
def test_it_is_two_runs_merged(kind: str, merge: str | None, sequences: bool, masked: bool) -> None:
    both = filled(Bidirectional(RECURRENT[kind](return_sequences=sequences), merge_mode=merge))
    mask = COUNTS if masked else None
    forward, backward = two_runs(both, mask)
    for backend in BACKENDS:
        with lc.use_backend(backend):
            y = both(X, mask=mask)
        if merge is None:
            close(y[0], forward), close(y[1], backward)
        else:
            close(y, MERGES[merge](forward, backward))


def test_the_backward_run_equals_the_forward_run_over_time_reversed() -> None:
    both = filled(Bidirectional(LSTM(3, return_sequences=True), merge_mode=None))
    weights = both.get_weights()
    both.set_weights([*weights[3:], *weights[:3]])
    forward, backward = both(X)
    both.set_weights(weights)
    again, other = both(X[:, ::-1].copy())
    close(backward, again[:, ::-1]), close(forward, other[:, ::-1])


def test_a_layer_that_goes_backwards_has_a_backward_layer_that_does_not() -> None:
    both = filled(Bidirectional(GRU(3, go_backwards=True, return_sequences=True), merge_mode=None))
    assert both.layer.go_backwards and not both.backward_layer.go_backwards
    weights = both.get_weights()
    first, second = both(X)
    close(first, copied(both.layer, weights[:3])(X))
    close(second, copied(both.backward_layer, weights[3:])(X)[:, ::-1])


def test_a_backward_layer_of_its_own() -> None:
    back = GRU(2, go_backwards=True, return_sequences=True, activation="relu", name="mine")
    both = filled(Bidirectional(LSTM(3, return_sequences=True), backward_layer=back, name="both"))
    assert (both.layer.name, both.backward_layer.name) == ("forward_lstm", "mine")
    assert list(both.weights) == [
        *(f"forward/{name}" for name in ("kernel", "recurrent_kernel", "bias")),
        *(f"backward/{name}" for name in ("kernel", "recurrent_kernel", "bias")),
    ]
    forward, backward = two_runs(both)
    close(both(X), np.concatenate([forward, backward], -1))
    back(X)
    taken = Bidirectional(LSTM(2, return_sequences=True), merge_mode="sum", backward_layer=back)
    taken(X)
    assert all(np.array_equal(a, b) for a, b in zip(taken.get_weights()[3:], back.get_weights(), strict=True))


def test_the_layer_given_keeps_its_weights_to_itself() -> None:
    layer = LSTM(2)
    layer(X)
    before = layer.get_weights()
    both = filled(Bidirectional(layer))
    assert all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), before, strict=True))
    assert both.layer is not layer and layer.name is None


@pytest.mark.parametrize("kind", RECURRENT)
def test_states_out_and_in(kind: str) -> None:
    both = filled(Bidirectional(RECURRENT[kind](return_state=True)))
    y, *states = both(X)
    count = len(both.layer.state_shapes())
    assert len(states) == 2 * count
    again, *_ = both(X, initial_state=states)
    weights, half = both.get_weights(), len(both.layer.weights)
    forward = copied(both.layer, weights[:half])(X, initial_state=states[:count])
    backward = copied(both.backward_layer, weights[half:])(X, initial_state=states[count:])
    close(again, np.concatenate([forward[0], backward[0]], -1))
    assert not np.allclose(again, y)


def test_states_go_on_in_a_graph() -> None:
    x, z = Input((None, 4)), Input((None, 4))
    _, *states = Bidirectional(LSTM(3, return_state=True))(x)
    y = Bidirectional(LSTM(3, return_sequences=True))(z, initial_state=states)
    model = Model([x, z], y)
    comparison = lc.compare(model, [X, X])
    assert comparison.ok, str(comparison)
    assert not np.allclose(model.predict([X, X]), model.predict([0 * X, X]))


def test_stateful() -> None:
    both = filled(Bidirectional(GRU(2, stateful=True)))
    first, second = both(X), both(X)
    assert not np.allclose(first, second)
    both.reset_states()
    assert np.array_equal(both(X), first)
    weights = both.get_weights()
    forward, backward = copied(both.layer, weights[:3]), copied(both.backward_layer, weights[3:])
    for expected in (first, second):
        close(np.concatenate([forward(X), backward(X)], -1), expected)
    model = Sequential([Input(batch_shape=(3, 5, 4)), Bidirectional(GRU(2, stateful=True))])
    model.set_weights(weights)
    close(model.predict(X), first), close(model.predict(X), second)
    model.reset_states()
    close(model.predict(X), first)


@pytest.mark.parametrize("merge", [*MERGES, None])
def test_its_config_and_files(merge: str | None, tmp_path: Path) -> None:
    back = RNN([GRUCell(3)], go_backwards=True, return_sequences=True)
    both = Bidirectional(LSTM(3, return_sequences=True), merge_mode=merge, backward_layer=back, name="both")
    assert deserialize(serialize(both)).get_config() == both.get_config()
    x = Input((None, 4))
    model = Model(x, both(x))
    model.save(tmp_path / "model.safetensors")
    again = lc.load_model(tmp_path / "model.safetensors")
    assert list(again.weights) == list(model.weights)
    for a, b in zip(np.atleast_1d(again.predict(X)), np.atleast_1d(model.predict(X)), strict=True):
        assert np.array_equal(a, b)


def test_weights_given() -> None:
    weights = filled(Bidirectional(LSTM(2))).get_weights()
    both = Bidirectional(LSTM(2), weights=weights)
    both(X)
    assert all(np.array_equal(a, b) for a, b in zip(both.get_weights(), weights, strict=True))
    with pytest.raises(WeightsError, match="expected a list of 6 arrays"):
        Bidirectional(LSTM(2), weights=weights[:3])(X)


def test_a_mask_goes_on_where_sequences_do() -> None:
    x = Masking()(Input((5, 4)))
    assert Bidirectional(LSTM(2, return_sequences=True))(x).mask == (None, 5)
    assert Bidirectional(LSTM(2))(x).mask is None
    apart = Bidirectional(LSTM(2, return_sequences=True, return_state=True), merge_mode=None)(x)
    assert [y.mask for y in apart] == [(None, 5)] * 2 + [None] * 4


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Bidirectional(Dense(2)), r"layer is Dense\(units=2\); expected LSTM, GRU, SimpleRNN or RNN"),
        (lambda: Bidirectional(LSTMCell(2)), "expected LSTM, GRU, SimpleRNN or RNN"),
        (lambda: Bidirectional(Bidirectional(LSTM(2))), "expected LSTM, GRU, SimpleRNN or RNN"),
        (lambda: Bidirectional(Sequential([LSTM(2)])), "expected LSTM, GRU, SimpleRNN or RNN"),
        (lambda: Bidirectional(LSTM), "expected a layer"),
        (lambda: Bidirectional(None), "expected a layer"),
        (lambda: Bidirectional(LSTM(2), merge_mode="add"), "merge_mode is 'add'; expected one of 'concat', 'sum'"),
        (lambda: Bidirectional(LSTM(2), merge_mode=0), "merge_mode is 0"),
        (lambda: Bidirectional(LSTM(2), backward_layer=Dense(2)), "backward_layer is Dense"),
        (lambda: Bidirectional(LSTM(2), backward_layer=LSTM(2)), "must have go_backwards, the other not"),
        (
            lambda: Bidirectional(LSTM(2), backward_layer=LSTM(2, go_backwards=True, return_state=True)),
            "must have one return_state",
        ),
        (
            lambda: Bidirectional(LSTM(2), "sum", backward_layer=LSTM(3, go_backwards=True), name="it")(Input((5, 4))),
            r"Bidirectional 'it': 'sum' needs outputs of one shape; \(None, 2\) and \(None, 3\) differ",
        ),
        (
            lambda: Bidirectional(LSTM(2), name="it")(Input((5, 4)), initial_state=[Input((2,))] * 2),
            "Bidirectional 'it': initial_state has 2 entries; expected the 2 of the forward layer, then the 2",
        ),
        (lambda: Bidirectional(LSTM(2), name="it")(Input((4,))), "Bidirectional 'it'"),
        (lambda: Bidirectional(LSTM(2, stateful=True), name="it")(Input((5, 4))), "fixed batch size"),
    ],
)
def test_what_bidirectional_refuses(make: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()


# TimeDistributed

INNER: dict[str, tuple[Any, np.ndarray]] = {
    "dense": (lambda: Dense(2, activation="tanh"), DEEP[:, :, 0]),
    "dense on 4-D": (lambda: Dense(2), DEEP),
    "conv": (lambda: Conv1D(2, 3, padding="causal"), DEEP),
    "conv valid": (lambda: Conv1D(2, 3, strides=2), DEEP),
    "lstm": (lambda: LSTM(3), DEEP),
    "gru sequences": (lambda: GRU(3, return_sequences=True), DEEP),
    "rnn backwards": (lambda: RNN([GRUCell(2), LSTMCell(3)], go_backwards=True), DEEP),
    "bidirectional": (lambda: Bidirectional(SimpleRNN(2)), DEEP),
    "flatten": (lambda: Flatten(), DEEP),
    "permute": (lambda: Permute((2, 1)), DEEP),
    "reshape": (lambda: Reshape((-1, 2)), DEEP),
    "pool": (lambda: MaxPooling1D(2), DEEP),
    "average": (lambda: GlobalAveragePooling1D(), DEEP),
    "softmax": (lambda: Softmax(axis=1), DEEP),
    "norm": (lambda: LayerNormalization(axis=[1, 2]), DEEP),
    "batch norm": (lambda: BatchNormalization(moving_mean_initializer="ones"), DEEP),
    "rescaling": (lambda: Rescaling(2.0, [1.0, 2, 3, 4]), DEEP),
    "embedding": (lambda: Embedding(5, 2), RNG.integers(0, 5, (2, 3, 4))),
    "apart again": (lambda: TimeDistributed(Dense(2)), DEEP),
    "twice apart": (lambda: TimeDistributed(LSTM(2)), RNG.normal(size=(2, 3, 2, 5, 4)).astype(np.float32)),
    "dropout": (lambda: Dropout(0.5), DEEP),
    "chain": (lambda: Sequential([Conv1D(2, 2), LSTM(3, return_sequences=True), GRU(2)]), DEEP),
    "graph": (lambda: _graph(), DEEP),
}


def _graph() -> Model:
    x = Input((5, 4))
    y, state = GRU(2, return_sequences=True, return_state=True)(x)
    return Model(x, SimpleRNN(2)(y, initial_state=state))


@pytest.mark.parametrize("kind", INNER)
def test_it_is_the_layer_at_each_step(kind: str, tmp_path: Path) -> None:
    make, x = INNER[kind]
    shape = (None, *x.shape[2:])
    wrapped = TimeDistributed(make())
    model = Sequential([Input(shape, dtype="int32" if x.dtype.kind == "i" else None), wrapped])
    r = np.random.default_rng(3)
    model.set_weights([np.abs(r.normal(scale=0.5, size=w.shape)) for w in model.get_weights()])
    inner = wrapped.layer
    expected = np.stack([inner(x[:, t]) for t in range(x.shape[1])], 1)
    for backend in BACKENDS:
        close(model.predict(x, backend=backend), expected)
    model.save(tmp_path / "model.safetensors")
    again = lc.load_model(tmp_path / "model.safetensors")
    assert list(again.weights) == list(model.weights)
    assert np.array_equal(again.predict(x, backend="numpy"), model.predict(x, backend="numpy"))


def test_several_outputs() -> None:
    y, h, c = TimeDistributed(LSTM(2, return_state=True))(DEEP)
    assert y.shape == h.shape == c.shape == (2, 3, 2) and np.array_equal(y, h)
    x = Input((5, 4))
    both = Model(x, {"last": LSTM(2)(x), "all": GRU(3, return_sequences=True)(x)})
    made = TimeDistributed(both)(Input((None, 5, 4)))
    assert {key: tensor.shape for key, tensor in made.items()} == {"last": (None, None, 2), "all": (None, None, 5, 3)}


def test_the_state_within_a_step_outlives_no_step() -> None:
    inner = LSTM(2, stateful=True)
    model = Sequential([Input(batch_shape=(2, 3, 5, 4)), TimeDistributed(inner)])
    first = model.predict(DEEP)
    assert np.array_equal(model.predict(DEEP), first)
    assert not model.program.carries


def test_a_mask_of_steps_goes_on_and_has_no_effect_inside() -> None:
    x = Input((5, 4))
    y = TimeDistributed(Dense(3))(Masking()(x))
    assert y.mask == (None, 5)
    model = Model(x, LSTM(2)(y))
    gaps = np.where(COUNTS[..., None], X, 0).astype(np.float32)
    dense, lstm = (layer for layer in model.layers if layer.weights)
    close(model.predict(gaps), lstm(dense(gaps), mask=COUNTS))


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_a_mask_within_the_steps_masks_them(kind: Any) -> None:
    mask = RNG.random((2, 3, 5)) < 0.6
    mask[0, 0] = False
    wrapped = TimeDistributed(kind(2, return_sequences=True))
    found = wrapped(DEEP, mask=mask)
    for t in range(3):
        close(found[:, t], wrapped.layer(DEEP[:, t], mask=mask[:, t]))
    ids = np.where(mask, 1, 0)
    tokens = Input((3, 5), dtype="int32")
    model = Model(tokens, TimeDistributed(kind(2))(Embedding(3, 4, mask_zero=True)(tokens)))
    embedding, distributed = (layer for layer in model.layers if layer.weights)
    for backend in BACKENDS:
        y = model.predict(ids, backend=backend)
        for t in range(3):
            close(y[:, t], distributed.layer(embedding(ids[:, t]), mask=mask[:, t]))


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: TimeDistributed("Dense"), SpecError, "layer is 'Dense'; expected a layer"),
        (lambda: TimeDistributed(Dense), SpecError, "expected a layer"),
        (lambda: TimeDistributed(Dense(2), name="it")(Input((4,))), SpecError, "'it': expected .batch, time, ..."),
        (lambda: TimeDistributed(Dense(2))(X[:, 0]), InputError, "expected .batch, time, ..."),
        (lambda: TimeDistributed(LSTM(2), name="it")(Input((5, 4))), SpecError, "'it'.*2 axes.*batch, time, features"),
        (lambda: TimeDistributed(Dense(2), name="it")([Input((5, 4))] * 2), SpecError, "'it': it takes one tensor"),
        (lambda: TimeDistributed(Dense(2), name="it")(Input((None, None))), SpecError, "'it'.*known length"),
    ],
)
def test_what_time_distributed_refuses(make: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        make()


def test_wrapper_and_wrapped_compute_in_one_dtype() -> None:
    deep = DEEP.astype(np.float64)
    for wrapper in (
        TimeDistributed(Dense(2, dtype="float64")),
        TimeDistributed(Dense(2), dtype="float64"),
        TimeDistributed(Bidirectional(RNN([LSTMCell(2), GRUCell(2)])), dtype="float64"),
    ):
        assert wrapper(deep).dtype == np.float64
        assert {w.dtype.name for w in wrapper.get_weights()} == {"float64"}
    inner = Sequential([Input((5, 4)), LSTM(2)])
    with pytest.raises(SpecError, match="have dtypes"):
        TimeDistributed(inner, dtype="float64")


def test_config_of_what_is_inside() -> None:
    wrapped = TimeDistributed(Bidirectional(LSTM(2, name="deep"), merge_mode="mul"), name="outer")
    assert deserialize(serialize(wrapped)).get_config() == wrapped.get_config()
    assert TimeDistributed(Activation("relu")).layer.name == "activation"
