"""Functional models: structures, sharing, nesting, files, copies; and what cannot be one, from Python or from JSON."""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import tree
from lstmcore.errors import InputError, SpecError, WeightsError
from lstmcore.layers import (
    GRU,
    LSTM,
    RNN,
    Add,
    Bidirectional,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    Input,
    Masking,
    Multiply,
    Rescaling,
    SimpleRNN,
    TimeDistributed,
)
from lstmcore.models import Model, Sequential, model_from_json

BACKENDS = ("numpy", "torch", "tensorflow")
RNG = np.random.default_rng(17)


def data(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def leaves(y: Any) -> list[Any]:
    return list(tree.leaves(y))


def same(a: Any, b: Any) -> None:
    assert tree.alike(a, b)
    assert all(np.array_equal(x, y) for x, y in zip(leaves(a), leaves(b), strict=True))


# Models to try everything on, with data for each


def one() -> tuple[Model, Any]:
    x = Input((4, 3))
    return Model(x, Dense(2)(LSTM(3)(x))), data(2, 4, 3)


def lists() -> tuple[Model, Any]:
    a, b = Input((3,), name="a"), Input((4,), name="b")
    return Model([b, a], [Dense(2)(a), Dense(3)(b), Concatenate()([a, b])]), [data(2, 4), data(2, 3)]


def dicts() -> tuple[Model, Any]:
    a, b = Input((3,), name="a"), Input((4,), name="b")
    return Model({"second": b, "first": a}, {"y": Dense(2)(a), "x": Dense(3)(b)}), {
        "first": data(2, 3),
        "second": data(2, 4),
    }


def nested_structure() -> tuple[Model, Any]:
    a, b, c = Input((3,)), Input((3,)), Input((3,))
    made = {"sum": Add()([a, b, c]), "pair": (Dense(1)(a), [Dense(2)(c)])}
    return Model([(a, b), {"c": c}], made), [(data(2, 3), data(2, 3)), {"c": data(2, 3)}]


def shared() -> tuple[Model, Any]:
    encode, a, b = GRU(3, name="encode"), Input((4, 2)), Input((6, 2))
    return Model([a, b], Dense(1)(Multiply()([encode(a), encode(b)]))), [data(2, 4, 2), data(2, 6, 2)]


def models_inside() -> tuple[Model, Any]:
    chain = Sequential([Input((4, 3)), LSTM(3, return_sequences=True), Dense(3)], name="chain")
    q = Input((4, 3))
    graph = Model(q, Add()([q, Dense(3)(q)]), name="graph")
    x = Input((4, 3))
    return Model(x, [graph(chain(x)), chain(graph(graph(x)))]), data(2, 4, 3)


def deep() -> tuple[Model, Any]:
    x = Input((3,))
    inner = Model(x, Dense(3)(x), name="inner")
    y = Input((3,))
    middle = Model(y, inner(inner(y)), name="middle")
    z = Input((3,))
    return Model(z, middle(middle(z))), data(2, 3)


def in_a_chain() -> tuple[Any, Any]:
    x = Input((4, 3))
    graph = Model(x, GRU(3, return_sequences=True)(x), name="graph")
    return Sequential([graph, TimeDistributed(Sequential([Dense(2)])), LSTM(2)]), data(2, 4, 3)


def at_each_step() -> tuple[Model, Any]:
    x = Input((3,))
    inner = Model(x, Concatenate()([Dense(2)(x), x]), name="inner")
    y = Input((4, 3))
    return Model(y, LSTM(2)(TimeDistributed(inner)(y))), data(2, 4, 3)


def masked() -> tuple[Model, Any]:
    ids, x = Input((5,), dtype="int32"), Input((5, 3))
    embedded = Embedding(4, 3, mask_zero=True)(ids)
    both = Add()([embedded, Masking()(x)])
    y, *states = Bidirectional(LSTM(2, return_sequences=True, return_state=True))(both)
    return Model([ids, x], [y, states[0]]), [RNG.integers(0, 4, (3, 5)), data(3, 5, 3)]


def cells() -> tuple[Model, Any]:
    x = Input((5, 3))
    y, first, second = RNN([GRUCell(2), GRUCell(3)], return_state=True)(x)
    return Model(x, {"y": y, "states": [first, second]}), data(2, 5, 3)


def identity() -> tuple[Model, Any]:
    x = Input((3,))
    return Model(x, [x, Dropout(0.5)(x), x]), data(2, 3)


def unused() -> tuple[Model, Any]:
    x, never = Input((3,), name="x"), Input((7,), name="never")
    return Model([x, never], Dense(2)(x)), [data(2, 3), data(2, 7)]


def twice_the_same() -> tuple[Model, Any]:
    x = Input((3,))
    y = Dense(2)(x)
    return Model(x, [y, y]), data(2, 3)


EXAMPLES = {
    make.__name__: make
    for make in (
        one, lists, dicts, nested_structure, shared, models_inside, deep, in_a_chain, at_each_step, masked, cells,
        identity, unused, twice_the_same,
    )
}  # fmt: skip
each = pytest.mark.parametrize("kind", EXAMPLES)


@each
def test_all_engines_agree(kind: str) -> None:
    model, x = EXAMPLES[kind]()
    expected = model.predict(x, backend="numpy")
    for backend in BACKENDS[1:]:
        found = model.predict(x, backend=backend)
        assert tree.alike(found, expected)
        for a, b in zip(leaves(found), leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@each
def test_files(kind: str, tmp_path: Path) -> None:
    model, x = EXAMPLES[kind]()
    model.save(tmp_path / "model.safetensors")
    again = lc.load_model(tmp_path / "model.safetensors")
    assert list(again.weights) == list(model.weights)
    assert all(np.array_equal(again.weights[name], array) for name, array in model.weights.items())
    same(again.predict(x), model.predict(x))
    assert again.get_config() == model.get_config()
    model.set_weights([w + 1 for w in model.get_weights()])
    model.load_weights(tmp_path / "model.safetensors")
    same(again.predict(x), model.predict(x))


@each
def test_json(kind: str) -> None:
    model, x = EXAMPLES[kind]()
    again = model_from_json(model.to_json())
    assert again.to_json() == model.to_json()
    again.set_weights(model.get_weights())
    same(again.predict(x), model.predict(x))
    assert type(again).from_config(again.get_config()).get_config() == model.get_config()


@each
@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_share_nothing(kind: str, way: Any) -> None:
    model, x = EXAMPLES[kind]()
    before = model.predict(x)
    again = way(model)
    same(again.predict(x), before)
    again.set_weights([w + 1 for w in again.get_weights()])
    same(model.predict(x), before)
    for name, layer in again.named_layers.items():
        assert layer is not model.get_layer(name)
        assert repr(layer.output) == repr(model.get_layer(name).output)
    assert not {id(part) for part in model.modules()} & {id(part) for part in again.modules()}


@each
def test_weights_in_order_each_once(kind: str) -> None:
    model, _ = EXAMPLES[kind]()
    weights = model.get_weights()
    assert [w.shape for w in weights] == [w.shape for w in model.weights.values()]
    assert model.count_params() == sum(w.size for w in weights)
    owners = {(id(owner), name) for _, owner, name in model.owners()}
    assert len(owners) == len(weights)
    new = [np.full_like(w, k) for k, w in enumerate(weights)]
    model.set_weights(new)
    assert [w.flat[0] for w in model.get_weights()] == list(range(len(weights)))
    with pytest.raises(WeightsError, match="given; expected a list of"):
        model.set_weights([*new, new[0] if new else np.zeros(1)])


@each
def test_layers_by_name_and_index(kind: str) -> None:
    model, _ = EXAMPLES[kind]()
    assert [layer.name for layer in model.layers] == list(model.named_layers)
    for k, (name, layer) in enumerate(model.named_layers.items()):
        assert model.get_layer(name) is layer and model.get_layer(index=k) is layer
    assert model.get_layer(index=-1) is model.layers[-1]
    told = []
    model.summary(print_fn=told.append, expand_nested=True)
    assert all(name[:8] in "\n".join(told) for name in model.named_layers)


def test_get_layer_of_what_is_not_there() -> None:
    model, _ = one()
    for wrong in ({"name": "lsmt"}, {"index": 9}, {}, {"name": "lstm", "index": 1}, {"name": 3}, {"index": "1"}):
        with pytest.raises(SpecError, match=r"get_layer takes a name or an index|has no layer"):
            model.get_layer(**wrong)
    with pytest.raises(SpecError, match="Did you mean 'lstm'"):
        model.get_layer("lsmt")


# Structures


def test_inputs_by_name_by_key_and_by_place() -> None:
    model, x = dicts()
    expected = model.predict(x)
    assert set(expected) == {"x", "y"} and expected["x"].shape == (2, 3)
    same(model.predict({"a": x["first"], "b": x["second"]}), expected)
    same(model.predict([x["first"], x["second"]]), expected)  # keys in order, as in Keras
    same(model(x), expected)
    model, x = lists()
    same(model.predict({"a": x[1], "b": x[0]}), model.predict(x))
    same(model.predict(tuple(x)), model.predict(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: {"first": x["first"]},
        lambda x: {"first": x["first"], "third": x["second"]},
        lambda x: [x["first"]],
        lambda x: x["first"],
        lambda x: {"first": x["second"], "second": x["first"]},
        lambda x: {"first": x["first"], "second": x["second"][:1]},
    ],
)
def test_inputs_that_do_not_fit(change: Any) -> None:
    model, x = dicts()
    with pytest.raises(InputError, match=r"inputs given|takes 2|must be|different numbers of samples|axis"):
        model.predict(change(x))


def test_nested_data_must_nest_alike() -> None:
    model, x = nested_structure()
    flat = leaves(x)
    same(model.predict(flat), model.predict(x))
    for wrong in ([x[0]], [x[0], {"d": flat[2]}], [flat[:1], x[1]], [x[1], x[0]]):
        with pytest.raises(InputError):
            model.predict(wrong)


def test_the_structure_of_shapes_and_tensors() -> None:
    model, _ = nested_structure()
    assert model.input_shape == [[(None, 3), (None, 3)], {"c": (None, 3)}]
    assert model.output_shape == {"sum": (None, 3), "pair": [(None, 1), [(None, 2)]]}
    assert len(model.inputs) == len(model.outputs) == 3
    assert model.input[1]["c"] is model.inputs[2] and model.output["pair"][0] is model.outputs[0]
    single, _ = one()
    assert single.input is single.inputs[0] and single.output is single.outputs[0]
    x = Input((3,))
    assert Model([x], [x]).predict(data(2, 3)).shape == (2, 3)


def test_models_are_called_with_lists_and_dicts_whatever_their_own_structure() -> None:
    inner, x = lists()
    a, b = Input((3,)), Input((4,))
    expected = inner.predict(x)
    for given in ([b, a], (b, a), {"a": a, "b": b}):
        same(Model([b, a], inner(given)).predict(x), expected)
    keyed, y = dicts()
    for given in ({"first": a, "second": b}, {"a": a, "b": b}, [a, b]):
        same(Model([a, b], keyed(given)).predict([y["first"], y["second"]]), keyed.predict(y))


def test_masks_go_with_their_inputs_in_a_dict() -> None:
    b, a = Input((4, 3), name="b"), Input((4, 3), name="a")
    inner = Model([b, a], [GRU(2, name="of_b")(b), GRU(2, name="of_a")(a)])
    ids, floats = Input((4,), dtype="int32"), Input((4, 3))
    embed = Embedding(5, 3, mask_zero=True)
    model = Model([ids, floats], inner({"a": embed(ids), "b": floats}))
    nodes = {node.name.rpartition("/")[2]: node for node in model.program.nodes}
    assert nodes["of_a"].inputs[2] is not None and nodes["of_b"].inputs[2] is None


# Sharing


def test_a_shared_layer_has_one_set_of_weights() -> None:
    model, x = shared()
    assert list(model.weights) == [
        "encode/kernel",
        "encode/recurrent_kernel",
        "encode/bias",
        "dense/kernel",
        "dense/bias",
    ]
    encode = model.get_layer("encode")
    assert encode.output is encode.calls[-1].outputs[0] and len(encode.calls) == 2
    expected = encode(x[0]) * encode(x[1]) @ model.weights["dense/kernel"] + model.weights["dense/bias"]
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_models_that_share_layers_see_each_others_weights(backend: str) -> None:
    x = Input((4, 3))
    hidden = LSTM(3, name="hidden")(x)
    first, second = Model(x, Dense(2, name="first")(hidden)), Model(x, Dense(2, name="second")(hidden))
    array = data(2, 4, 3)
    one, two = (model.predict(array, backend=backend) for model in (first, second))
    same(first.predict(array, backend=backend), one)
    first.set_weights([0.5 * w for w in first.get_weights()])
    assert not np.allclose(second.predict(array, backend=backend), two)
    layer, kernel, bias = x.call, *second.get_layer("second").get_weights()
    assert layer is not None
    expected = first.get_layer("hidden")(array) @ kernel + bias
    np.testing.assert_allclose(second.predict(array, backend=backend), expected, rtol=1e-4, atol=1e-6)


def test_stateful_models_that_share_a_layer_keep_their_own_states() -> None:
    x = Input(batch_shape=(2, 4, 3))
    hidden = SimpleRNN(3, stateful=True)(x)
    first, second = Model(x, hidden), Model(x, Rescaling(2.0)(hidden))
    array = data(2, 4, 3)
    start = first.predict(array)
    np.testing.assert_allclose(second.predict(array), 2 * start, rtol=1e-6)
    assert not np.allclose(first.predict(array), start)
    first.reset_states()
    same(first.predict(array), start)
    assert not np.allclose(second.predict(array), 2 * start)


def test_the_sequence_to_sequence_tutorial(tmp_path: Path) -> None:
    """Keras' own: one model to train, and an encoder and a decoder of the same layers to run step by step."""
    encoder_inputs = Input((None, 3))
    _, h, c = LSTM(4, return_state=True, name="encoder")(encoder_inputs)
    decoder_inputs = Input((None, 2))
    decode, dense = LSTM(4, return_sequences=True, return_state=True, name="decoder"), Dense(2, "softmax")
    outputs, _, _ = decode(decoder_inputs, initial_state=[h, c])
    training = Model([encoder_inputs, decoder_inputs], dense(outputs))
    encoder = Model(encoder_inputs, [h, c])
    given = [Input((4,)), Input((4,))]
    outputs, *states = decode(decoder_inputs, initial_state=given)
    decoder = Model([decoder_inputs, *given], [dense(outputs), *states])
    training.set_weights([RNG.normal(size=w.shape) for w in training.get_weights()])
    source, target = data(2, 5, 3), data(2, 6, 2)
    expected = training.predict([source, target])
    for backend in BACKENDS:
        state, made = encoder.predict(source, backend=backend), []
        for t in range(6):
            y, *state = decoder.predict([target[:, t : t + 1], *state], backend=backend)
            made.append(y)
        np.testing.assert_allclose(np.concatenate(made, 1), expected, rtol=1e-4, atol=1e-6)
    assert len(training.get_weights()) == 8 and len(encoder.get_weights()) == 3 and len(decoder.get_weights()) == 5
    for model, x in ((training, [source, target]), (encoder, source), (decoder, [target, *encoder.predict(source)])):
        model.save(tmp_path / "model.safetensors")
        same(lc.load_model(tmp_path / "model.safetensors").predict(x), model.predict(x))
        assert lc.compare(model, x).ok


def test_a_file_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    x = Input((3,))
    layer = Dense(3, name="everywhere")
    inner = Model(x, layer(x), name="inner")
    y = Input((3,))
    model = Model(y, layer(inner(y)))
    assert len(model.get_weights()) == 2
    with pytest.raises(SpecError, match=r"Dense 'everywhere' is a part of .*, which a file cannot say"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


# Pieces of models


def test_features_of_a_chain() -> None:
    chain = Sequential([Input((4, 3)), LSTM(3, return_sequences=True), Dense(2), LSTM(2)])
    features = Model(chain.input, chain.layers[1].output)
    array = data(2, 4, 3)
    expected = chain.layers[1](chain.layers[0](array))
    np.testing.assert_allclose(features.predict(array), expected, rtol=1e-5, atol=1e-6)
    several = Model(chain.inputs, [layer.output for layer in chain.layers])
    np.testing.assert_allclose(several.predict(array)[2], chain.predict(array), rtol=1e-6)
    chain.set_weights([0 * w for w in chain.get_weights()])
    assert not features.predict(array).any()


def test_features_of_a_copy() -> None:
    model, x = one()
    again = copy.deepcopy(model)
    features = Model(again.input, again.get_layer("lstm").output)
    same(features.predict(x), Model(model.input, model.get_layer("lstm").output).predict(x))


def test_a_layer_that_was_not_called_has_no_output() -> None:
    for layer in (Dense(2), Sequential([Dense(2)])):
        with pytest.raises(SpecError, match=r"not called|does not know"):
            layer.output  # noqa: B018


def test_models_that_start_in_the_middle(tmp_path: Path) -> None:
    x = Input((4, 3))
    y, h, _ = LSTM(2, return_state=True, name="lstm")(x)
    end = Dense(2)(Add()([y, h]))
    from_h = Model([x, h], end)  # y comes from x, h is given
    array, given = data(2, 4, 3), data(2, 2)
    lstm, dense = from_h.get_layer("lstm"), from_h.layers[-1]
    np.testing.assert_allclose(from_h.predict([array, given]), dense(lstm(array)[0] + given), rtol=1e-5, atol=1e-6)
    both = Model([y, h], end)
    np.testing.assert_allclose(both.predict([given, 2 * given]), dense(3 * given), rtol=1e-5, atol=1e-6)
    assert len(both.get_weights()) == 2
    twice = Dense(2, name="twice")
    p, q = twice(Input((3,))), twice(Input((3,)))
    same(Model([p, q], Concatenate()([q, p])).predict([given, 2 * given]), np.concatenate([2 * given, given], 1))
    with pytest.raises(SpecError, match="starts in the middle of another"):
        both.save(tmp_path / "model.safetensors")
    z = Input((2,))
    assert Model([x, z], from_h([x, z])).predict([array, given]).shape == (2, 2)


def test_identities() -> None:
    x = Input((3,))
    array = data(2, 3)
    same(Model(x, x).predict(array), array)
    same(Model(x, Dropout(0.5)(Dropout(0.5)(x))).predict(array), array)
    inner = Model(x, x, name="inner")
    y = Input((3,))
    same(Model(y, inner(inner(y))).predict(array), array)
    same(Model(y, [inner(y), y]).predict(array), [array, array])


def test_long_chains_copy_and_read() -> None:
    x = y = Input((3,))
    for _ in range(400):
        y = Rescaling(1.0)(y)
    model = Model(x, y)
    array = data(1, 3)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model_from_json(model.to_json())):
        assert len(again.layers) == 401
        same(again.predict(array), array)


# What cannot be a model


def disconnected() -> Any:
    x, y = Input((3,), name="x"), Input((3,), name="y")
    return Model(x, Add(name="sum")([x, y]))


def called_twice(layer: Any, *shapes: tuple[int | None, ...]) -> Any:
    return [layer(Input(shape)) for shape in shapes]


X43 = Input((4, 3))
BAD: list[tuple[Callable[[], Any], str]] = [
    (disconnected, "the graph is disconnected: Add 'sum' needs .*'y'"),
    (lambda: Model(Input((3,)), Input((3,), name="other")), "disconnected: an output needs .*'other'"),
    (lambda: Model(x := Input((3,)), Dense(2, name="d")(Dense(2, name="d")(x))), "two layers are called 'd'"),
    (lambda: Model(x := [Input((3,), name="d"), Input((3,), name="d")], Add()(x)), "two layers are called 'd'"),
    (lambda: Model([x := Input((3,), name="x"), x], x), "the input 'x' is given twice"),
    (lambda: Model(data(2, 3), data(2, 3)), "inputs holds ndarray"),
    (lambda: Model(Dense(2), Dense(2)), "inputs holds Dense"),
    (lambda: Model(Input((3,)), Dense(2)), "outputs holds Dense"),
    (lambda: Model(x := Input((3,)), [x, None]), "outputs holds NoneType"),
    (lambda: Model([], []), "there are no inputs"),
    (lambda: Model(Input((3,)), []), "there are no outputs"),
    (lambda: Model(), "x = Input"),
    (lambda: Model(Input((3,))), "Model takes inputs and outputs"),
    (lambda: type("Own", (Model,), {})(), "Own takes inputs and outputs"),
    (lambda: Model(x := Input((3,)), x, name=5), "name is 5"),
    (lambda: Model(x := Input((3,)), x, name="a/b"), "name"),
    (lambda: called_twice(Dense(2, name="d"), (3,), (4,)), r"Dense 'd' was built for .* and cannot also take"),
    (lambda: called_twice(LSTM(2, name="d"), (None, 3), (None, 4)), "LSTM 'd' was built for"),
    (lambda: called_twice(Bidirectional(GRU(2), name="d"), (None, 3), (None, 4)), "'(d|forward_gru)' was built for"),
    (lambda: deep()[0](Input((4,))), r"Model 'model'.* input .* shape \(None, 3\); it is called on \(None, 4\)"),
    (lambda: lists()[0]([Input((4,))]), "Model 'model': it is called on 1 tensors; it takes 2"),
    (lambda: lists()[0]({"a": Input((3,)), "c": Input((4,))}), r"Model 'model': inputs given: \['a', 'c'\]"),
    (lambda: lists()[0]([Input((4,)), Input((3,))], mask=[Input((4,), dtype="bool")]), "called on 1 masks"),
    (lambda: Sequential([Input((3,)), Dense(2)], name="s")([Input((3,))] * 2), "Sequential 's'.*takes one tensor"),
    (lambda: LSTM(2, name="r")(X43, mask=Input((5,), dtype="bool")), r"'r'.*mask has shape \(None, 5\)"),
    (lambda: LSTM(2, name="r")(X43, mask=Input((4, 1), dtype="bool")), "'r'.*'mask' has 3 axes"),
    (lambda: LSTM(2, name="r")(X43, mask=Input((4,))), "'r'.*'mask' holds float; expected bool"),
    (lambda: LSTM(2, name="r")(X43, mask=Input((4,), dtype="int32")), "'r'.*'mask' holds int; expected bool"),
    (lambda: LSTM(2, name="r")(X43, mask=True), "'r'.*mask is True; expected a tensor of dtype bool"),
    (lambda: LSTM(2, name="r")(X43, mask=[Input((4,), dtype="bool")]), r"'r'.*mask is \[\(None, 4\)\]"),
    (lambda: LSTM(2, name="r")(X43, mask=np.ones((2, 4), bool)), "'r'.*together with a ndarray"),
    (lambda: LSTM(2, name="r")(X43, initial_state=[Input((2,))]), "'r'.*initial_state has 1 entries; expected 2"),
    (lambda: LSTM(2, name="r")(X43, initial_state=Input((2,))), "'r'.*initial_state has 1 entries; expected 2"),
    (lambda: LSTM(2, name="r")(X43, initial_state=[Input((2,)), Input((3,))]), r"'r'.*shape \(None, 3\); expected"),
    (lambda: LSTM(2, name="r")(X43, initial_state=[Input((2,)), Input((2, 2))]), "'r'.*3 axes"),
    (lambda: LSTM(2, name="r")(X43, initial_state=[Input((2,)), None]), "'r'.*an initial state is None"),
    (lambda: LSTM(2, name="r")(X43, initial_state=[0.0, 0.0]), "'r'.*given 0.0; expected a tensor"),
    (lambda: LSTM(2, name="r")(X43, initial_state=[data(2, 2), data(2, 2)]), "'r'.*together with a ndarray"),
    (lambda: LSTM(2, name="r")(data(2, 4, 3), initial_state=[Input((2,))] * 2), "'r'.*together with a ndarray"),
    (lambda: LSTM(2, name="r")([X43, Input((2,)), Input((2,))]), "'r': it takes one tensor"),
    (lambda: LSTM(2, name="r")(X43, 1, 2, 3, 4), "'r' is called with 5 arguments by position"),
    (lambda: LSTM(2, name="r")(X43, sequences=X43), "'r': sequences is given twice"),
    (lambda: LSTM(2, name="r")(X43, mass=None), "'r' takes no call argument 'mass'.*Did you mean 'mask'"),
    (lambda: LSTM(2, name="r")(X43, training=True), "'r' was called with training=True"),
    (lambda: LSTM(2, stateful=True, name="r")(X43), "'r': it is stateful and needs a fixed batch size"),
    (lambda: LSTM(2, name="r")(Input((3,))), "'r'.*2 axes"),
    (lambda: LSTM(2, name="r")(LSTM(2, name="before")(X43)), "'r'.*Give 'before' return_sequences=True"),
    (lambda: Dense(2, name="d")({"a": Input((3,))}), "'d'.*(one tensor|expected a tensor)"),
    (lambda: Dense(2, name="d")(3, mask=Input((4,), dtype="bool")), "'d'.*(one tensor|expected a tensor)"),
    (lambda: Embedding(3, 2, name="e")(Dense(2)(Input((3,)))), "'e'.*token ids"),
    (lambda: Add(name="sum")([Input((3,)), data(2, 3)]), "'sum'.*together with a ndarray"),
    (lambda: Input((3,))(Input((3,))), "holds no numbers|not callable|is not called"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "told"), BAD[:-1])
def test_what_is_refused_and_by_which_name(make: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + x, lambda x: 1 + x, lambda x: x - 1, lambda x: x * 2, lambda x: 2 / x, lambda x: x // 2,
        lambda x: x % 2, lambda x: x**2, lambda x: 2**x, lambda x: x @ x, lambda x: -x, lambda x: +x, lambda x: ~x,
        lambda x: abs(x), lambda x: round(x), lambda x: x[:, 0], lambda x: x.__setitem__(0, 1), lambda x: x > 0,
        lambda x: x <= x, lambda x: x & x, lambda x: bool(x), lambda x: 1 if x else 2, lambda x: float(x),
        lambda x: int(x), lambda x: list(x), lambda x: len(x), lambda x: 3 in x, lambda x: np.asarray(x),
        lambda x: np.sum(x), lambda x: np.exp(x), lambda x: np.ones(3) + x, lambda x: np.float32(2) * x,
        lambda x: np.concatenate([x, x]), lambda x: range(x),
    ],
)  # fmt: skip
def test_a_symbolic_tensor_is_no_array(use: Any) -> None:
    with pytest.raises(SpecError, match="holds no numbers yet and takes no operators: combine it by layers"):
        use(Input((3,)))


def test_symbolic_tensors_are_told_apart_by_identity() -> None:
    x, y = Input((3,)), Input((3,))
    assert x == x and x != y and len({x, y}) == 2
    assert repr(Dense(2, name="d")(x)) == "<SymbolicTensor of Dense 'd', float (None, 2)>"


def test_masks_and_states_as_arrays() -> None:
    layer, x = LSTM(2, name="r"), data(2, 4, 3)
    for arguments, told in (
        ({"mask": np.ones((2, 5), bool)}, r"mask has shape \(None, 5\)"),
        ({"mask": np.ones((3, 4), bool)}, "different numbers of samples"),
        ({"mask": np.ones((2, 4))}, "holds float64; expected bool"),
        ({"mask": np.ones((2, 4), int)}, "holds int64; expected bool"),
        ({"initial_state": [data(2, 2)]}, "initial_state has 1 entries; expected 2: h, c"),
        ({"initial_state": [data(2, 2), data(2, 3)]}, "shape"),
        ({"initial_state": [data(2, 2), data(1, 2)]}, "different numbers of samples"),
        ({"initial_state": [data(2, 2), None]}, "an initial state is None"),
        ({"initial_state": "ab"}, "initial_state|state"),
    ):
        with pytest.raises(InputError, match=told):
            layer(x, **arguments)


def test_another_batch_size_than_a_stateful_model_was_built_for() -> None:
    x = Input(batch_shape=(2, 4, 3))
    model = Model(x, LSTM(2, stateful=True)(x))
    model.predict(data(4, 4, 3))
    with pytest.raises(InputError, match="built for batches of 2; given 3 samples"):
        model.predict(data(3, 4, 3))
    layer = LSTM(2, stateful=True, name="kept")
    layer(data(2, 4, 3))
    with pytest.raises(InputError, match=r"'kept'.* keeps the states of 2 samples; given 3"):
        layer(data(3, 4, 3))
    with pytest.raises(InputError, match="no time steps"):
        model.predict(np.zeros((2, 0, 3), np.float32))


# JSON that is no model. Only SpecError may come out, and at once.


def described() -> Any:
    x, ids = Input((4, 3), name="x"), Input((4,), dtype="int32", name="ids")
    y, h = GRU(2, return_state=True, return_sequences=True, name="enc")(Embedding(5, 3, mask_zero=True, name="e")(ids))
    decoded = SimpleRNN(2, name="dec")(x, initial_state=h)
    q = Input((2,), name="q")
    inner = Model(q, Dense(2, name="deep")(q), name="inner")
    chain = Sequential([Input((2,)), Dense(2, name="link")], name="chain")
    total = Add(name="sum")([chain(decoded), inner(inner(h))])
    apart = TimeDistributed(Dense(2), name="apart")(y)
    return Model({"x": x, "ids": ids}, [total, Bidirectional(RNN(GRUCell(2)), name="both")(apart)])


JSON = json.loads(described().to_json())
TENSOR = "__keras_tensor__"


def tensor(*history: Any) -> dict[str, Any]:
    return {"class_name": TENSOR, "config": {"shape": [None, 2], "dtype": "float32", "keras_history": [*history]}}


VALUES: list[Any] = [
    None, True, -1, 0, 1, 2.5, 10**30, "", "x", "enc", "float", [], {}, [1], [[]], {"a": 1}, [None], ["x"], "\ud800",
    [1, [2]], ["enc", 0, 0], ["x", 0, 0], [["x", 0, 0]], {"k": ["x", 0, 0]}, tensor("enc", 0, 1), tensor("sum", 0, 0),
    tensor("inner", 1, 0), tensor("nothing", 0, 0), tensor("enc", 0, 10**30), tensor("enc", -1, 0),
    tensor(["enc"], 0, 0),
    tensor(), {"class_name": TENSOR}, {"class_name": 5}, {"class_name": "Dense", "config": {"units": 2}},
    [{"args": [], "kwargs": {}}], [{"args": [3], "kwargs": {"mask": "implied"}}],
    [{"args": [], "kwargs": {"inputs": None}}],
    [{"args": [tensor("x", 0, 0)], "kwargs": {"mask": tensor("x", 0, 0)}}], [{"args": [[tensor("h", 0, 0)]]}],
    "keras.src.ops.numpy", "keras.layers", "Functional", "Lambda",
]  # fmt: skip


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in items:
        yield from paths(entry, (*here, key))


MISSING = object()


def damaged(path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return {} if value is MISSING else value
    made = copy.deepcopy(JSON)
    place = made
    for key in path[:-1]:
        place = place[key]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return made


PATHS = list(paths(JSON))
WIRING = [p for p in PATHS if {"inbound_nodes", "input_layers", "output_layers"} & set(p) or p[-1:] == ("name",)]


def is_a_spec_error_or_a_sound_model(path: tuple[Any, ...], value: Any) -> None:
    try:
        model = model_from_json(json.dumps(damaged(path, value)))
    except SpecError as error:
        assert str(error)
        return
    except Exception as failure:
        raise AssertionError(f"{path} = {value!r}: {type(failure).__name__} {failure}") from failure
    assert model_from_json(model.to_json()).to_json() == model.to_json(), f"{path} = {value!r}"


def test_the_description_is_whole() -> None:
    is_a_spec_error_or_a_sound_model(("config", "name"), "other")
    assert model_from_json(json.dumps(JSON)).to_json() == json.dumps(JSON)


@pytest.mark.parametrize("value", [*VALUES, MISSING], ids=lambda value: repr(value)[:30])
def test_any_value_anywhere_is_a_spec_error_or_a_sound_model(value: Any) -> None:
    r = random.Random(repr(value) if value is not MISSING else "missing")
    for path in {*r.sample(WIRING, 16), *r.sample(PATHS, 16)} if value is not MISSING else PATHS[::4]:
        is_a_spec_error_or_a_sound_model(path, value)


def entry(name: str) -> dict[str, Any]:
    return next(entry for entry in JSON["config"]["layers"] if entry["name"] == name)


def place(name: str, *rest: Any) -> tuple[Any, ...]:
    return ("config", "layers", JSON["config"]["layers"].index(entry(name)), *rest)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (place("dec", "inbound_nodes", 0, "args", 0), tensor("sum", 0, 0), "wait for each other, in a cycle.*dec"),
        (place("enc", "inbound_nodes", 0, "args", 0), tensor("enc", 0, 0), "in a cycle or .*: enc"),
        (place("inner", "inbound_nodes", 0, "args", 0), tensor("inner", 1, 0), "in a cycle"),
        (place("dec", "inbound_nodes", 0, "args", 0), tensor("dce", 0, 0), "names a layer that is not there.*'dec'"),
        (place("dec", "inbound_nodes", 0, "args", 0), tensor("enc", 0, 7), "an output that nothing makes: dec"),
        (place("dec", "inbound_nodes", 0, "args", 0), {"class_name": TENSOR}, "names no output"),
        (place("dec", "inbound_nodes", 0, "kwargs", "colour"), 1, "SimpleRNN 'dec' takes no call argument 'colour'"),
        (place("dec", "inbound_nodes", 0), {"args": []}, "SimpleRNN 'dec' is called on nothing"),
        (place("dec", "inbound_nodes", 0), [["enc", 0, 0, {}]], "is no call; expected args and kwargs"),
        (place("dec", "inbound_nodes"), [], "or for an output that nothing makes: chain, sum"),
        (place("dec", "name"), "enc", "called 'enc' there and 'dec' in its own config"),
        (place("enc"), entry("e"), "two layers are called 'e'"),
        (place("dec", "class_name"), "SimpelRNN", "Unknown layer 'SimpelRNN'.*Did you mean 'SimpleRNN'"),
        (place("dec", "class_name"), "Lambda", "'Lambda' layer is code, not a description"),
        (place("dec", "class_name"), ["SimpleRNN"], "Unknown layer"),
        (place("dec", "config", "units"), 0, "SimpleRNN 'dec': units is 0"),
        (("config", "layers"), None, "'layers' is no list"),
        (("config", "layers"), [], "names a layer that is not there"),
        (("config", "input_layers"), [], "'input_layers' holds"),
        (("config", "output_layers"), None, "'output_layers' holds None"),
        (("config", "output_layers"), [["sum", 1, 0]], "names an output that its layer does not have"),
        (("config", "input_layers"), [["x", 0, 0]], "disconnected.*'ids'"),
        (("config", "input_layers"), [["x", 0, 0], ["ids", 0, 0], ["x", 0, 0]], "'x' is given twice"),
        (("config", "colour"), 1, "no config key 'colour'"),
        (("config",), None, "layers"),
        (("class_name",), "Function", "The model 'Function' of module .* is not one of Keras' own"),
    ],
)  # fmt: skip
def test_what_the_message_says(path: tuple[Any, ...], value: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        model_from_json(json.dumps(damaged(path, value)))


def test_a_lambda_from_a_file_is_refused_by_name_and_reason() -> None:
    text = json.dumps({"class_name": "Lambda", "config": {"name": "l", "function": "code"}, "module": "keras.layers"})
    with pytest.raises(SpecError, match="a 'Lambda' layer is code, not a description: it cannot be read"):
        lc.layers.deserialize(json.loads(text))
    chain = {"module": "keras", "class_name": "Sequential", "config": {"layers": [json.loads(text)]}}
    with pytest.raises(SpecError, match="'Lambda' layer is code"):
        model_from_json(json.dumps(chain))


def test_models_nested_without_end_are_refused() -> None:
    text = '{"module": "keras", "class_name": "Sequential", "config": {"layers": [' * 400 + "]}}" * 400
    with pytest.raises(SpecError):
        model_from_json(text)
