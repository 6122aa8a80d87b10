"""Models made, saved and run by a Keras, for `lstmcore.import_model`: ``python keras_models.py FOLDER SEED ...``.

Runs in a process of its own, where Keras 3 is installed; with ``--tf-keras`` under tf_keras (Keras 2).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np

OLD = "--tf-keras" in sys.argv
if OLD:
    import tf_keras as keras
else:
    import keras
L = keras.layers


def recurrent(rng: np.random.Generator, **options: Any) -> Any:
    """A recurrent layer with options of any kind."""
    kind = rng.choice(["LSTM", "GRU", "SimpleRNN"])
    units = int(rng.integers(2, 5))
    options |= {"activation": str(rng.choice(["tanh", "relu", "softsign"])), "use_bias": bool(rng.random() < 0.8)}
    if kind != "SimpleRNN":
        options["recurrent_activation"] = str(rng.choice(["sigmoid", "hard_sigmoid"]))
    if kind == "GRU":
        options["reset_after"] = bool(rng.random() < 0.6)
    if kind == "LSTM":
        options["unit_forget_bias"] = bool(rng.random() < 0.5)
    return getattr(L, kind)(units, **options)


def cell(rng: np.random.Generator) -> Any:
    """A cell, or a stack of them."""
    cells = [L.LSTMCell(3), L.GRUCell(2), L.SimpleRNNCell(4), L.LSTMCell(2)]
    first = int(rng.integers(0, 3))
    return cells[first : first + int(rng.integers(1, 3))] if rng.random() < 0.6 else cells[first]


def time_layer(rng: np.random.Generator) -> Any:
    """A layer from (batch, time, features) to (batch, time, features)."""

    def inner() -> Any:
        x = L.Input((3,))
        y = L.Dense(4, activation="tanh")(x)
        y = L.Dense(3)(y) if rng.random() < 0.5 else L.BatchNormalization()(y)
        return keras.Model(x, y) if rng.random() < 0.5 else keras.Sequential([L.Input((3,)), L.Dense(2), L.Dense(4)])

    merge = str(rng.choice(["concat", "sum", "mul", "ave"]))
    makers = [
        lambda: recurrent(rng, return_sequences=True),
        lambda: recurrent(rng, return_sequences=True, go_backwards=True),
        lambda: L.Bidirectional(recurrent(rng, return_sequences=True), merge_mode=merge),
        lambda: L.RNN(cell(rng), return_sequences=True),
        lambda: L.TimeDistributed(L.Dense(3, activation="elu")),
        lambda: L.Conv1D(4, 3, padding=str(rng.choice(["same", "causal"])), dilation_rate=2),
        lambda: L.BatchNormalization(scale=bool(rng.random() < 0.5), center=bool(rng.random() < 0.7)),
        lambda: L.LayerNormalization(),
        lambda: L.Dense(3, activation="sigmoid", use_bias=bool(rng.random() < 0.5)),
        lambda: L.Activation(str(rng.choice(["relu", "swish", "gelu", "hard_sigmoid", "softplus"]))),
        lambda: L.PReLU(shared_axes=[1]),
        lambda: L.LeakyReLU(),
        lambda: L.ELU(),
        lambda: L.ReLU(max_value=2.0),
        lambda: L.Activation("softmax"),
        lambda: L.Dropout(0.3),
        lambda: L.SpatialDropout1D(0.2),
        lambda: L.GaussianNoise(0.1),
        lambda: L.ZeroPadding1D(1),
        lambda: L.UpSampling1D(2),
        lambda: L.MaxPooling1D(2, padding="same"),
        lambda: L.AveragePooling1D(2, padding="same"),
        lambda: keras.Sequential([L.LSTM(3, return_sequences=True), L.Dense(2)]),
        lambda: L.TimeDistributed(inner()),
    ]
    return makers[int(rng.integers(len(makers)))]


def random_model(rng: np.random.Generator) -> Any:
    """A functional model or a Sequential of some of these, from numbers or from words."""
    words = rng.random() < 0.4
    x = L.Input((6,), dtype="int32" if words else "float32") if words else L.Input((6, 3))
    y = L.Embedding(9, 3, mask_zero=bool(rng.random() < 0.6))(x) if words else x
    if not words and rng.random() < 0.3:
        y = L.Masking(0.0)(y)
    for _ in range(int(rng.integers(1, 4))):
        layer = time_layer(rng)()
        if isinstance(layer, L.TimeDistributed) and not isinstance(layer.layer, L.Dense):
            y = L.Dense(3)(y)
        y = layer(y)
    if rng.random() < 0.4:
        a, b = L.Dense(3)(y), L.Dense(3)(y)
        merges = [L.Add(), L.Multiply(), L.Average(), L.Maximum(), L.Subtract(), L.Concatenate(), L.Attention()]
        y = merges[int(rng.integers(len(merges)))]([a, b])
    if rng.random() < 0.2:
        y = L.MultiHeadAttention(2, 3)(y, y)
    ends = [
        lambda y: recurrent(rng)(y),
        lambda y: L.Bidirectional(recurrent(rng))(y),
        lambda y: L.GlobalAveragePooling1D()(y),
        lambda y: L.GlobalMaxPooling1D()(y),
        lambda y: L.Flatten()(y),
        lambda y: L.TimeDistributed(L.Dense(2))(y),
    ]
    y = ends[int(rng.integers(len(ends)))](y)
    if len(y.shape) == 2 and rng.random() < 0.3:
        y = L.LSTM(3, return_sequences=True)(L.RepeatVector(4)(y))
    return keras.Model(x, L.Dense(2, name="out>put" if rng.random() < 0.1 else None)(y))


def around(rng: np.random.Generator, **options: Any) -> Any:
    """A Bidirectional of a layer, of two different ones, or of cells."""
    merge = str(rng.choice(["concat", "sum", "mul", "ave"]))
    which = int(rng.integers(3))
    if which == 0:
        return L.Bidirectional(L.RNN(cell(rng), **options), merge_mode=merge)
    if which == 1:
        back = L.GRU(3, go_backwards=True, **options)
        return L.Bidirectional(L.LSTM(3, **options), backward_layer=back, merge_mode=merge)
    return L.Bidirectional(recurrent(rng, dropout=0.1, recurrent_dropout=0.1, **options), merge_mode=merge)


def with_states(rng: np.random.Generator, y: Any) -> tuple[Any, list[Any], list[Any]]:
    """A decoder that starts from the states of an encoder; its sequence, its inputs, and states that come out."""
    z = L.Input((5, 2))
    kind = str(rng.choice(["LSTM", "GRU", "SimpleRNN", "both"]))
    x = L.Masking(0.0)(z) if rng.random() < 0.4 else z
    if kind == "both":
        made = L.Bidirectional(L.LSTM(3, return_sequences=True, return_state=True))(y)
        return L.Bidirectional(L.LSTM(3, return_sequences=True))(x, initial_state=list(made[1:])), [z], [made[0]]
    layer = getattr(L, kind)
    _, *states = layer(3, return_state=True)(y)
    made = layer(3, return_sequences=True, return_state=True)(x, initial_state=states)
    return made[0], [z], list(made[1:])


def wide_model(rng: np.random.Generator) -> Any:
    """A model as `random_model` makes them, with states that go on, two directions of any kind, options of training."""
    words = rng.random() < 0.4
    x = L.Input((6,), dtype="int32") if words else L.Input((6, 3))
    y = L.Embedding(9, 3, mask_zero=bool(rng.random() < 0.6))(x) if words else L.Masking(0.0)(x)
    kept = {"kernel_regularizer": "l2", "bias_constraint": "non_neg", "kernel_initializer": "he_normal"}
    options = kept if rng.random() < 0.5 else {"activity_regularizer": "l1", "trainable": False}
    firsts = [
        lambda: recurrent(rng, return_sequences=True, go_backwards=bool(rng.random() < 0.3), **options),
        lambda: around(rng, return_sequences=True),
        lambda: L.TimeDistributed(L.Dense(3, **options)),
        lambda: L.BatchNormalization(epsilon=1e-5, momentum=0.9),
        time_layer(rng),
    ]
    for _ in range(int(rng.integers(1, 4))):
        layer = firsts[int(rng.integers(len(firsts)))]()
        inner = isinstance(layer, L.TimeDistributed) and not isinstance(layer.layer, L.Dense)
        y = layer(L.Dense(3)(y) if inner else y)
    inputs, ends = [x], []
    if rng.random() < 0.5:
        y, more, ends = with_states(rng, y)
        inputs += more
    a, b = L.Dense(3)(y), recurrent(rng, return_sequences=True)(y)
    merges = [L.Concatenate(axis=-1), L.Concatenate(axis=2), L.Dot(axes=1, normalize=True), L.Dot(axes=1)]
    y = merges[int(rng.integers(len(merges)))]([a, b]) if rng.random() < 0.4 else y
    last = [around(rng), recurrent(rng), L.GlobalAveragePooling1D(), L.Flatten()][int(rng.integers(4))]
    y = L.Dense(2)(last(y))
    return keras.Model(inputs, L.Concatenate()([y, *(L.Flatten()(end) for end in ends)]) if ends else y)


def translator() -> Any:
    """An encoder whose states start a decoder, masked; a nested model used twice."""
    x, z = L.Input((None,), dtype="int32", name="source"), L.Input((None,), dtype="int32", name="target")
    _, h, c = L.LSTM(4, return_state=True, name="encoder")(L.Embedding(9, 3, mask_zero=True)(x))
    y = L.LSTM(4, return_sequences=True, name="decoder")(L.Embedding(8, 3, mask_zero=True)(z), initial_state=[h, c])
    both = L.Bidirectional(L.GRU(4, return_sequences=True), name="both")(y, initial_state=[h, c])
    inner_in = L.Input((None, 8))
    inner = keras.Model(inner_in, L.Dense(8, activation="tanh")(inner_in), name="inner")
    return keras.Model([x, z], L.Dense(3)(inner(inner(both))))


def chain() -> Any:
    """A Sequential whose nested models hold layers of the same names as others."""
    first = keras.Sequential([L.Input((5, 3)), L.LSTM(4, return_sequences=True), L.BatchNormalization()], name="first")
    second = keras.Sequential([L.Input((5, 4)), L.GRU(3, return_sequences=True), L.BatchNormalization()], name="second")
    return keras.Sequential([L.Input((5, 3)), first, second, L.LSTM(2, stateful=False), L.Dense(2)])


def trained() -> Any:
    """A model that was trained: the file holds an optimizer, metrics and random states too."""
    x = L.Input((5, 3))
    y = L.LSTM(4, dropout=0.1, recurrent_dropout=0.1, recurrent_activation="hard_sigmoid", kernel_regularizer="l2")(x)
    y = L.Dense(1, bias_constraint="non_neg")(L.Dropout(0.2)(L.BatchNormalization()(y)))
    model = keras.Model(x, y)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((4, 5, 3)), np.ones((4, 1)), verbose=0)
    return model


def stateful() -> Any:
    """Layers that keep their states, which Keras holds as variables."""
    x = L.Input(batch_shape=(4, 5, 3))
    y = L.GRU(4, stateful=True, return_sequences=True)(x)
    return keras.Model(x, L.Dense(2)(L.Bidirectional(L.LSTM(3, stateful=True))(y)))


def shared() -> Any:
    """Layers used twice, and a model of two inputs and two outputs, used both ways round."""
    x, z = L.Input((5, 3)), L.Input((5, 3))
    inner = keras.Model([x, z], [L.Add()([L.Dense(3)(x), L.Dense(3)(z)]), L.LSTM(2)(z)])
    dense, lstm = L.Dense(3, activation="tanh"), L.LSTM(3, return_sequences=True)
    p, q = L.Input((5, 3)), L.Input((5, 3))
    a, b = inner([p, q])
    c, d = inner([dense(q), lstm(dense(p))])
    return keras.Model([p, q], L.Concatenate()([L.Flatten()(lstm(a)), b, L.Flatten()(c), d]))


def nested() -> Any:
    """A chain within a chain within a chain."""
    deepest = keras.Sequential([L.Dense(3), L.GRU(2)])
    first = L.LSTM(3, go_backwards=True, return_sequences=True)
    return keras.Sequential([L.Input((5, 3)), first, keras.Sequential([L.Dense(2), deepest])])


def corners() -> Any:
    """Masks that Keras computes by several operations; weights that are single numbers."""
    x = L.Input((6,), dtype="int32")
    e = L.Embedding(9, 3, mask_zero=True)(x)
    a, b = L.Dense(3)(e), L.LSTM(3, return_sequences=True)(e)
    c = L.GlobalAveragePooling1D()(L.Concatenate(axis=2)([a, b]))
    s = L.LSTM(2)(L.AdditiveAttention()([a, b]))
    return keras.Model(x, L.Concatenate()([c, s, L.GRU(2)(L.Attention(use_scale=True, score_mode="concat")([a, b]))]))


SPECIAL = {made.__name__: made for made in (translator, chain, trained, stateful, shared, nested, corners)}


def randomise(model: Any, rng: np.random.Generator) -> None:
    """Asymmetric weights; variances stay positive."""
    arrays = [rng.normal(0, 0.7, w.shape).astype("float32") for w in model.get_weights()]
    names = [getattr(w, "path", w.name) for w in model.weights]
    model.set_weights([np.abs(a) + 0.5 if "variance" in n else a for a, n in zip(arrays, names, strict=True)])


def inputs(model: Any, rng: np.random.Generator) -> list[Any]:
    """Data for each input: words with padding on either side, or numbers with whole steps of zero."""
    made = []
    for tensor in model.inputs:
        shape = (4, *(n or 5 for n in tensor.shape[1:]))
        if len(shape) == 2:
            data = rng.integers(1, 8, shape)
            data[0, 3:], data[1, :2] = 0, 0
            made.append(data.astype("int32"))
        else:
            data = rng.normal(size=shape)
            data[0, 3:], data[1, :1] = 0, 0
            made.append(data.astype("float32"))
    return made


def save(model: Any, folder: Path, name: str, rng: np.random.Generator) -> None:
    """The model in each of Keras' formats, with inputs and outputs."""
    randomise(model, rng)
    data = inputs(model, rng)
    y = model(data if len(data) > 1 else data[0], training=False)
    arrays = {f"in{k}": array for k, array in enumerate(data)}
    np.savez(folder / f"{name}.npz", **arrays, out0=np.asarray(y))
    (folder / f"{name}.json").write_text(model.to_json())
    model.save(folder / f"{name}.keras")
    model.save(folder / f"{name}.h5")
    model.save_weights(folder / f"{name}.weights.h5")


def main(folder: str, *seeds: str) -> None:
    """Models for these seeds, or of these special names; prints how each went, as JSON."""
    made: dict[str, str] = {}
    for seed in seeds:
        wide = seed.startswith("wide")
        rng = np.random.default_rng(int(seed.removeprefix("wide")) if wide or seed.isdigit() else len(seed))
        keras.backend.clear_session()
        keras.utils.set_random_seed(int(rng.integers(1000)))
        try:
            model = SPECIAL[seed]() if seed in SPECIAL else wide_model(rng) if wide else random_model(rng)
            save(model, Path(folder), seed, rng)
            made[seed] = " ".join(type(layer).__name__ for layer in model.layers)
        except (ValueError, TypeError, KeyError) as error:  # Keras itself refuses some combinations
            made[seed] = f"refused: {error}"
    print(json.dumps(made))


if __name__ == "__main__":
    main(*(argument for argument in sys.argv[1:] if argument != "--tf-keras"))
