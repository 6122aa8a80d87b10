"""Descriptions of models: layers of every class with options that are right or not, in every kind of model."""

from __future__ import annotations

import json
from typing import Any

import keras_files as make
from hypothesis import strategies as st

from strategies import mutated

Config = dict[str, Any]

NUMBERS = st.sampled_from([0, 1, 2, 3, 4, -1, 7, 2**15, 2**20, 2**31 - 1, 2**31, 2**40, 2**63, -(2**63), 10**30])
REALS = st.sampled_from([0.0, 0.5, -0.0, 1e-320, 1e308, -1e308, 2.5])
TEXTS = st.sampled_from(
    [
        "",
        "x",
        "lstm",
        "dense",
        "../x",
        "/etc/passwd",
        "http://localhost:9/x",
        "a\x00b",
        "a\n\x1b[2J",
        "\u202ex",
        "relu",
        "tanh",
        "hard_sigmoid",
        "softmax",
        "eval",
        "os.system",
        "same",
        "causal",
        "channels_first",
        "float16",
        "sum",
        "concat",
        "ave",
        "LSTM",
        "Dеnse",
        "d" * 600,
        "k" * 20000,
    ]
)
ATOMS = st.none() | st.booleans() | NUMBERS | REALS | TEXTS
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
CODE = st.sampled_from(
    [
        {"module": "os", "class_name": "system", "config": "touch canary", "registered_name": None},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}},
        {"module": "keras.initializers", "class_name": "Identity", "config": {"gain": 1e308}, "registered_name": None},
    ]
)
LENGTHS = st.lists(st.none() | NUMBERS, max_size=5)
# options that make a layer's class what it is; any other value may stand for each
OPTIONS: dict[str, Config] = {
    "InputLayer": {"batch_shape": [None, 5, 3], "dtype": "float32"},
    "Dense": {"units": 2, "activation": "linear", "use_bias": True},
    "LSTM": {"units": 4, "return_sequences": False, "recurrent_activation": "sigmoid", "go_backwards": False},
    "GRU": {"units": 4, "reset_after": True, "return_state": False, "stateful": True},
    "SimpleRNN": {"units": 4, "unroll": True},
    "Embedding": {"input_dim": 10, "output_dim": 3, "mask_zero": True},
    "Conv1D": {"filters": 2, "kernel_size": [3], "strides": [1], "padding": "same", "dilation_rate": [1], "groups": 1},
    "MaxPooling1D": {"pool_size": [2], "strides": [2], "padding": "valid"},
    "AveragePooling1D": {"pool_size": [2], "strides": [2], "padding": "same"},
    "ZeroPadding1D": {"padding": [1, 1]},
    "UpSampling1D": {"size": 2},
    "Cropping1D": {"cropping": [1, 1]},
    "RepeatVector": {"n": 3},
    "Reshape": {"target_shape": [15]},
    "Permute": {"dims": [2, 1]},
    "Flatten": {},
    "Activation": {"activation": "relu"},
    "Dropout": {"rate": 0.1, "seed": 1},
    "SpatialDropout1D": {"rate": 0.1},
    "BatchNormalization": {"axis": -1, "momentum": 0.9, "epsilon": 1e-3},
    "LayerNormalization": {"axis": -1},
    "Masking": {"mask_value": 0.0},
    "Add": {},
    "Concatenate": {"axis": -1},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 2},
    "Lambda": {"function": ["4wAAAA==", None, None]},
    "TFSMLayer": {"filepath": "/tmp/x"},
    "StringLookup": {"vocabulary": "/etc/passwd"},
    "Evil": {},
}
WRAPPERS = {"Bidirectional": "layer", "TimeDistributed": "layer", "RNN": "cell", "StackedRNNCells": "cells"}


@st.composite
def options(draw: st.DrawFn, kind: str) -> Config:
    """The config of a layer, mostly right."""
    config = {"name": draw(st.sampled_from(["lstm", "dense", "a", "b"]) | TEXTS), **OPTIONS.get(kind, {})}
    for key in draw(st.lists(st.sampled_from(sorted(config)), max_size=2)):
        config[key] = draw(VALUES | LENGTHS | CODE)
    if draw(st.integers(0, 5)) == 0:
        config[draw(TEXTS | st.sampled_from(["dtype", "kernel_initializer", "trainable", "batch_input_shape"]))] = draw(
            VALUES | CODE
        )
    return config


LAYERS = st.sampled_from(sorted(OPTIONS)).flatmap(lambda kind: options(kind).map(lambda c: make.layer(kind, **c)))


@st.composite
def wrapped(draw: st.DrawFn) -> Config:
    """A layer in wrappers, some or far too many."""
    inner: Any = draw(LAYERS)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 60]))):
        kind = draw(st.sampled_from(sorted(WRAPPERS)))
        inner = make.layer(kind, **{WRAPPERS[kind]: [inner] if kind == "StackedRNNCells" else inner, "name": "w"})
    return inner


@st.composite
def sequential(draw: st.DrawFn) -> Config:
    layers = draw(st.lists(wrapped(), max_size=4))
    source = make.layer("InputLayer", batch_shape=draw(st.just([None, 5, 3]) | LENGTHS), dtype="float32", name="x")
    sound = [make.LSTM, make.DENSE] if draw(st.booleans()) else []
    return make.sequential(source, *layers, *sound, name=draw(st.just("m") | TEXTS))


@st.composite
def functional(draw: st.DrawFn) -> Config:
    """A graph whose calls may refer to anything, to themselves as well."""
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "lstm", "dense"]), min_size=1, max_size=6))
    source = make.layer("InputLayer", batch_shape=[None, 5, 3], dtype="float32", name="x")
    places = st.builds(
        make.tensor, st.sampled_from(["x", *names, "nobody"]), NUMBERS | st.just(0), st.just(0) | NUMBERS
    )
    entries = [make.called(source)]
    for name in names:
        inner = draw(wrapped())
        inner["config"]["name"] = name
        entries.append(make.called(inner, *draw(st.lists(places | st.lists(places, max_size=3), max_size=3))))
    ends = st.tuples(st.sampled_from(["x", *names]), st.just(0) | NUMBERS, st.just(0)).map(list)
    return make.functional(*entries, begin=["x", 0, 0], end=draw(ends | st.lists(ends, max_size=3) | VALUES))


def models() -> st.SearchStrategy[Config]:
    """Models, and models within models."""
    flat = sequential() | functional()
    return flat | st.lists(flat, min_size=1, max_size=2).map(lambda inner: make.sequential(make.SOURCE, *inner))


def texts() -> st.SearchStrategy[bytes]:
    """Models as JSON, or what is nearly that."""
    written = (models() | VALUES).map(json.dumps)
    odd = written.flatmap(
        lambda text: st.sampled_from(
            [
                text.replace("null", "NaN"),
                text.replace("1", "9" * 5000, 1),
                text.replace("{", '{"a": 1, "a": 2, ', 1),
                text.replace('"', '"\\ud800', 1),
                "[" * 3000 + text,
                text[: len(text) // 2],
            ]
        )
    )
    return (written | written | odd).map(str.encode) | mutated.json_of(json.dumps(make.SMALL).encode())
