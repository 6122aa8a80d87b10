"""Sequential: building, weights, JSON, and what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

from lstmcore.errors import InputError, SpecError, WeightsError
from lstmcore.layers import LSTM, Activation, Dense, Dropout, Embedding, Flatten, Input
from lstmcore.models import Sequential, model_from_json

X = np.random.default_rng(3).normal(size=(6, 4, 5)).astype(np.float32)


def small() -> Sequential:
    return Sequential([Input((4, 5)), LSTM(3), Dense(2)])


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


# Where the input's shape comes from


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([Input((4, 5)), LSTM(3)], (None, 4, 5)),
        ([Input(batch_shape=(2, None, 5)), LSTM(3)], (2, None, 5)),
        ([Input((4, 5), batch_size=7), LSTM(3)], (7, 4, 5)),
        ([LSTM(3, input_shape=(4, 5))], (None, 4, 5)),
        ([LSTM(3, input_shape=[4, 5])], (None, 4, 5)),
        ([LSTM(3, input_shape=(None, 5), batch_size=2, stateful=True)], (2, None, 5)),
        ([LSTM(3, batch_input_shape=(2, 4, 5))], (2, 4, 5)),
        ([LSTM(3, input_dim=5, input_length=4)], (None, 4, 5)),
        ([Dense(3, input_dim=5)], (None, 5)),
        ([Embedding(9, 3, input_length=4)], (None, 4)),
        ([Activation("relu", input_shape=(3,))], (None, 3)),
        ([Flatten(input_shape=(2, 3))], (None, 2, 3)),
        ([Dropout(0.5, input_shape=(3,))], (None, 3)),
    ],
)
def test_the_input_shape(layers: list[Any], shape: tuple[Any, ...]) -> None:
    model = Sequential(layers)
    assert model.input_shape == shape
    added = Sequential()
    for layer in layers:
        added.add(type(layer).from_config({**layer.get_config(), "name": None}) if layer is not layers[0] else layer)
    assert added.input_shape == shape


def test_the_first_data_build_a_model() -> None:
    model = Sequential([LSTM(3), Dense(2)])
    assert model.predict(X).shape == (6, 2)
    assert model.input_shape == (None, 4, 5)
    assert Sequential([Embedding(9, 2), LSTM(3)]).predict(np.ones((2, 4), int)).shape == (2, 3)


def test_build_builds() -> None:
    model = Sequential([LSTM(3)])
    model.build((None, None, 5))
    assert (model.count_params(), model.output_shape) == (108, (None, 3))
    assert model.predict(X).shape == (6, 3)
    assert model.predict(X[:, :2]).shape == (6, 3)


@pytest.mark.parametrize(
    "data", [X[0], X.astype(int), X[:, :0], X[:0], "abc", None, 3.0, [[[1.0], [2.0]], [[1.0]]]], ids=range(8)
)
def test_refused_first_data_leave_no_trace(data: Any) -> None:
    model = Sequential([LSTM(3)])
    with pytest.raises(ValueError, match=r"input|expected") as caught:
        model.predict(data)
    assert type(caught.value).__module__ == "lstmcore.errors"
    assert model.predict(X[:, :3]).shape == (6, 3)


def test_a_refused_build_leaves_no_trace() -> None:
    model = Sequential([LSTM(3)])
    with pytest.raises(SpecError):
        model.build((None, 5))
    model.build((None, 4, 5))
    assert model.output_shape == (None, 3)


def test_a_refused_add_leaves_no_trace() -> None:
    model = Sequential([Input((4, 5)), LSTM(3)])
    before = model.predict(X)
    with pytest.raises(SpecError, match="return_sequences"):
        model.add(LSTM(2))
    assert list(model.named_layers) == ["lstm"]
    assert np.array_equal(model.predict(X), before)


def test_pop_and_add() -> None:
    model = small()
    weights = model.layers[0].get_weights()
    popped = model.pop()
    assert (type(popped), model.output_shape, model.count_params()) == (Dense, (None, 3), 108)
    model.add(Dense(7))
    assert model.output_shape == (None, 7)
    assert same(weights, model.layers[0].get_weights())


# Names


def test_names_are_counted_within_the_model() -> None:
    for _ in range(2):
        model = Sequential([Input((4, 5)), LSTM(3, return_sequences=True), LSTM(2), Dense(2), Dense(1)])
        assert list(model.named_layers) == ["lstm", "lstm_1", "dense", "dense_1"]


def test_a_layer_in_two_models_is_one_layer() -> None:
    dense = Dense(2)
    first = Sequential([Input((3,)), Dense(3), dense])
    second = Sequential([Input((3,)), dense])
    second.set_weights([np.ones((3, 2)), np.zeros(2)])
    assert (first.get_weights()[2] == 1).all()
    assert second.predict(np.ones((1, 3), np.float32)).tolist() == [[3.0, 3.0]]
    assert json.loads(first.to_json())["config"]["layers"][2]["config"]["name"] == "dense_1"
    assert json.loads(second.to_json())["config"]["layers"][1]["config"]["name"] == "dense"


def test_layers_and_get_layer() -> None:
    model = small()
    assert [type(layer) for layer in model.layers] == [LSTM, Dense]
    assert model.get_layer("dense") is model.get_layer(index=-1) is model.layers[1]


# Refusals


def twice() -> Sequential:
    layer = Dense(3)
    return Sequential([Input((3,)), layer, layer])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Sequential([Input((3,)), Input((3,))]), "an Input stands first"),
        (lambda: Sequential([Dense(3), Input((3,))]), "an Input stands first"),
        (lambda: Sequential([Dense(3, name="a"), Dense(3, name="a")]), "two layers called 'a'"),
        (twice, "already"),
        (lambda: Sequential("x"), "takes .*layers"),
        (lambda: Sequential(5), "takes .*layers"),  # type: ignore[arg-type]
        (lambda: Sequential(Dense(3)), "list of layers"),  # type: ignore[arg-type]
        (lambda: Sequential([None]), "takes layers"),  # type: ignore[list-item]
        (lambda: Sequential([LSTM]), "takes layers"),  # type: ignore[list-item]
        (lambda: Sequential(["relu"]), "takes layers"),  # type: ignore[list-item]
        (lambda: Sequential([Dense(3)], name="a/b"), "name"),
        (lambda: Sequential([Dense(3)], name=3), "name"),  # type: ignore[arg-type]
        (lambda: Sequential([Dense(3)], trainable="x"), "trainable"),  # type: ignore[arg-type]
        (lambda: Sequential().predict(X), "no layers|does not know"),
        (lambda: Sequential([Input((3,))]).predict(X), "no layers"),
        (lambda: Sequential().pop(), "no layer to pop"),
        (lambda: Sequential([Dense(3)]).count_params(), "does not know its input's shape: start it with Input"),
        (lambda: Sequential([Dense(3)]).get_weights(), "does not know its input's shape"),
        (lambda: Sequential([Dense(3)]).explain(), "does not know its input's shape"),
        (lambda: Sequential([Dense(3)]).build(), "does not know its input's shape"),
        (lambda: Sequential([Dense(3)]).build(5), "5"),  # type: ignore[arg-type]
        (lambda: Sequential([Dense(3)]).build(()), "shape"),
        (lambda: small().build((None, 9, 9)), r"inputs of shape \(None, 4, 5\)"),
        (lambda: Sequential([Input((3, 2)), LSTM(3, stateful=True)]), "fixed batch size"),
        (lambda: Sequential([LSTM(3, stateful=True)]).predict(X), "batch size"),
        (lambda: Sequential([Input((3,)), Dense(3, dtype="float64"), Dense(3)]).predict(X[:, 0, :3]), "mixes dtypes"),
        (lambda: Sequential([Input((3, 2)), LSTM(3, return_state=True), Dense(2)]), "3 outputs.*return_state"),
        (lambda: Sequential([Input((3, 2)), LSTM(2), LSTM(2)]), "return_sequences"),
        (lambda: Sequential([Input((3,)), LSTM(2)]), r"\(batch, time, features\)"),
        (lambda: Sequential([Input((None, 2)), Flatten(), Dense(2)]), "Input|length of time|fixed"),
        (lambda: Sequential([Input((3, None)), LSTM(2)]), "known length.*Input|Input.*known length"),
        (lambda: Sequential([Input((3,)), Embedding(4, 2), Embedding(4, 2)]), "'embedding_1'.*float.*expected int"),
        (lambda: Sequential([Input((3,), dtype="int32"), Dense(3)]), "Input declares int.*'dense' takes float"),
        (lambda: Sequential([Input((3,)), Dense(3, activation="glu")]), "even length.*has 3"),
        (lambda: small().get_layer("lstn"), "no layer 'lstn'.*Did you mean 'lstm'"),
        (lambda: small().get_layer(index=9), "no layer 9"),
        (lambda: small().get_layer(), "a name or an index"),
        (lambda: small().get_layer("lstm", 0), "a name or an index"),
        (lambda: small().get_layer(index="a"), "index"),  # type: ignore[arg-type]
        (lambda: small().get_layer(index=1.0), "index"),  # type: ignore[arg-type]
        (lambda: small().get_layer(index=True), "index"),
        (lambda: small().get_layer(["lstm"]), "name"),  # type: ignore[arg-type]
    ],
)
def test_what_is_refused(make: Any, told: str) -> None:
    with pytest.raises((SpecError, InputError), match=told):
        make()


# Weights


def test_weights_by_name() -> None:
    model = small()
    assert {name: array.shape for name, array in model.weights.items()} == {
        "lstm/kernel": (5, 12),
        "lstm/recurrent_kernel": (3, 12),
        "lstm/bias": (12,),
        "dense/kernel": (3, 2),
        "dense/bias": (2,),
    }
    assert [a.shape for a in model.get_weights()] == [a.shape for a in model.weights.values()]
    with pytest.raises(TypeError):
        model.weights["lstm/bias"] = 0  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        model.weights["lstm/bias"][0] = 1


def test_the_model_sees_new_weights_at_once() -> None:
    model = small()
    first = model.predict(X)
    model.get_layer("dense").set_weights([np.zeros((3, 2)), np.array([1.0, 2.0])])
    assert model.predict(X)[0].tolist() == [1.0, 2.0]
    assert not np.array_equal(first, model.predict(X))


W = [np.asarray(w) for w in small().get_weights()]


@pytest.mark.parametrize(
    "given",
    [
        W[:-1],
        [*W, W[0]],
        [W[0].T, *W[1:]],
        [W[0].astype(object), *W[1:]],
        [W[0].astype(str), *W[1:]],
        [W[0].astype(complex), *W[1:]],
        [[[1, 2], [3]], *W[1:]],
        [*W[:-1], np.zeros(99)],
        None,
        5,
        {"lstm/kernel": W[0]},
        np.zeros(3),
    ],
    ids=range(12),
)
def test_weights_that_do_not_fit(given: Any) -> None:
    model = small()
    before = model.get_weights()
    with pytest.raises(WeightsError, match="expected"):
        model.set_weights(given)
    assert same(before, model.get_weights())


def test_weights_of_other_kinds_are_cast() -> None:
    model = small()
    model.set_weights([w.astype(np.float64).tolist() for w in W])
    assert same(model.get_weights(), W)
    model.set_weights([np.asfortranarray(w.astype(">f8")) for w in W])
    assert same(model.get_weights(), W)


def test_weights_too_large_for_the_dtype_are_refused_or_become_infinite_quietly() -> None:
    model = small()
    try:
        model.set_weights([np.full(W[0].shape, 1e300), *W[1:]])
    except WeightsError:
        return
    assert np.isinf(model.get_weights()[0]).all()


def test_a_seed_makes_the_same_weights() -> None:
    import lstmcore

    lstmcore.set_random_seed(4)
    first = small().get_weights()
    lstmcore.set_random_seed(4)
    second = small().get_weights()
    lstmcore.set_random_seed(5)
    third = small().get_weights()
    assert same(first, second)
    assert not same(first, third)
    assert np.ptp(first[0]) > 0


# JSON


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "[" * 100_000, '{"class_name":"Sequential"}', "\x00", None, 5, b"\xff"],
    ids=range(10),
)
def test_what_is_no_model(text: Any) -> None:
    with pytest.raises(SpecError, match=r"model|layers"):
        model_from_json(text)


def with_layer(**entry: Any) -> str:
    first = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}
    config = {"name": "s", "layers": [{**first, **entry}]}
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (with_layer(class_name="Lambda", config={"function": {"class_name": "__lambda__"}}), "'Lambda'"),
        (with_layer(class_name="system", module="os"), "module 'os' is not one of Keras' own"),
        (with_layer(class_name="eval", module="builtins"), "not one of Keras' own"),
        (with_layer(registered_name="mine>Dense"), "not one of Keras' own"),
        (with_layer(module="evilkeras.layers"), "not one of Keras' own"),
        (with_layer(class_name="Conv2D"), "Unknown layer 'Conv2D'"),
        (with_layer(config={"units": 3, "unitz": 3}), "no config key 'unitz'. Did you mean 'units'"),
        (with_layer(config={}), "lacks units"),
        (with_layer(config={"units": 3, "activation": {"class_name": "function", "config": "mine"}}), "'mine'"),
        (with_layer().replace("Sequential", "Functional"), "a functional model: a layer has the name"),
        (with_layer().replace('"layers"', '"layerz"'), "layerz"),
    ],
)
def test_what_is_no_model_of_ours(text: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        model_from_json(text)


def test_the_json_of_keras_2_is_read_or_named() -> None:
    data = {"class_name": "Sequential", "config": {"name": "s", "layers": []}, "keras_version": "2.15.0"}
    try:
        model_from_json(json.dumps({**data, "backend": "tensorflow"}))
    except SpecError as error:
        assert "Keras 2" in str(error)


def test_a_model_with_its_settings_reads_back() -> None:
    model = Sequential([Input((4, 5), name="series"), LSTM(3, trainable=False)], trainable=False, name="mine")
    again = model_from_json(model.to_json())
    assert (again.name, again.trainable, again.program.inputs) == ("mine", False, ("series",))
    assert again.get_config() == model.get_config()
    assert Sequential.from_config(model.get_config()).to_json() == model.to_json()


def test_an_unbuilt_model_reads_back() -> None:
    again = model_from_json(Sequential([LSTM(3), Dense(2)]).to_json())
    assert again.predict(X).shape == (6, 2)


def test_copies_are_independent() -> None:
    model = small()
    first = model.predict(X)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other.predict(X), first)
        other.set_weights([w * 0 for w in W])
        assert not other.predict(X).any()
        assert np.array_equal(model.predict(X), first)
