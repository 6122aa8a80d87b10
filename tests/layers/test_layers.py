"""Layers by themselves: inventories, configs, refusals, and calls on arrays."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcore.errors import InputError, LstmcoreError, SpecError, WeightsError
from lstmcore.layers import (
    GRU,
    LSTM,
    Activation,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    InputLayer,
    Layer,
    SimpleRNN,
    deserialize,
    serialize,
)

X = np.random.default_rng(3).normal(size=(6, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("units", [0, -1, True, 2.5, "8", 2**40, float("nan"), None, [3]])
@pytest.mark.parametrize("kind", [Dense, LSTM, GRU, SimpleRNN])
def test_units(kind: Any, units: object) -> None:
    with pytest.raises(SpecError, match=rf"{kind.__name__}: units is .*expected a positive integer"):
        kind(units)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Dense(3, kernel_init="zeros"), "no option 'kernel_init'. Did you mean 'kernel_initializer'"),
        (lambda: SimpleRNN(3, recurrent_activation="relu"), "no option 'recurrent_activation'"),
        (lambda: LSTM(3, activation="tahn"), "LSTM: activation: unknown activation 'tahn'. Did you mean 'tanh'"),
        (lambda: LSTM(3, activation=np.tanh), "callable"),
        (lambda: LSTM(3, activation="glu"), "glu"),
        (lambda: LSTM(3, recurrent_activation="glu"), "glu"),
        (lambda: GRU(3, recurrent_activation="glu"), "glu"),
        (lambda: Activation(lambda x: x), "callable"),
        (lambda: Dense(3, activation={"name": "relu", "max_value": "six"}), "max_value"),
        (lambda: Dense(3, dtype="mixed_float16"), "mixed_float16.*expected 'float32' or 'float64'"),
        (lambda: Dense(3, dtype="float16"), "'float16'; expected"),
        (lambda: Dense(3, dtype=5), "dtype is 5"),
        (lambda: Dense(3, dtype={"class_name": "DTypePolicyMap", "config": {}}), "dtype"),
        (lambda: Dense(3, dtype={"class_name": "DTypePolicy", "config": {}}), "dtype"),
        (lambda: Dense(3, lora_rank=4), "lora_rank is 4.*no such feature"),
        (lambda: Dense(3, quantization_config="int8"), "no such feature"),
        (lambda: Dense(3, trainable=1), "trainable is 1; expected True or False"),
        (lambda: Dense(3, name="a/b"), "name is 'a/b'; expected a name without '/'"),
        (lambda: Dense(3, name=""), "name is ''"),
        (lambda: Dense(3, name=3), "name is 3"),
        (lambda: Dense(3, kernel_initializer="glorot"), "Did you mean .*'glorot_"),
        (lambda: Dense(3, kernel_initializer=np.zeros), "initializer"),
        (lambda: Dense(3, kernel_regularizer="l3"), "Unknown regularizer 'l3'"),
        (lambda: Dense(3, kernel_constraint="maxnorm"), "Did you mean .*'max_norm'"),
        (lambda: Dropout(1.5), "rate is 1.5; expected a number from 0 to 1"),
        (lambda: Dropout(-0.1), "rate"),
        (lambda: Dropout(True), "rate"),
        (lambda: Dropout("0.5"), "rate"),
        (lambda: Dropout(float("nan")), "rate"),
        (lambda: Dropout(0.5, seed=-1), "seed"),
        (lambda: Dropout(0.5, seed=2.5), "seed"),
        (lambda: Dropout(0.5, noise_shape=3), "noise_shape"),
        (lambda: Flatten("channels_middle"), "data_format is 'channels_middle'; expected one of 'channels_last'"),
        (lambda: LSTM(3, use_cudnn=1), "use_cudnn"),
        (lambda: LSTM(3, implementation=3), "implementation"),
        (lambda: LSTM(3, dropout=2), "dropout"),
        (lambda: Embedding(0, 3), "input_dim"),
        (lambda: Embedding(5, 3, weights=[np.ones((5, 4))]), r"expected one of shape \(5, 3\)"),
        (lambda: Embedding(5, 3, weights=np.ones((5, 3))), r"weights.*expected"),
        (lambda: Embedding(1, 1, weights=[[["a"]]]), "weights"),
        (lambda: Input(), "shape"),
        (lambda: Input((3,), batch_shape=(2, 3)), "give one of shape"),
        (lambda: Input((0,)), "shape is"),
        (lambda: Input((2.5,)), "shape is"),
        (lambda: Input("a"), "shape is"),
        (lambda: Input(batch_shape=()), "batch_shape"),
        (lambda: Input((3,), batch_size=0), "batch_size is 0; expected"),
        (lambda: Input((3,), batch_size=(2, 3)), "batch_size"),
        (lambda: Input((3,), dtype="string"), "dtype"),
        (lambda: Input((3,), sparse=True), "sparse"),
        (lambda: Input((3,), ragged=True), "ragged"),
        (lambda: Input((3,), optional=True), "optional"),
        (lambda: Dense(3, input_dim=-1), "input_dim is -1; expected"),
        (lambda: Dense(3).build(5), "5"),
        (lambda: Dense(3).build((None, 2.5)), "2.5"),
        (lambda: Dense(3).build((None,)), r"expected \(batch, ..., features\)"),
        (lambda: LSTM(3).build((None, 5)), r"\(batch, time, features\)"),
        (lambda: LSTM(3).compute_output_shape((None, 5)), r"\(batch, time, features\)"),
        (lambda: Dense(3).compute_output_shape(None), "None"),
        (lambda: Dense(3).compute_output_shape("abc"), "abc"),
        (lambda: Dense(2**31 - 1).build((None, 2**31 - 1)), "would not fit in any memory"),
        (lambda: Dense(3).count_params(), "no weights yet; call build"),
        (lambda: deserialize(None), "mapping"),
        (
            lambda: deserialize({"class_name": "Lambda", "config": {}, "module": "keras.layers"}),
            "a 'Lambda' layer is code",
        ),
        (lambda: deserialize({"class_name": "system", "config": {}, "module": "os"}), "'os' is not one of Keras' own"),
        (lambda: deserialize({"class_name": "Flatten", "config": {}, "module": "notkeras.layers"}), "notkeras"),
        (lambda: deserialize({"class_name": "Flatten", "config": {}, "module": "keras_evil"}), "keras_evil"),
        (lambda: deserialize({"class_name": "LSTM", "config": {"units": 3, "unitz": 4}}), "no config key 'unitz'"),
        (lambda: deserialize({"class_name": "LSTM", "config": {}}), "lacks units"),
        (lambda: Dense.from_config(None), "config"),  # type: ignore[arg-type]
    ],
)
def test_what_is_refused(make: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()


def test_a_layer_is_frozen_and_says_what_to_do() -> None:
    with pytest.raises(Exception, match=r"frozen|cannot assign") as caught:
        Dense(3).trainable = False  # type: ignore[misc]
    assert "trainable" in str(caught.value)


def test_the_repr_reads_like_the_call() -> None:
    assert repr(LSTM(3, activation="relu", name="a")) == "LSTM(name='a', units=3, activation='relu')"


# Weights


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Dense(4), (None, 5), {"kernel": (5, 4), "bias": (4,)}),
        (LSTM(4), (None, 9, 5), {"kernel": (5, 16), "recurrent_kernel": (4, 16), "bias": (16,)}),
        (GRU(4), (None, 9, 5), {"kernel": (5, 12), "recurrent_kernel": (4, 12), "bias": (2, 12)}),
        (GRU(4, reset_after=False), (None, 9, 5), {"kernel": (5, 12), "recurrent_kernel": (4, 12), "bias": (12,)}),
        (SimpleRNN(4, use_bias=False), (None, 9, 5), {"kernel": (5, 4), "recurrent_kernel": (4, 4)}),
        (Embedding(7, 3), (None, 9), {"embeddings": (7, 3)}),
        (Flatten(), (None, 9), {}),
        (Dropout(0.5), (None, 9), {}),
    ],
    ids=repr,
)
def test_inventories(layer: Layer, shape: Any, expected: dict[str, tuple[int, ...]]) -> None:
    assert layer.inventory(shape) == expected
    layer.build(shape)
    assert {name: array.shape for name, array in layer.weights.items()} == expected
    assert layer.count_params() == sum(int(np.prod(s)) for s in expected.values())


def test_the_forget_gate_starts_open() -> None:
    layer = LSTM(3)
    layer.build((None, 4, 5))
    assert layer.weights["bias"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    plain = LSTM(3, unit_forget_bias=False)
    plain.build((None, 4, 5))
    assert not plain.weights["bias"].any()


@pytest.mark.parametrize(
    "given",
    [
        [np.ones((5, 2))],
        [np.ones((2, 5)), np.ones(2)],
        [np.ones((5, 2), complex), np.ones(2)],
        [np.ones((5, 2), object), np.ones(2)],
        [np.full((5, 2), "1"), np.ones(2)],
        [[[1, 2], [3]], np.ones(2)],
        None,
        5,
        {"kernel": np.ones((5, 2)), "bias": np.ones(2)},
    ],
)
def test_weights_that_do_not_fit(given: Any) -> None:
    layer = Dense(2)
    layer.build((None, 5))
    before = layer.get_weights()
    with pytest.raises(WeightsError, match="expected"):
        layer.set_weights(given)
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


def test_weights_are_read_only_and_copied() -> None:
    layer = Dense(2)
    layer.build((None, 5))
    given = [np.ones((5, 2)), np.zeros(2)]
    layer.set_weights(given)
    given[0][:] = 9
    layer.get_weights()[0][:] = 7
    assert (layer.weights["kernel"] == 1).all()
    assert layer.weights["kernel"].dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        layer.weights["kernel"][0] = 1


# Calls on arrays


def test_a_call_builds_and_runs() -> None:
    layer = LSTM(3, return_sequences=True, return_state=True)
    y, h, c = layer(X)
    assert (y.shape, h.shape, c.shape) == ((6, 4, 3), (6, 3), (6, 3))
    assert np.array_equal(y[:, -1], h)
    assert layer.built


def test_states_start_it() -> None:
    layer = LSTM(3, return_state=True)
    _, h, c = layer(X[:, :2])
    first = layer(X[:, 2:], initial_state=[h, c])[0]
    np.testing.assert_allclose(first, layer(X)[0], atol=1e-6)


def test_one_state_need_not_be_in_a_list() -> None:
    layer, state = GRU(3), np.ones((6, 3), np.float32)
    assert np.array_equal(layer(X, initial_state=state), layer(X, initial_state=[state]))


def test_a_mask_ends_the_sequence() -> None:
    layer = GRU(3)
    mask = np.arange(4) < np.array([[4], [3], [2], [1], [2], [3]])
    y = layer(X, mask=mask)
    np.testing.assert_allclose(y[2], layer(X[2:3, :2])[0], atol=1e-6)
    assert np.array_equal(layer(X, mask=mask.tolist()), y)


def test_a_stateful_layer_is_called_as_in_keras() -> None:
    """The batch size is that of the data; the state stays until reset_states."""
    layer = GRU(3, stateful=True, seed=1)
    first = layer(X[:, :2])
    second = layer(X[:, 2:])
    plain = GRU(3)
    plain.build((None, 4, 5))
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(first, plain(X[:, :2]), atol=1e-6)
    np.testing.assert_allclose(second, plain(X), atol=1e-6)


def test_a_stateful_layer_minds_the_number_of_samples() -> None:
    layer = GRU(3, stateful=True)
    layer(X)
    with pytest.raises(InputError, match="6"):
        layer(X[:3])
    layer.reset_states()
    assert layer(X[:3]).shape == (3, 3)


MASK = np.ones((6, 4), bool)
STATE = np.ones((6, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: LSTM(3)(X.astype(int)), "holds int64; expected floating-point"),
        (lambda: LSTM(3)(X > 0), "holds bool"),
        (lambda: LSTM(3)(X[0]), r"\(batch, time, features\)"),
        (lambda: LSTM(3)(X[None]), r"\(batch, time, features\)"),
        (lambda: LSTM(3)(X[:, :0]), "no time steps"),
        (lambda: LSTM(3)(X[:0]), "no samples"),
        (lambda: LSTM(3)(X[:, :, :0]), "empty axis"),
        (lambda: LSTM(3)([[[1.0]], [[1.0], [2.0]]]), "pad"),
        (lambda: LSTM(3)(X.astype(object)), "numbers"),
        (lambda: LSTM(3)("abc"), "numbers"),
        (lambda: LSTM(3)(None), "numbers"),
        (lambda: LSTM(3)(3.0), "array"),
        (lambda: LSTM(3)(np.ma.masked_array(X, X > 0)), "masked array"),
        (lambda: Dense(3)(X[0, 0]), r"\(batch, ..., features\)"),
        (lambda: Embedding(5, 2)(np.array([[1, 7]])), "holds the id 7"),
        (lambda: Embedding(5, 2)(np.array([[1, -1]])), "holds the id -1"),
        (lambda: Embedding(5, 2)(np.array([[1, 1.5]])), "no token ids"),
        (lambda: LSTM(3)(X, mask=MASK.astype(int)), "expected bool"),
        (lambda: LSTM(3)(X, mask=MASK[:, :3]), r"mask has shape \(None, 3\); the input has 4 steps"),
        (lambda: LSTM(3)(X, mask=MASK[:3]), "different numbers of samples"),
        (lambda: LSTM(3)(X, mask=MASK[..., None]), "mask' has 3 axes"),
        (lambda: LSTM(3)(X, mask="x"), "mask"),
        (lambda: LSTM(3)(X, initial_state=[STATE]), "1 entries; expected 2"),
        (lambda: LSTM(3)(X, initial_state=[]), "0 entries; expected 2"),
        (lambda: LSTM(3)(X, initial_state=STATE), "expected 2"),
        (lambda: LSTM(3)(X, initial_state=[STATE] * 3), "3 entries; expected 2"),
        (lambda: LSTM(3)(X, initial_state=[STATE[:, :2], STATE]), r"expected \(batch, 3\)"),
        (lambda: LSTM(3)(X, initial_state=[STATE[:2], STATE]), "different numbers of samples"),
        (lambda: LSTM(3)(X, initial_state=[None, STATE]), "state"),
        (lambda: Dense(3)(X, initial_state=[STATE]), "initial_state"),
        (lambda: LSTM(3)(X, training=True), "training=True"),
        (lambda: InputLayer((3,))(X), "Input"),
    ],
)
def test_calls_that_do_not_fit(call: Any, told: str) -> None:
    with pytest.raises((InputError, SpecError), match=told):
        call()


@pytest.mark.parametrize(
    "data", [X[0], X[None], X[:, :0], X[:, :, :3], X.astype(int)], ids=["2d", "4d", "no time", "features", "int"]
)
def test_wrong_data_is_an_input_error(data: np.ndarray) -> None:
    layer = LSTM(3)
    layer.build((None, 4, 5))
    with pytest.raises(InputError):
        layer(data)


def test_messages_do_not_contradict_themselves() -> None:
    with pytest.raises(InputError) as caught:
        LSTM(3)(X[:, :0])
    assert "expected (batch, 0" not in str(caught.value)


def test_a_refused_call_leaves_the_layer_unbuilt() -> None:
    layer = LSTM(3)
    with pytest.raises(LstmcoreError):
        layer(X.astype(int))
    assert layer(X[:, :, :2]).shape == (6, 3)


# Configs of random options

OPTIONS = {
    "activation": st.sampled_from([None, "relu", "swish", {"name": "relu", "max_value": 2.0}]),
    "use_bias": st.booleans(),
    "kernel_initializer": st.sampled_from(["zeros", "he_normal", "orthogonal"]),
    "kernel_regularizer": st.sampled_from([None, "l1", "l2", "L1L2"]),
    "kernel_constraint": st.sampled_from([None, "non_neg", "max_norm"]),
    "name": st.sampled_from([None, "a", "ü b"]),
    "trainable": st.booleans(),
    "dtype": st.sampled_from([None, "float32", "float64"]),
}


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.sampled_from([Dense, LSTM, GRU, SimpleRNN]), st.integers(1, 5), st.fixed_dictionaries({}, optional=OPTIONS))
def test_random_configs(kind: Any, units: int, options: dict[str, Any]) -> None:
    layer = kind(units, **options)
    config = json.loads(json.dumps(layer.get_config()))
    again = kind.from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    assert json.loads(json.dumps(serialize(deserialize(serialize(layer))))) == json.loads(json.dumps(serialize(layer)))
    shape = (None, 3, 2)
    assert again.inventory(shape) == layer.inventory(shape)
    layer.build(shape)
    assert {name: array.shape for name, array in layer.weights.items()} == again.inventory(shape)
    assert {array.dtype.name for array in layer.weights.values()} == {options.get("dtype") or "float32"}


def test_an_input_layer_by_keywords() -> None:
    made = InputLayer(shape=(3,), batch_size=2, dtype="float64", name="x")
    assert (made.batch_shape, made.shape, made.dtype, made.kind) == ((2, 3), (3,), "float64", "float")


def test_a_call_compiles_once_for_a_shape_and_sees_new_weights() -> None:
    layer = LSTM(3)
    first = layer(X)
    session = next(iter(layer.state.sessions.values()))
    layer.set_weights([w * 1.5 for w in layer.get_weights()])
    assert np.abs(layer(X) - first).max() > 1e-3
    assert list(layer.state.sessions.values()) == [session]
    for steps in range(1, 5):
        for features in (X[:, :steps], X[:2, :steps]):
            assert layer(features).shape == (len(features), 3)
    assert len(layer.state.sessions) == 4


def test_a_layer_keeps_only_its_last_sessions() -> None:
    layer = SimpleRNN(2)
    for steps in range(1, 40):
        layer(np.ones((1, steps, 2), np.float32))
    assert len(layer.state.sessions) == 16
    assert copy.deepcopy(layer)(np.ones((1, 3, 2), np.float32)).shape == (1, 2)


def test_a_config_may_use_the_other_spelling() -> None:
    assert deserialize({"class_name": "LeakyReLU", "config": {"alpha": 0.25}}).get_config()["negative_slope"] == 0.25
