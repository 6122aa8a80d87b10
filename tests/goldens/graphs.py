"""Functional models that are recorded: each a function of the namespace that has ``layers``, ``Input`` and ``Model``.

Every layer has a name, except where the automatic ones are of interest (``auto_``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

GRAPHS: dict[str, Callable[[Any], Any]] = {}


def graph(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    GRAPHS[make.__name__] = make
    return make


def series(k: Any, name: str = "series", features: int = 5) -> Any:
    return k.Input((6, features), name=name)


def words(k: Any, name: str = "words", length: int | None = 6) -> Any:
    return k.Input((length,), dtype="int32", name=name)


def embedded(k: Any, ids: Any, name: str = "embed", **options: Any) -> Any:
    return k.layers.Embedding(9, 4, mask_zero=True, name=name, **options)(ids)


@graph
def two_inputs(k: Any) -> Any:
    a, b = series(k), k.Input((3,), name="extra")
    h = k.layers.LSTM(4, name="read")(a)
    y = k.layers.Dense(2, activation="tanh", name="head")(k.layers.Concatenate(name="join")([h, b]))
    return k.Model([a, b], y, name="two_inputs")


@graph
def two_outputs(k: Any) -> Any:
    x = series(k)
    h = k.layers.GRU(4, return_sequences=True, name="read")(x)
    each = k.layers.TimeDistributed(k.layers.Dense(3, name="inner"), name="each")(h)
    last = k.layers.Dense(2, name="last")(k.layers.LSTM(3, name="sum_up")(h))
    return k.Model(x, [each, last], name="two_outputs")


@graph
def shared_layer(k: Any) -> Any:
    a, b = series(k, "a"), series(k, "b")
    read = k.layers.LSTM(4, name="read")
    y = k.layers.Dense(2, name="head")(k.layers.Subtract(name="less")([read(a), read(b)]))
    return k.Model([a, b], y, name="shared_layer")


@graph
def layer_twice(k: Any) -> Any:
    x = k.Input((5,), name="x")
    dense = k.layers.Dense(5, activation="tanh", name="again")
    return k.Model(x, dense(k.layers.Activation("relu", name="between")(dense(x))), name="layer_twice")


@graph
def nested_sequential(k: Any) -> Any:
    x = series(k)
    parts = [k.Input((6, 5), name="in"), k.layers.LSTM(4, name="read"), k.layers.Dense(3, name="d")]
    inner = k.Sequential(parts, name="inner")
    return k.Model(x, k.layers.Dense(2, name="head")(inner(x)), name="nested_sequential")


def pair_reader(k: Any) -> Any:
    a, b = series(k, "inner_a"), k.Input((3,), name="inner_b")
    h = k.layers.GRU(4, name="inner_read")(a)
    out = k.layers.Concatenate(name="inner_join")([h, k.layers.Dense(2, name="inner_dense")(b)])
    return k.Model([a, b], [out, h], name="inner")


@graph
def nested_functional(k: Any) -> Any:
    a, b = series(k, "a"), k.Input((3,), name="b")
    joined, h = pair_reader(k)([a, b])
    return k.Model([a, b], [k.layers.Dense(2, name="head")(joined), h], name="nested_functional")


@graph
def nested_deep(k: Any) -> Any:
    a, b = series(k, "a"), k.Input((3,), name="b")
    x, z = series(k, "mid_a"), k.Input((3,), name="mid_b")
    middle = k.Model([x, z], k.layers.Dense(4, name="mid_dense")(pair_reader(k)([x, z])[0]), name="middle")
    return k.Model([a, b], k.layers.Dense(1, name="head")(middle([a, b])), name="nested_deep")


@graph
def siamese(k: Any) -> Any:
    x = series(k, "x")
    tower = k.Model(x, k.layers.Dense(3, name="project")(k.layers.LSTM(4, name="read")(x)), name="tower")
    a, b = series(k, "a"), series(k, "b")
    return k.Model([a, b], k.layers.Dot(1, normalize=True, name="cosine")([tower(a), tower(b)]), name="siamese")


@graph
def encoder_decoder(k: Any) -> Any:
    a, b = series(k, "source"), series(k, "target", 3)
    _, h, c = k.layers.LSTM(4, return_state=True, name="encoder")(a)
    y, _, _ = k.layers.LSTM(4, return_sequences=True, return_state=True, name="decoder")(b, initial_state=[h, c])
    return k.Model([a, b], k.layers.Dense(3, activation="softmax", name="head")(y), name="encoder_decoder")


@graph
def gru_decoder(k: Any) -> Any:
    a, b = series(k, "source"), series(k, "target", 3)
    _, h = k.layers.GRU(4, return_state=True, name="encoder")(a)
    y, last = k.layers.GRU(4, return_sequences=True, return_state=True, name="decoder")(b, initial_state=h)
    return k.Model([a, b], [y, last], name="gru_decoder")


@graph
def states_of_both_ways(k: Any) -> Any:
    a, b = series(k, "source"), series(k, "target", 3)
    both = k.layers.Bidirectional(k.layers.LSTM(2, return_state=True, name="way"), name="encoder")
    _, h1, c1, h2, c2 = both(a)
    h = k.layers.Concatenate(name="h")([h1, h2])
    c = k.layers.Concatenate(name="c")([c1, c2])
    return k.Model([a, b], k.layers.LSTM(4, name="decoder")(b, initial_state=[h, c]), name="states_of_both_ways")


@graph
def both_ways_with_states(k: Any) -> Any:
    x, h, g = series(k), k.Input((3,), name="h"), k.Input((3,), name="g")
    both = k.layers.Bidirectional(k.layers.GRU(3, return_sequences=True, name="way"), merge_mode="sum", name="both")
    return k.Model([x, h, g], both(x, initial_state=[h, g]), name="both_ways_with_states")


@graph
def states_as_inputs(k: Any) -> Any:
    x, h, c = series(k), k.Input((4,), name="h"), k.Input((4,), name="c")
    y, *after = k.layers.LSTM(4, return_state=True, name="step")(x, initial_state=[h, c])
    return k.Model([x, h, c], [y, *after], name="states_as_inputs")


@graph
def dict_inputs(k: Any) -> Any:
    x = {"numbers": series(k, "numbers"), "extra": k.Input((3,), name="extra")}
    h = k.layers.SimpleRNN(4, name="read")(x["numbers"])
    y = {"value": k.layers.Dense(1, name="value")(h), "kind": k.layers.Dense(3, name="kind")(x["extra"])}
    return k.Model(x, y, name="dict_inputs")


@graph
def masked_stack(k: Any) -> Any:
    ids = words(k)
    h = k.layers.LSTM(4, return_sequences=True, name="first")(embedded(k, ids))
    h = k.layers.Bidirectional(k.layers.GRU(3, return_sequences=True, name="way"), name="second")(h)
    each = k.layers.TimeDistributed(k.layers.Dense(2, name="inner"), name="each")(h)
    mean = k.layers.GlobalAveragePooling1D(name="mean")(each)
    return k.Model(ids, [each, mean, k.layers.GRU(3, name="third")(each)], name="masked_stack")


@graph
def masked_merges(k: Any) -> Any:
    a, b = words(k, "a"), words(k, "b")
    embed = k.layers.Embedding(9, 4, mask_zero=True, name="embed")
    x, z = (k.layers.LSTM(4, return_sequences=True, name=f"read_{n}")(embed(ids)) for n, ids in (("a", a), ("b", b)))
    total = k.layers.LSTM(3, name="of_sum")(k.layers.Add(name="sum")([x, z]))
    joined = k.layers.GRU(3, name="of_join")(k.layers.Concatenate(name="join")([x, z]))
    later = k.layers.LSTM(3, name="of_later")(k.layers.Concatenate(axis=1, name="later")([x, z]))
    return k.Model([a, b], [total, joined, later], name="masked_merges")


@graph
def mask_meets_none(k: Any) -> Any:
    ids, x = words(k), series(k, "x", 4)
    e = embedded(k, ids)
    added = k.layers.LSTM(3, name="of_sum")(k.layers.Add(name="sum")([e, x]))
    joined = k.layers.LSTM(3, name="of_join")(k.layers.Concatenate(name="join")([e, x]))
    later = k.layers.LSTM(3, name="of_later")(k.layers.Concatenate(axis=1, name="later")([x, e]))
    return k.Model([ids, x], [added, joined, later], name="mask_meets_none")


@graph
def mask_ends(k: Any) -> Any:
    ids = words(k)
    e = embedded(k, ids)
    h = k.layers.Conv1D(4, 2, padding="causal", name="conv")(e)
    flat = k.layers.Dense(2, name="head")(k.layers.Flatten(name="flat")(e))
    return k.Model(ids, [k.layers.LSTM(3, name="read")(h), flat], name="mask_ends")


@graph
def mask_given(k: Any) -> Any:
    x, m = series(k), k.Input((6,), dtype="bool", name="valid")
    h = k.layers.LSTM(4, return_sequences=True, name="first")(x, mask=m)
    return k.Model([x, m], k.layers.GRU(3, name="second")(h), name="mask_given")


@graph
def mask_into_nested(k: Any) -> Any:
    x = series(k, "inner_x", 4)
    inner = k.Model(x, k.layers.GRU(3, return_sequences=True, name="inner_read")(x), name="inner")
    parts = [k.Input((6, 3), name="seq_in"), k.layers.LSTM(3, return_sequences=True, name="seq_read")]
    plain = k.Sequential(parts, name="seq")
    ids = words(k)
    return k.Model(ids, k.layers.LSTM(2, name="last")(plain(inner(embedded(k, ids)))), name="mask_into_nested")


@graph
def masking_layer(k: Any) -> Any:
    x = series(k)
    h = k.layers.LSTM(4, return_sequences=True, name="first")(k.layers.Masking(0.0, name="skip")(x))
    h = k.layers.Dropout(0.5, name="drop")(k.layers.LayerNormalization(epsilon=0.25, name="norm")(h))
    return k.Model(x, k.layers.LSTM(3, name="second")(h), name="masking_layer")


@graph
def attention_decoder(k: Any) -> Any:
    ids, b = words(k, "source", 7), series(k, "target", 3)
    read, h, c = k.layers.LSTM(4, return_sequences=True, return_state=True, name="encoder")(embedded(k, ids))
    y = k.layers.LSTM(4, return_sequences=True, name="decoder")(b, initial_state=[h, c])
    seen = k.layers.Attention(name="look")([y, read])
    y = k.layers.Concatenate(name="join")([y, seen])
    y = k.layers.TimeDistributed(k.layers.Dense(3, activation="softmax", name="inner"), name="each")(y)
    return k.Model([ids, b], y, name="attention_decoder")


@graph
def attention_scores(k: Any) -> Any:
    a, b = series(k, "query", 4), series(k, "value", 4)
    y, scores = k.layers.AdditiveAttention(name="look")([a, b], return_attention_scores=True)
    return k.Model([a, b], [k.layers.GRU(3, name="read")(y), scores], name="attention_scores")


@graph
def transformer_block(k: Any) -> Any:
    x = series(k, "x", 4)
    y = k.layers.MultiHeadAttention(2, 4, name="heads")(x, x, use_causal_mask=True)
    x1 = k.layers.LayerNormalization(epsilon=0.25, name="norm1")(k.layers.Add(name="add1")([x, y]))
    y = k.layers.Dense(4, name="down")(k.layers.Dense(8, activation="relu", name="up")(x1))
    x2 = k.layers.LayerNormalization(epsilon=0.25, name="norm2")(k.layers.Add(name="add2")([x1, y]))
    return k.Model(x, k.layers.GlobalMaxPooling1D(name="pool")(x2), name="transformer_block")


@graph
def cross_heads(k: Any) -> Any:
    a, b, c = series(k, "query"), series(k, "value", 3), series(k, "key", 4)
    heads = k.layers.MultiHeadAttention(2, 4, value_dim=3, output_shape=2, name="heads")
    y, scores = heads(a, b, key=c, return_attention_scores=True)
    return k.Model([a, b, c], [y, scores], name="cross_heads")


@graph
def stateful(k: Any) -> Any:
    x = k.Input(batch_shape=(4, 6, 5), name="series")
    h = k.layers.LSTM(4, return_sequences=True, stateful=True, name="first")(x)
    return k.Model(x, [h, k.layers.GRU(3, stateful=True, name="second")(h)], name="stateful")


@graph
def input_is_output(k: Any) -> Any:
    x = k.Input((5,), name="x")
    y = k.layers.Dropout(0.5, name="drop")(k.layers.Activation("linear", name="same")(x))
    return k.Model(x, [x, y, k.layers.Dense(2, name="head")(y)], name="input_is_output")


@graph
def words_and_numbers(k: Any) -> Any:
    ids, x = words(k), series(k)
    e = k.layers.Embedding(9, 4, name="embed")(ids)
    h = k.layers.LSTM(4, name="read")(k.layers.Concatenate(name="join")([e, x]))
    return k.Model([ids, x], k.layers.Dense(1, activation="sigmoid", name="head")(h), name="words_and_numbers")


@graph
def cells(k: Any) -> Any:
    x = series(k)
    inner = k.layers.StackedRNNCells([k.layers.LSTMCell(3, name="one"), k.layers.GRUCell(2, name="two")], name="stack")
    h = k.layers.RNN(inner, return_sequences=True, name="rnn")(x)
    y, last = k.layers.RNN(k.layers.SimpleRNNCell(4, name="cell"), return_state=True, name="plain")(h)
    return k.Model(x, [y, last], name="cells")


@graph
def convolutional(k: Any) -> Any:
    x = k.Input((12, 3), name="series")
    h = k.layers.Conv1D(4, 3, padding="causal", activation="relu", name="conv")(x)
    h = k.layers.MaxPooling1D(2, name="pool")(k.layers.BatchNormalization(epsilon=0.25, name="norm")(h))
    h = k.layers.Bidirectional(k.layers.LSTM(3, name="way"), name="both")(h)
    return k.Model(x, k.layers.Dense(2, activation="softmax", name="head")(h), name="convolutional")


@graph
def residual(k: Any) -> Any:
    x = k.Input((5,), name="x")
    gate = k.layers.Dense(5, activation="sigmoid", name="gate")(x)
    a = k.layers.Add(name="add")([x, k.layers.Multiply(name="mul")([x, gate])])
    b = k.layers.Average(name="mean")([a, x, gate])
    y = k.layers.Minimum(name="min")([k.layers.Maximum(name="max")([a, b]), gate])
    return k.Model(x, y, name="residual")


@graph
def autoencoder(k: Any) -> Any:
    x = series(k)
    h = k.layers.RepeatVector(6, name="repeat")(k.layers.LSTM(3, go_backwards=True, name="encoder")(x))
    h = k.layers.LSTM(3, return_sequences=True, name="decoder")(h)
    y = k.layers.TimeDistributed(k.layers.Dense(5, name="inner"), name="each")(h)
    return k.Model(x, y, name="autoencoder")


@graph
def model_over_time(k: Any) -> Any:
    x = k.Input((4, 3, 5), name="clips")
    parts = [k.Input((3, 5), name="clip"), k.layers.LSTM(3, name="read"), k.layers.Dense(2, name="d")]
    inner = k.Sequential(parts, name="inner")
    h = k.layers.TimeDistributed(inner, name="each")(x)
    return k.Model(x, k.layers.GRU(3, name="all")(h), name="model_over_time")


@graph
def apart(k: Any) -> Any:
    x = series(k)
    both = k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True, name="way"), merge_mode=None, name="both")
    forward, behind = both(x)
    return k.Model(x, [behind, k.layers.GRU(2, name="read")(forward)], name="apart")


@graph
def part_of_another(k: Any) -> Any:
    x = series(k)
    h = k.layers.LSTM(4, return_sequences=True, name="first")(x)
    whole = k.Model(x, k.layers.Dense(2, name="head")(k.layers.LSTM(3, name="second")(h)), name="whole")
    return k.Model(whole.input, whole.get_layer("second").output, name="part_of_another")


@graph
def any_length(k: Any) -> Any:
    x = k.Input((None, 5), name="series")
    way = k.layers.SimpleRNN(3, return_sequences=True, name="way")
    h = k.layers.Bidirectional(way, merge_mode="mul", name="both")(x)
    return k.Model(x, k.layers.GlobalMaxPooling1D(name="most")(h), name="any_length")


@graph
def frozen_and_long_names(k: Any) -> Any:
    a, b = series(k, "a"), k.Input((3,), name="b")
    inner = pair_reader(k)
    joined, h = inner([a, b])
    y = k.layers.Dense(2, trainable=False, name="a_layer_whose_name_is_much_longer_than_its_column")(joined)
    y = k.layers.Concatenate(name="join_that_has_three_inputs")([y, h, b])
    return k.Model([a, b], [y], name="frozen_and_long_names")


@graph
def auto_names(k: Any) -> Any:
    a, b = k.Input((6, 5)), k.Input((3,))
    h = k.layers.LSTM(4)(a)
    h = k.layers.Dense(4)(k.layers.concatenate([h, b]))
    return k.Model([a, b], k.layers.Dense(2)(k.layers.Dense(4)(h)))


@graph
def auto_names_shared(k: Any) -> Any:
    a, b = k.Input((6, 5)), k.Input((6, 5))
    both = k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True))
    x = k.layers.add([both(a), both(b)])
    return k.Model([a, b], k.layers.TimeDistributed(k.layers.Dense(2))(k.layers.LSTM(4, return_sequences=True)(x)))


@graph
def auto_names_nested(k: Any) -> Any:
    inner = k.Sequential([k.Input((6, 5)), k.layers.GRU(3), k.layers.Dense(2)])
    x = k.Input((6, 5))
    tower = k.Model(x, k.layers.Dense(3)(k.layers.LSTM(2)(x)))
    a = k.Input((6, 5))
    return k.Model(a, k.layers.Dense(1)(k.layers.Concatenate()([inner(a), tower(a)])))
