"""Functional models that cases run: each a function of the namespace that has ``layers``, ``Input`` and ``Model``.

The namespace is lstmcore's or Keras', so that one description serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Namespace(NamedTuple):
    """What a description is made of."""

    layers: Any
    Input: Any
    Model: Any
    Sequential: Any


GRAPHS: dict[str, Callable[[Namespace], Any]] = {}


def graph(make: Callable[[Namespace], Any]) -> Callable[[Namespace], Any]:
    GRAPHS[make.__name__] = make
    return make


def _words(k: Namespace, name: str = "words", steps: int | None = 6) -> tuple[Any, Any]:
    """Token ids, and their vectors with a mask."""
    ids = k.Input((steps,), dtype="int32", name=name)
    return ids, k.layers.Embedding(9, 4, mask_zero=True, name=f"embed_{name}")(ids)


@graph
def encoder_decoder(k: Namespace) -> Any:
    """States of one layer start another."""
    source, target = k.Input((5, 2), name="source"), k.Input((7, 3), name="target")
    _, h, c = k.layers.LSTM(4, return_state=True, name="encoder")(source)
    y, h, c = k.layers.LSTM(4, return_sequences=True, return_state=True, name="decoder")(target, initial_state=[h, c])
    return k.Model([source, target], [k.layers.Dense(3, activation="softmax", name="head")(y), h, c])


@graph
def gru_encoder_decoder(k: Namespace) -> Any:
    source, target = k.Input((None, 2), name="source"), k.Input((None, 3), name="target")
    _, h = k.layers.GRU(4, return_state=True, name="encoder")(source)
    y = k.layers.GRU(4, return_sequences=True, reset_after=False, name="decoder")(target, initial_state=h)
    return k.Model([source, target], k.layers.TimeDistributed(k.layers.Dense(3, name="one"), name="head")(y))


@graph
def attention_decoder(k: Namespace) -> Any:
    """Sequence to sequence, the decoder looking at words that count."""
    ids, embedded = _words(k, "source", 7)
    target = k.Input((5, 3), name="target")
    read, h, c = k.layers.LSTM(4, return_sequences=True, return_state=True, name="encoder")(embedded)
    y = k.layers.LSTM(4, return_sequences=True, name="decoder")(target, initial_state=[h, c])
    y = k.layers.Concatenate(name="join")([y, k.layers.Attention(name="look")([y, read])])
    return k.Model([ids, target], k.layers.TimeDistributed(k.layers.Dense(3, name="one"), name="head")(y))


@graph
def additive_scores(k: Namespace) -> Any:
    a, b = k.Input((5, 4), name="query"), k.Input((6, 4), name="value")
    y, scores = k.layers.AdditiveAttention(name="look")([a, b], return_attention_scores=True)
    return k.Model([a, b], [k.layers.GRU(3, name="read")(y), scores])


@graph
def both_ways(k: Namespace) -> Any:
    """States of both directions, joined, start a decoder; and they are given to both."""
    source, target = k.Input((5, 2), name="source"), k.Input((4, 3), name="target")
    both = k.layers.Bidirectional(k.layers.LSTM(2, return_state=True, name="way"), name="encoder")
    _, h1, c1, h2, c2 = both(source)
    h, c = k.layers.Concatenate(name="h")([h1, h2]), k.layers.Concatenate(name="c")([c1, c2])
    way = k.layers.GRU(2, return_sequences=True, name="other")
    again = k.layers.Bidirectional(way, merge_mode="sum", name="again")(target, initial_state=[h1, h2])
    return k.Model([source, target], [k.layers.LSTM(4, name="decoder")(target, initial_state=[h, c]), again])


@graph
def shared_layer(k: Namespace) -> Any:
    a, b = k.Input((5, 2), name="a"), k.Input((6, 2), name="b")
    read = k.layers.LSTM(4, name="read")
    return k.Model([a, b], k.layers.Dense(2, name="head")(k.layers.Subtract(name="less")([read(a), read(b)])))


@graph
def nested(k: Namespace) -> Any:
    """A model in a model in a model, with two inputs and two outputs."""
    x, z = k.Input((5, 2), name="inner_a"), k.Input((3,), name="inner_b")
    h = k.layers.GRU(4, name="read")(x)
    inner = k.Model([x, z], [k.layers.Concatenate(name="join")([h, k.layers.Dense(2, name="small")(z)]), h])
    x, z = k.Input((5, 2), name="mid_a"), k.Input((3,), name="mid_b")
    joined, h = inner([x, z])
    middle = k.Model([x, z], [k.layers.Dense(4, activation="tanh", name="mid")(joined), h])
    a, b = k.Input((5, 2), name="a"), k.Input((3,), name="b")
    y, h = middle([a, b])
    parts = [k.Input((4,), name="in"), k.layers.Dense(3, name="up"), k.layers.Activation("relu", name="bend")]
    return k.Model([a, b], [k.Sequential(parts, name="chain")(y), h])


@graph
def masked_stack(k: Namespace) -> Any:
    """A mask through layer after layer."""
    ids, h = _words(k)
    h = k.layers.LSTM(4, return_sequences=True, name="first")(h)
    h = k.layers.Bidirectional(k.layers.GRU(3, return_sequences=True, name="way"), name="second")(h)
    h = k.layers.LayerNormalization(epsilon=0.25, name="norm")(k.layers.Dropout(0.5, name="drop")(h))
    each = k.layers.TimeDistributed(k.layers.Dense(2, name="one"), name="each")(h)
    rnn = k.layers.RNN(k.layers.LSTMCell(3, name="cell"), go_backwards=True, name="third")
    return k.Model(ids, [each, k.layers.GlobalAveragePooling1D(name="mean")(each), rnn(each)])


@graph
def masked_merges(k: Namespace) -> Any:
    """Two masks meet."""
    (a, x), (b, z) = _words(k, "a"), _words(k, "b")
    total = k.layers.LSTM(3, name="of_sum")(k.layers.Add(name="sum")([x, z]))
    product = k.layers.LSTM(3, name="of_product")(k.layers.Multiply(name="product")([x, z]))
    most = k.layers.GRU(3, name="of_most")(k.layers.Maximum(name="most")([x, z]))
    joined = k.layers.GRU(3, name="of_join")(k.layers.Concatenate(name="join")([x, z]))
    later = k.layers.LSTM(3, name="of_later")(k.layers.Concatenate(axis=1, name="later")([x, z]))
    return k.Model([a, b], [total, product, most, joined, later])


@graph
def mask_meets_none(k: Namespace) -> Any:
    ids, e = _words(k)
    x = k.Input((6, 4), name="numbers")
    added = k.layers.LSTM(3, name="of_sum")(k.layers.Add(name="sum")([e, x]))
    joined = k.layers.LSTM(3, name="of_join")(k.layers.Concatenate(name="join")([e, x]))
    later = k.layers.LSTM(3, name="of_later")(k.layers.Concatenate(axis=1, name="later")([x, e]))
    ended = k.layers.GRU(3, name="of_conv")(k.layers.Conv1D(4, 2, padding="causal", name="conv")(e))
    return k.Model([ids, x], [added, joined, later, ended])


@graph
def mask_and_states(k: Namespace) -> Any:
    """Beside initial_state a mask counts only where it is given."""
    ids, e = _words(k)
    h, valid = k.Input((4,), name="start"), k.Input((6,), dtype="bool", name="valid")
    silent = k.layers.GRU(4, return_sequences=True, name="silent")(e, initial_state=h)
    told = k.layers.GRU(4, return_sequences=True, name="told")(e, initial_state=h, mask=valid)
    return k.Model([ids, h, valid], [silent, told, k.layers.LSTM(3, name="last")(told)])


@graph
def masking(k: Namespace) -> Any:
    x = k.Input((5, 2), name="series")
    h = k.layers.LSTM(4, return_sequences=True, name="first")(k.layers.Masking(name="skip")(x))
    return k.Model(x, [h, k.layers.SimpleRNN(3, name="second")(h)])


@graph
def transformer(k: Namespace) -> Any:
    ids, x = _words(k)
    y = k.layers.MultiHeadAttention(2, 4, name="heads")(x, x)
    x = k.layers.LayerNormalization(epsilon=0.25, name="norm")(k.layers.Add(name="around")([x, y]))
    y = k.layers.Dense(4, name="down")(k.layers.Dense(8, activation="relu", name="up")(x))
    return k.Model(ids, k.layers.GlobalMaxPooling1D(name="most")(k.layers.Add(name="again")([x, y])))


@graph
def convolutional(k: Namespace) -> Any:
    x = k.Input((12, 2), name="series")
    h = k.layers.Conv1D(4, 3, padding="causal", activation="relu", name="conv")(x)
    h = k.layers.MaxPooling1D(2, name="pool")(k.layers.BatchNormalization(epsilon=0.25, name="norm")(h))
    h = k.layers.Bidirectional(k.layers.LSTM(3, name="way"), name="both")(
        k.layers.SpatialDropout1D(0.5, name="drop")(h)
    )
    return k.Model(x, k.layers.Dense(2, activation="softmax", name="head")(h))


@graph
def autoencoder(k: Namespace) -> Any:
    x = k.Input((5, 2), name="series")
    cells = [k.layers.LSTMCell(4, name="low"), k.layers.GRUCell(3, name="high")]
    h = k.layers.RNN(k.layers.StackedRNNCells(cells, name="stack"), name="encoder")(x)
    h = k.layers.LSTM(3, return_sequences=True, name="decoder")(k.layers.RepeatVector(5, name="repeat")(h))
    return k.Model(x, k.layers.TimeDistributed(k.layers.Dense(2, name="one"), name="each")(h))


@graph
def gates(k: Namespace) -> Any:
    x = k.Input((4,), name="x")
    gate = k.layers.Dense(4, activation="sigmoid", name="gate")(x)
    a = k.layers.Add(name="add")([x, k.layers.Multiply(name="mul")([x, gate])])
    b = k.layers.Average(name="mean")([a, x, gate])
    c = k.layers.Minimum(name="min")([k.layers.Maximum(name="max")([a, b]), gate])
    return k.Model(x, [c, k.layers.Dot(1, name="dot")([a, b]), k.layers.Dot(1, normalize=True, name="cosine")([a, b])])


@graph
def custom_cell(k: Namespace) -> Any:
    """A cell of the user's own; not for Keras."""
    from lstmcore_conformance.coupled import CoupledCell

    x = k.Input((5, 2), name="series")
    h = k.layers.RNN(CoupledCell(4), return_sequences=True, name="leaky")(x)
    return k.Model(x, k.layers.Dense(2, name="head")(h))


@graph
def two_heads(k: Namespace) -> Any:
    """Two outputs, to be trained on together, behind a mask."""
    ids, h = _words(k)
    h = k.layers.LSTM(4, return_sequences=True, name="read")(h)
    steps = k.layers.Dense(2, activation="tanh", name="each")(h)
    return k.Model(ids, [steps, k.layers.Dense(3, activation="softmax", name="class")(k.layers.GRU(3, name="last")(h))])
