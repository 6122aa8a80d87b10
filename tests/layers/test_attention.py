"""Attention, AdditiveAttention, MultiHeadAttention: numbers, masks, shapes, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore.errors import LstmcoreError, SpecError
from lstmcore.initializers import GlorotUniform
from lstmcore.layers import LSTM, AdditiveAttention, Attention, Embedding, Input, MultiHeadAttention
from lstmcore.models import Model

NAMES = ("Attention", "AdditiveAttention")


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


Q, V, K = numbers(2, 3, 4), numbers(2, 5, 4, seed=1), numbers(2, 5, 4, seed=2)
WHOLE = {"dtype": "float64"}


def softmax(scores: np.ndarray) -> np.ndarray:
    share = np.exp(scores - scores.max(-1, keepdims=True))
    return share / share.sum(-1, keepdims=True)


def set_numbers(layer: Any) -> None:
    layer.set_weights([numbers(*w.shape, seed=7 + k) for k, w in enumerate(layer.get_weights())])


def test_products_on_paper() -> None:
    q, v = np.array([[[0.0], [np.log(3)]]]), np.array([[[0.0], [1.0]]])
    y, weights = Attention(**WHOLE)([q, v], return_attention_scores=True)
    np.testing.assert_allclose(weights, [[[0.5, 0.5], [0.25, 0.75]]])
    np.testing.assert_allclose(y, [[[0.5], [0.75]]])


def test_scale_multiplies_the_scores() -> None:
    layer = Attention(use_scale=True, **WHOLE)
    layer([Q, V, K])
    assert {name: w.tolist() for name, w in layer.weights.items()} == {"scale": 1.0}
    layer.set_weights([np.array(0.5)])
    expected = softmax(0.5 * Q @ K.transpose(0, 2, 1)) @ V
    np.testing.assert_allclose(layer([Q, V, K]), expected, rtol=1e-12)


@pytest.mark.parametrize("use_scale", [False, True])
def test_sums(use_scale: bool) -> None:
    sums = Q[:, :, None] + K[:, None]
    luong = Attention(use_scale=use_scale, score_mode="concat", **WHOLE)
    luong([Q, V, K])
    assert list(luong.weights) == ["scale", "concat_score_weight"][not use_scale :]
    weights = [np.array(0.5), np.array(2.0)][not use_scale :]
    luong.set_weights(weights)
    scores = 2 * np.tanh((0.5 if use_scale else 1) * sums).sum(-1)
    np.testing.assert_allclose(luong([Q, V, K]), softmax(scores) @ V, rtol=1e-12)
    bahdanau = AdditiveAttention(use_scale=use_scale, **WHOLE)
    bahdanau([Q, V, K])
    scale = numbers(4, seed=9)
    if use_scale:
        bahdanau.set_weights([scale])
    scores = (np.tanh(sums) * (scale if use_scale else 1)).sum(-1)
    np.testing.assert_allclose(bahdanau([Q, V, K]), softmax(scores) @ V, rtol=1e-12)


def test_the_scale_of_sums_starts_as_glorot_uniform() -> None:
    layer = AdditiveAttention()
    layer.build([(None, 3, 300), (None, 5, 300)])
    (scale,) = layer.get_weights()
    assert 0.09 < np.abs(scale).max() <= np.sqrt(6 / 600)


@pytest.mark.parametrize("name", NAMES)
def test_masks(name: str) -> None:
    layer = getattr(layers, name)(**WHOLE)
    seen = np.array([[True, True, False, True, False], [False] * 5])
    asked = np.array([[True, False, True], [True, True, False]])
    y, weights = layer([Q, V], mask=[asked, seen], return_attention_scores=True)
    assert (weights[0][:, [2, 4]] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1)
    np.testing.assert_allclose(weights[1], 0.2)  # nothing to look at: evenly at everything
    assert (y[~asked] == 0).all() and (y[asked] != 0).all()
    short = layer([Q[:1], V[:1][:, [0, 1, 3]]], mask=[asked[:1], None])
    np.testing.assert_allclose(y[:1], short, rtol=1e-12)
    third = layer([Q, V, V], mask=[asked, seen, np.zeros((2, 5), bool)])
    assert np.array_equal(third, y)


@pytest.mark.parametrize("name", (*NAMES, "MultiHeadAttention"))
def test_a_causal_layer_does_not_see_the_future(name: str) -> None:
    x = Input((None, 4), dtype="float64")
    if name == "MultiHeadAttention":
        layer: Any = MultiHeadAttention(2, 3, **WHOLE)
        y = layer(x, x, use_causal_mask=True)
    else:
        layer = getattr(layers, name)(**WHOLE)
        y = layer([x, x], use_causal_mask=True)
    model = Model(x, y)
    other = V.copy()
    other[:, 3:] += 1
    before, after = model.predict(V), model.predict(other)
    np.testing.assert_allclose(before[:, :3], after[:, :3], rtol=1e-12)
    assert (np.abs(before - after)[:, 3:] > 1e-6).any(-1).all()


def test_a_mask_and_a_causal_one_hold_together() -> None:
    ids, x = Input((5,), dtype="int32"), Input((3, 4), dtype="float64")
    embed = Embedding(6, 4, mask_zero=True, **WHOLE)
    model = Model([x, ids], Attention(**WHOLE)([x, embed(ids)], use_causal_mask=True))
    given = np.array([[1, 0, 2, 3, 4], [5, 4, 0, 0, 1]])
    value = embed.get_weights()[0][given]
    allowed = np.tri(3, 5, dtype=bool) & (given != 0)[:, None]
    weights = softmax(np.where(allowed, Q @ value.transpose(0, 2, 1), -np.inf))
    np.testing.assert_allclose(model.predict([Q, given]), weights @ value, rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_of_the_query_goes_on_and_comes_from_the_graph(name: str) -> None:
    a, b = Input((3,), dtype="int32"), Input((5,), dtype="int32")
    embed = Embedding(6, 4, mask_zero=True)
    layer = getattr(layers, name)()
    y, scores = layer([embed(a), embed(b)], return_attention_scores=True)
    assert (y.mask, scores.mask) == ((None, 3), None)
    ids = np.array([[1, 2, 0]]), np.array([[3, 4, 0, 0, 0]])
    model = Model([a, b], [y, scores])
    found, weights = model.predict(list(ids))
    assert (found[0, 2] == 0).all() and (weights[0, :, 2:] == 0).all() and (weights[0, :, :2] > 0).all()


def heads(q: Any, v: Any, k: Any, w: dict[str, np.ndarray], allowed: Any) -> np.ndarray:
    project = lambda x, part: np.einsum("btd,dnh->btnh", x, w[f"{part}/kernel"]) + w[f"{part}/bias"]  # noqa: E731
    query = project(q, "query")
    scores = np.einsum("btnh,bsnh->bnts", query, project(k, "key")) / np.sqrt(query.shape[-1])
    weights = softmax(np.where(allowed, scores, -np.inf))
    y = np.einsum("bnts,bsnv->btnv", weights, project(v, "value"))
    if "gate/kernel" in w:
        y = y / (1 + np.exp(-project(q, "gate")))
    return np.einsum("btnv,nvo->bto", y, w["attention_output/kernel"]) + w["attention_output/bias"]


@pytest.mark.parametrize("gate", [False, True])
def test_heads(gate: bool) -> None:
    layer = MultiHeadAttention(3, 2, value_dim=5, output_shape=6, use_gate=gate, **WHOLE)
    layer(Q, V, K)
    shapes = {
        "query/kernel": (4, 3, 2),
        "query/bias": (3, 2),
        "key/kernel": (4, 3, 2),
        "key/bias": (3, 2),
        **({"gate/kernel": (4, 3, 5), "gate/bias": (3, 5)} if gate else {}),
        "value/kernel": (4, 3, 5),
        "value/bias": (3, 5),
        "attention_output/kernel": (3, 5, 6),
        "attention_output/bias": (6,),
    }
    assert {name: w.shape for name, w in layer.weights.items()} == shapes
    assert list(layer.weights) == list(shapes)
    set_numbers(layer)
    np.testing.assert_allclose(layer(Q, V, key=K), heads(Q, V, K, dict(layer.weights), True), rtol=1e-10)


def test_masks_of_heads_hold_together() -> None:
    layer = MultiHeadAttention(2, 3, **WHOLE)
    layer(Q, V, K)
    set_numbers(layer)
    seen = np.array([[True, True, False, True, True], [True, True, True, False, False]])
    known = np.array([[True, True, True, True, False], [True, False, True, True, True]])
    pairs = numbers(2, 3, 5, seed=4) > -1
    assert (pairs & seen[:, None] & known[:, None]).any(-1).all()
    y = layer(Q, V, K, value_mask=seen, key_mask=known, attention_mask=pairs)
    allowed = (pairs & seen[:, None] & known[:, None])[:, None]
    np.testing.assert_allclose(y, heads(Q, V, K, dict(layer.weights), allowed), rtol=1e-10)
    per_head = np.repeat(pairs[:, None], 2, 1)
    per_head[:, 1] = True
    y = layer(Q, V, K, attention_mask=per_head)
    np.testing.assert_allclose(y, heads(Q, V, K, dict(layer.weights), per_head), rtol=1e-10)


@pytest.mark.parametrize("width", [1, 2, 9])
@pytest.mark.parametrize("steps", [5, None])
def test_a_sliding_window(width: int, steps: int | None) -> None:
    x = Input((steps, 4), dtype="float64")
    layer = MultiHeadAttention(2, 3, sliding_window=width, **WHOLE)
    model = Model(x, layer(x, x))
    set_numbers(layer)
    near = np.abs(np.subtract.outer(np.arange(5), np.arange(5))) < width
    np.testing.assert_allclose(model.predict(V), heads(V, V, V, dict(layer.weights), near), rtol=1e-10)


def test_nothing_to_look_at_is_as_in_keras() -> None:
    """Evenly at everything; but 0 where the scores are returned or there is dropout (Keras 3.15, TensorFlow)."""
    seen = np.zeros((2, 5), bool)
    layer, dropping = MultiHeadAttention(2, 3, **WHOLE), MultiHeadAttention(2, 3, dropout=0.5, **WHOLE)
    for one in (layer, dropping):
        one(Q, V)
        set_numbers(one)
    w = dict(layer.weights)
    mean = (np.einsum("bsd,dnh->bsnh", V, w["value/kernel"]) + w["value/bias"]).mean(1)
    evenly = np.einsum("bnv,nvo->bo", mean, w["attention_output/kernel"]) + w["attention_output/bias"]
    np.testing.assert_allclose(layer(Q, V, value_mask=seen), np.repeat(evenly[:, None], 3, 1), rtol=1e-10)
    y, weights = layer(Q, V, value_mask=seen, return_attention_scores=True)
    assert (weights == 0).all()
    np.testing.assert_allclose(y, np.broadcast_to(w["attention_output/bias"], y.shape), rtol=1e-12)
    assert np.array_equal(dropping(Q, V, value_mask=seen), y)


@pytest.mark.parametrize("axes", [None, 1, (2,), (1, 2), -2])
def test_attention_over_chosen_axes(axes: Any) -> None:
    x = numbers(2, 3, 4, 5)
    layer = MultiHeadAttention(2, 3, attention_axes=axes, **WHOLE)
    y, weights = layer(x, x, return_attention_scores=True)
    over = (1, 2) if axes in (None, (1, 2)) else (1,) if axes == 1 else (2,)
    assert weights.shape == {(1, 2): (2, 2, 3, 4, 3, 4), (1,): (2, 4, 2, 3, 3), (2,): (2, 3, 2, 4, 4)}[over]
    np.testing.assert_allclose(weights.sum(tuple(range(weights.ndim - len(over), weights.ndim))), 1)
    w = dict(layer.weights)
    rows = {(1,): x.transpose(0, 2, 1, 3).reshape(8, 3, 5), (2,): x.reshape(6, 4, 5), (1, 2): x.reshape(2, 12, 5)}[over]
    found = {(1,): y.transpose(0, 2, 1, 3), (2,): y, (1, 2): y}[over].reshape(rows.shape)
    np.testing.assert_allclose(found, heads(rows, rows, rows, w, True), rtol=1e-10)


def test_masks_with_more_axes() -> None:
    x, seen = numbers(2, 3, 4, 5), numbers(2, 3, 4, seed=3) > -1
    layer = MultiHeadAttention(2, 3, attention_axes=2, **WHOLE)
    y = layer(x, x, value_mask=seen)
    rows, flat = x.reshape(6, 4, 5), seen.reshape(6, 1, 1, 4)
    np.testing.assert_allclose(y.reshape(6, 4, 5), heads(rows, rows, rows, dict(layer.weights), flat), rtol=1e-10)


def test_all_lengths_may_be_open() -> None:
    x, pairs = Input((None, 4), dtype="float64"), Input((None, None), dtype="bool")
    layer = MultiHeadAttention(2, 3, **WHOLE)
    model = Model([x, pairs], layer(x, x, attention_mask=pairs))
    allowed = numbers(2, 5, 5) > -1
    expected = heads(V, V, V, dict(layer.weights), allowed[:, None])
    np.testing.assert_allclose(model.predict([V, allowed]), expected, rtol=1e-10)


def test_the_mask_of_the_query_goes_on_from_heads() -> None:
    a, b = Input((3,), dtype="int32"), Input((5,), dtype="int32")
    embed = Embedding(6, 4, mask_zero=True)
    layer = MultiHeadAttention(2, 3)
    y, scores = layer(embed(a), embed(b), return_attention_scores=True)
    assert (y.mask, scores.mask) == ((None, 3), None)
    model = Model([a, b], scores)
    weights = model.predict([np.array([[1, 2, 0]]), np.array([[3, 4, 0, 0, 0]])])
    assert (weights[..., 2:] == 0).all() and (weights[:, :, 2] == 0).all() and (weights[:, :, :2, :2] > 0).all()
    explicit = Input((3,), dtype="bool")
    assert MultiHeadAttention(2, 3)(Input((3, 4)), Input((5, 4)), query_mask=explicit).mask == (None, 3)


def test_kernels_of_heads_start_with_the_fans_of_keras() -> None:
    layer = MultiHeadAttention(4, 8, output_shape=(6, 2))
    layer.build((None, 3, 100), (None, 5, 100))
    tops = {name: float(np.abs(w).max()) for name, w in layer.weights.items()}
    for name, limit in (("query", 6 / 132), ("key", 6 / 132), ("value", 6 / 132), ("attention_output", 6 / 44)):
        assert 0.97 * np.sqrt(limit) < tops[f"{name}/kernel"] <= np.sqrt(limit)
        assert tops[f"{name}/bias"] == 0
    chosen = GlorotUniform(input_axes=(0, 1), output_axes=(2,))
    own = MultiHeadAttention(4, 8, kernel_initializer=chosen)
    assert own.initializer("query/kernel") is own.kernel_initializer
    assert MultiHeadAttention(4, 8, kernel_initializer="zeros").initializer("key/kernel").sample((2,), None).sum() == 0


def test_dropout_is_for_training_and_is_said_to_be() -> None:
    x = Input((3, 4))
    for layer, y in (
        (a := Attention(dropout=0.5, name="one"), a([x, x])),
        (m := MultiHeadAttention(2, 3, dropout=0.5, name="two"), m(x, x)),
    ):
        assert f"{layer.name}: dropout acts in training only" in str(Model(x, y).explain())


def everything(dtype: str) -> Model:
    kept = {"dtype": dtype}
    a, b = Input((None, 4), name="a", dtype=dtype), Input((None, 4), name="b", dtype=dtype)
    q, v = layers.Masking(**kept)(a), layers.Masking(**kept)(b)
    made = [
        Attention(use_scale=True, **kept)([q, v]),
        Attention(score_mode="concat", **kept)([q, v], use_causal_mask=True),
        AdditiveAttention(**kept)([q, v, b]),
        MultiHeadAttention(2, 3, use_gate=True, **kept)(q, v),
        MultiHeadAttention(2, 3, sliding_window=2, **kept)(q, q, use_causal_mask=True),
    ]
    _, scores = MultiHeadAttention(2, 3, **kept)(q, v, b, return_attention_scores=True)
    return Model([a, b], [LSTM(3, **kept)(layers.Concatenate(**kept)(made)), *made, scores])


def padded() -> dict[str, np.ndarray]:
    a, b = numbers(3, 4, 4), numbers(3, 5, 4, seed=1)
    a[0, 2:], b[0, 3:], b[1], b[2, 0] = 0, 0, 0, 0
    return {"a": a, "b": b}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_backend_agrees(dtype: str) -> None:
    comparison = lc.compare(everything(dtype), padded())
    assert comparison.ok and len(comparison.rows) >= 3, str(comparison)
    assert comparison.limit == 16


def test_a_saved_model_computes_the_same(tmp_path: Path) -> None:
    model, x = everything("float32"), padded()
    model.save(tmp_path / "m.safetensors")
    again = lc.load_model(tmp_path / "m.safetensors")
    assert list(again.weights) == list(model.weights)
    for y, z in zip(model.predict(x), again.predict(x), strict=True):
        assert np.array_equal(y, z)


def test_a_shared_layer_of_heads_has_its_weights_once() -> None:
    x, layer = Input((None, 4)), MultiHeadAttention(2, 3)
    model = Model(x, layer(layer(x, x), x))
    assert model.count_params() == layer.count_params() == 3 * (4 * 6 + 6) + 6 * 4 + 4
    assert layer.compute_output_shape((None, 3, 4), (None, 5, 4)) == (None, 3, 4)
    with pytest.raises(SpecError, match="cannot also take"):
        layer(x, Input((None, 5)))


def test_the_form_for_keras_leaves_out_the_shapes_that_it_cannot_read() -> None:
    layer = MultiHeadAttention(2, 3, name="heads")
    layer.build((None, 3, 4), (None, 5, 4))
    assert "build_config" not in layer.serialize()


QUERY, VALUE = (3, 4), (5, 4)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Attention()(Input(QUERY)), r"expected a list, \[query, value\]"),
        (lambda: Attention()([Input(QUERY)]), "1 tensors; expected"),
        (lambda: Attention()([Input(QUERY)] * 4), "4 tensors; expected"),
        (lambda: Attention()([Input(QUERY), Input((5, 3))]), "query, value and key have shapes"),
        (lambda: Attention()([Input(QUERY), Input(VALUE), Input((6, 4))]), "query, value and key have shapes"),
        (lambda: Attention()([Input((4,)), Input((4,))]), "query, value and key have shapes"),
        (lambda: AdditiveAttention()([Input((3, None)), Input((5, None))]), "must have a known length"),
        (lambda: Attention(score_mode="sum"), "score_mode is 'sum'; expected one of 'dot', 'concat'"),
        (lambda: Attention(dropout=2), "dropout is 2"),
        (lambda: AdditiveAttention(score_mode="dot"), "no option 'score_mode'"),
        (lambda: MultiHeadAttention(2, 3)(Input(QUERY)), "called on a query and a value"),
        (lambda: MultiHeadAttention(2, 3)([Input(QUERY), Input(VALUE)]), "called on a query and a value"),
        (lambda: MultiHeadAttention(2, 3)(Input(QUERY), Input(VALUE), Input((6, 4))), "as many keys in value and key"),
        (lambda: MultiHeadAttention(2, 3)(Input(QUERY), Input((2, 5, 4))), "query, value and key have shapes"),
        (lambda: MultiHeadAttention(2, 3)(Input((4,)), Input((4,))), "expected one or several of those between"),
        (lambda: MultiHeadAttention(2, 3)(Input((3, None)), Input(VALUE)), "must have a known length"),
        (lambda: MultiHeadAttention(2, 3, attention_axes=2)(Input(QUERY), Input(VALUE)), "attention over the axes"),
        (lambda: MultiHeadAttention(2, 3, attention_axes=(1, 1))(Input(QUERY), Input(VALUE)), "each once"),
        (lambda: MultiHeadAttention(0, 3), "num_heads is 0"),
        (lambda: MultiHeadAttention(2, 3, value_dim=-1), "value_dim is -1"),
        (lambda: MultiHeadAttention(2, 3, flash_attention=True), "flash_attention is True"),
        (lambda: MultiHeadAttention(2, 3, output_shape=(0,)), "output_shape is"),
        (
            lambda: MultiHeadAttention(2, 3)(Input(QUERY), Input(VALUE), attention_mask=Input((3, 6), dtype="bool")),
            r"attention_mask has shape \(None, 3, 6\)",
        ),
        (
            lambda: MultiHeadAttention(2, 3)(Input(QUERY), Input(VALUE), attention_mask=Input((5,), dtype="bool")),
            r"attention_mask has shape \(None, 5\)",
        ),
        (
            lambda: MultiHeadAttention(2, 3)(Input((2, 3, 4)), Input((2, 3, 4)), use_causal_mask=True),
            "one axis of attention",
        ),
        (
            lambda: MultiHeadAttention(2, 3)(
                Input((2, 3, 4)), Input((2, 3, 4)), value_mask=Input((2, 3), dtype="bool")
            ),
            "one axis of attention",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()


@pytest.mark.parametrize(
    ("inputs", "mask", "told"),
    [
        ([Q, V], np.ones((2, 3), bool), "the mask is one alone; expected a list"),
        ([Q, V], [np.ones((2, 3), bool)], "the mask is a list of 1"),
        ([Q, V], [np.ones((2, 3, 1), bool), None], "goes with a query of shape"),
        ([Q[:, None], V[:, None]], [None, np.ones((2, 5), bool)], "goes with a query of shape"),
    ],
)
def test_masks_that_do_not_fit_are_refused(inputs: Any, mask: Any, told: str) -> None:
    with pytest.raises(LstmcoreError, match=told):
        Attention()(inputs, mask=mask)
