"""tf.keras' ``time_major=True``: arrays with time first, which Keras 3 refuses to read."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras_files as make
import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import UnsupportedFileError
from lstmcore.models import Model
from lstmcore.models.program_model import ProgramModel

RNG = np.random.default_rng(6)
X = RNG.normal(size=(7, 4, 3)).astype("float32")  # time, batch, features


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


def lstm(name: str, features: int, units: int) -> dict[str, Any]:
    shapes = {"kernel": (features, 4 * units), "recurrent_kernel": (units, 4 * units), "bias": (4 * units,)}
    return {f"{name}/lstm_cell/{weight}:0": normal(*shape) for weight, shape in shapes.items()}


def layer(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": config}


def rnn(name: str, time_major: Any = True, **config: Any) -> dict[str, Any]:
    return layer("LSTM", name=name, time_major=time_major, recurrent_activation="hard_sigmoid", **config)


def sequential(*layers: Any, shape: Any = (None, 4, 3)) -> dict[str, Any]:
    source = layer("InputLayer", name="x", batch_input_shape=list(shape), dtype="float32", sparse=False, ragged=False)
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [source, *layers]}}


WEIGHTS = {
    "first": lstm("first", 3, 5),
    "dense": {"dense/kernel:0": normal(5, 3), "dense/bias:0": normal(3)},
    "second": lstm("second", 3, 2),
}


def both(last: bool, time_major: Any) -> dict[str, Any]:
    return sequential(
        rnn("first", time_major, units=5, return_sequences=True, go_backwards=True),
        layer("Dense", name="dense", units=3, activation="tanh"),
        rnn("second", time_major, units=2, return_sequences=not last),
        shape=(None, 4, 3) if time_major else (4, None, 3),
    )


@pytest.mark.parametrize("last", [False, True])
def test_it_is_the_same_with_the_axes_changed(last: bool, tmp_path: Path) -> None:
    turned = lc.import_model(make.listed(tmp_path / "t.h5", both(last, True), WEIGHTS, "2.9.0"))
    plain = lc.import_model(make.listed(tmp_path / "p.h5", both(last, False), WEIGHTS, "2.9.0"))
    y = plain.predict(X.swapaxes(0, 1), verbose=0)
    np.testing.assert_array_equal(turned.predict(X, verbose=0), y if last else y.swapaxes(0, 1))
    assert isinstance(turned, ProgramModel)
    assert turned.batch_axes == {"x": 1, "second": 0 if last else 1}
    assert list(turned.weights) == list(plain.weights)


def by_hand(x: Any, w: dict[str, Any]) -> Any:
    """One step after the other, of (time, batch, features)."""
    k, u, b = (w[f"first/lstm_cell/{name}:0"].astype("float64") for name in ("kernel", "recurrent_kernel", "bias"))
    h = c = np.zeros((x.shape[1], u.shape[0]))
    for step in x:
        i, f, g, o = np.split(step @ k + h @ u + b, 4, axis=-1)
        i, f, o = (np.clip(0.2 * gate + 0.5, 0, 1) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
    return h


def test_the_numbers_are_those_of_the_formula(tmp_path: Path) -> None:
    config = sequential(rnn("first", units=5), shape=(None, None, 3))
    path = make.listed(tmp_path / "m.h5", config, {"first": WEIGHTS["first"]}, "2.9.0")
    model = lc.import_model(path)
    for x in (X, X[:40, :1], np.concatenate([X] * 6)):
        y = model.predict(x, verbose=0)
        assert y.shape == (x.shape[1], 5)
        np.testing.assert_allclose(y, by_hand(x, WEIGHTS["first"]), rtol=0, atol=2e-6)


def test_it_may_be_inside_a_bidirectional_and_over_ids(tmp_path: Path) -> None:
    inner = rnn("first", units=5, return_sequences=True)
    source = layer("InputLayer", name="x", batch_input_shape=[None, None], dtype="int32", sparse=False, ragged=False)
    layers = [
        source,
        layer("Embedding", name="words", input_dim=9, output_dim=3),
        layer("Bidirectional", name="both", layer=inner, merge_mode="sum"),
    ]
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    sides = {
        f"both/{side}_{name}": array for side in ("forward", "backward") for name, array in lstm("first", 3, 5).items()
    }
    weights = {"words": {"words/embeddings:0": normal(9, 3)}, "both": sides}
    turned = lc.import_model(make.listed(tmp_path / "t.h5", config, weights, "2.9.0"))
    inner["config"]["time_major"] = False
    plain = lc.import_model(make.listed(tmp_path / "p.h5", config, weights, "2.9.0"))
    ids = RNG.integers(0, 9, (7, 4))
    expected = plain.predict(ids.T, verbose=0).swapaxes(0, 1)
    np.testing.assert_array_equal(turned.predict(ids, verbose=0), expected)


MIXED: dict[str, tuple[list[Any], str]] = {
    "a layer that has the batch first": (
        [rnn("first", units=5, return_sequences=True), rnn("second", False, units=2)],
        "'second' has time_major=False, so it takes time from the second axis",
    ),
    "a layer that looks along the steps": (
        [rnn("first", units=5, return_sequences=True), layer("Flatten", name="flat")],
        "'flat' gets what has time before the batch",
    ),
    "statistics over the batch": (
        [rnn("first", units=5, return_sequences=True), layer("BatchNormalization", name="norm", axis=[1])],
        "'norm' gets what has time before the batch",
    ),
}


@pytest.mark.parametrize("what", MIXED)
def test_what_would_take_time_for_the_batch_is_refused(what: str, tmp_path: Path) -> None:
    layers, reason = MIXED[what]
    path = make.listed(tmp_path / "m.h5", sequential(*layers), {}, "2.9.0")
    with pytest.raises(UnsupportedFileError, match=reason):
        lc.import_model(path)


def test_it_goes_on_to_other_formats(tmp_path: Path) -> None:
    model = lc.import_model(make.listed(tmp_path / "t.h5", both(False, True), WEIGHTS, "2.9.0"))
    y = model.predict(X, verbose=0)
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(lc.load_model(tmp_path / "m.safetensors").predict(X, verbose=0), y)


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("keras", "tensorflow"))), reason="Keras is not installed with TensorFlow"
)
def test_keras_3_refuses_it(tmp_path: Path) -> None:
    from lstmcore_tensorflow import keras_files

    config = sequential(layer("LSTM", name="first", units=5, time_major=True))
    path = make.listed(tmp_path / "m.h5", config, {"first": WEIGHTS["first"]}, "2.9.0")
    assert isinstance(lc.import_model(path), ProgramModel)
    with pytest.raises(UnsupportedFileError, match="does not load it: Unrecognized keyword arguments"):
        keras_files.run(path, [X])
    assert not isinstance(lc.import_model(path), Model)
