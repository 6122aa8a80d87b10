"""Operations between the layers of functional models: as Keras 3 and tf.keras write them, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras_files as make
import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import ExportError, UnsupportedFileError
from lstmcore.layers import Operation
from lstmcore.models import Sequential

RNG = np.random.default_rng(8)
X = RNG.normal(size=(3, 5, 3)).astype("float32")
ALL = {"start": None, "stop": None, "step": None}

# tf.keras' form, recorded from tf_keras 2.21: the function, what is beside the tensor, and what it computes.
TF: dict[str, tuple[str, str, dict[str, Any], Any]] = {
    "add": ("TFOpLambda", "__operators__.add", {"y": ["x", 0, 0], "name": None}, lambda x: x + x),
    "multiply": ("TFOpLambda", "math.multiply", {"y": 2.0, "name": None}, lambda x: 2 * x),
    "truediv": ("TFOpLambda", "math.truediv", {"y": 4.0, "name": None}, lambda x: x / 4),
    "mean": ("TFOpLambda", "math.reduce_mean", {"axis": 1}, lambda x: x.mean(1)),
    "expand_dims": ("TFOpLambda", "expand_dims", {"axis": 1}, lambda x: x[:, None]),
    "transpose": (
        "TFOpLambda",
        "compat.v1.transpose",
        {"perm": [0, 2, 1], "conjugate": False},
        lambda x: x.swapaxes(1, 2),
    ),
    "tanh": ("TFOpLambda", "math.tanh", {"name": None}, np.tanh),
    "softmax": ("TFOpLambda", "nn.softmax", {}, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "last": ("SlicingOpLambda", "__operators__.getitem", {"slice_spec": [ALL, -1, ALL]}, lambda x: x[:, -1]),
}


def source(**config: Any) -> dict[str, Any]:
    shape = {"batch_input_shape": [None, 5, 3], "dtype": "float32", "sparse": False, "ragged": False, "name": "x"}
    return {"class_name": "InputLayer", "config": {**shape, **config}, "name": "x", "inbound_nodes": []}


def tf_keras(*layers: Any, end: str) -> dict[str, Any]:
    config = {"name": "m", "layers": [source(), *layers], "input_layers": [["x", 0, 0]], "output_layers": [[end, 0, 0]]}
    return {"class_name": "Functional", "config": config}


def tf_op(kind: str, function: str, node: Any, name: str = "op") -> dict[str, Any]:
    config = {"name": name, "trainable": True, "dtype": "float32", "function": function}
    return {"class_name": kind, "config": config, "name": name, "inbound_nodes": [node]}


@pytest.mark.parametrize("name", TF)
def test_an_operation_of_tf_keras(name: str, tmp_path: Path) -> None:
    kind, function, kwargs, expected = TF[name]
    config = tf_keras(tf_op(kind, function, ["x", 0, 0, kwargs]), end="op")
    model = lc.import_model(make.listed(tmp_path / "m.h5", config, {"x": {}}, "2.9.0"))
    np.testing.assert_allclose(model.predict(X, verbose=0), expected(X), rtol=2e-6, atol=1e-6)


def test_a_number_may_stand_first_and_tensors_in_a_list(tmp_path: Path) -> None:
    less = tf_op("TFOpLambda", "math.subtract", ["_CONSTANT_VALUE", -1, 1.0, {"y": ["x", 0, 0], "name": None}], "less")
    joined = tf_op("TFOpLambda", "concat", [["x", 0, 0, {"axis": -1}], ["less", 0, 0, {"axis": -1}]], "joined")
    path = make.listed(tmp_path / "m.h5", tf_keras(less, joined, end="joined"), {"x": {}}, "2.9.0")
    expected = np.concatenate([X, 1 - X], -1)
    np.testing.assert_array_equal(lc.import_model(path).predict(X, verbose=0), expected)


def test_time_and_batch_change_places_around_a_layer_with_time_first(tmp_path: Path) -> None:
    weights = {"lstm/kernel:0": (3, 8), "lstm/recurrent_kernel:0": (2, 8), "lstm/bias:0": (8,)}
    arrays = {name: RNG.normal(size=shape).astype("float32") for name, shape in weights.items()}

    def rnn(name: str, before: str, **options: Any) -> dict[str, Any]:
        config = {"name": name, "units": 2, "return_sequences": True, "recurrent_activation": "sigmoid", **options}
        return {"class_name": "LSTM", "config": config, "name": name, "inbound_nodes": [[[before, 0, 0, {}]]]}

    turn = tf_op("TFOpLambda", "compat.v1.transpose", ["x", 0, 0, {"perm": [1, 0, 2]}], "there")
    back = tf_op("TFOpLambda", "compat.v1.transpose", ["lstm", 0, 0, {"perm": [1, 0, 2]}], "back")
    turned = tf_keras(turn, rnn("lstm", "there", time_major=True), back, end="back")
    plain = tf_keras(rnn("lstm", "x"), end="lstm")
    alone = tf_keras(turn, rnn("lstm", "there"), end="lstm")
    for config in (turned, plain, alone):
        config["config"]["layers"][0] = source(batch_input_shape=[None, None, 3])
    models = [
        lc.import_model(make.listed(tmp_path / f"{k}.h5", config, {"x": {}, "lstm": arrays}, "2.9.0"))
        for k, config in enumerate((turned, plain))
    ]
    np.testing.assert_array_equal(*(model.predict(X, verbose=0) for model in models))
    # then what is given has time first
    model = lc.import_model(make.listed(tmp_path / "a.h5", alone, {"x": {}, "lstm": arrays}, "2.9.0"))
    np.testing.assert_array_equal(model.predict(X.swapaxes(0, 1), verbose=0), models[1].predict(X, verbose=0))


# Keras 3's form.

KERAS_3: dict[str, tuple[str, dict[str, Any], list[Any], Any]] = {
    "a sum": ("Add", {}, ["x", "x"], lambda x: x + x),
    "a number first": ("TrueDivide", {}, [2.0, "x"], lambda x: 2 / x),
    "a mean": ("Mean", {"axis": 1, "keepdims": False}, ["x"], lambda x: x.mean(1)),
    "the largest": ("Max", {"axis": -1, "keepdims": True, "initial": None}, ["x"], lambda x: x.max(-1, keepdims=True)),
    "the last": (
        "GetItem",
        {},
        ["x", [{"class_name": "__slice__", "config": ALL}, -1, {"class_name": "__slice__", "config": ALL}]],
        lambda x: x[:, -1],
    ),
    "a feature": ("GetItem", {}, ["x", [{"class_name": "__ellipsis__", "config": {}}, 0]], lambda x: x[..., 0]),
    "other lengths": ("Reshape", {"newshape": [-1, 15]}, ["x"], lambda x: x.reshape(-1, 15)),
    "bounds": ("Clip", {"x_min": -0.5, "x_max": 0.5}, ["x"], lambda x: np.clip(x, -0.5, 0.5)),
}


def tensor_or(value: Any) -> Any:
    return make.tensor(value) if isinstance(value, str) else value


def op(kind: str, config: dict[str, Any], args: list[Any], name: str = "op") -> dict[str, Any]:
    node = {"args": [tensor_or(value) for value in args], "kwargs": {}}
    config = {"name": name, **config}
    entry = {"module": "keras.src.ops.numpy", "class_name": kind, "config": config, "registered_name": kind}
    return {**entry, "name": name, "inbound_nodes": [node]}


def given(entry: dict[str, Any]) -> list[Any]:
    """The arguments of an operation's call, tensors by where they come from."""
    configs = [a["config"] if isinstance(a, dict) else a for a in entry["inbound_nodes"][0]["args"]]
    return [c.get("keras_history", c) if isinstance(c, dict) else c for c in configs]


NO_WEIGHTS = make.hdf5(lambda file: file.clear())


def keras_3(*layers: Any, end: str, **kwargs: Any) -> dict[str, Any]:
    return make.functional(make.called(make.SOURCE), *layers, begin=["x", 0, 0], end=[end, 0, 0], **kwargs)


@pytest.mark.parametrize("name", KERAS_3)
def test_an_operation_of_keras_3_comes_in_and_goes_out_again(name: str, tmp_path: Path) -> None:
    kind, config, args, expected = KERAS_3[name]
    entry = op(kind, config, args)
    model = lc.import_model(
        make.archive(tmp_path / "m.keras", keras_3(entry, end="op"), make.hdf5(lambda f: f.clear()))
    )
    np.testing.assert_allclose(model.predict(X, verbose=0), expected(X), rtol=2e-6, atol=1e-6)
    lc.export_model(model, tmp_path / "out.keras")
    back = lc.import_model(tmp_path / "out.keras")
    assert back.to_json() == model.to_json()
    written = lc.interop.keras.describe.described(model)["config"]["layers"][1]
    assert {key: written[key] for key in ("module", "class_name", "name")} == {
        key: entry[key] for key in ("module", "class_name", "name")
    }
    mine = [
        a["config"]["keras_history"] if isinstance(a, dict) and "keras_history" in a["config"] else a
        for a in written["inbound_nodes"][0]["args"]
    ]
    theirs = [
        a["config"]["keras_history"] if isinstance(a, dict) and "keras_history" in a["config"] else a
        for a in entry["inbound_nodes"][0]["args"]
    ]
    assert mine == theirs


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "one that lstmcore lacks": (
        op("Tile", {"repeats": [1, 2, 1]}, ["x"]),
        "the operation 'Tile' between layers, called 'op'",
    ),
    "an argument": (op("Mean", {"axis": 1, "where": [1]}, ["x"]), "where="),
    "all numbers": (op("Sum", {"axis": None, "keepdims": False}, ["x"]), "takes the batch too"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_another_is_refused_by_its_name(what: str, tmp_path: Path) -> None:
    entry, reason = UNKNOWN[what]
    path = make.archive(tmp_path / "m.keras", keras_3(entry, end="op"), NO_WEIGHTS)
    with pytest.raises(UnsupportedFileError, match=reason):
        lc.import_model(path)


def masked_gru(value: float) -> dict[str, Any]:
    """A GRU beside a state, its mask computed by operations: where x is not ``value``."""
    state = make.layer("InputLayer", batch_shape=[None, 2], dtype="float32", name="h")
    masking = make.called(make.layer("Masking", mask_value=0.5, name="masking"), make.tensor("x"))
    gru = make.layer("GRU", units=2, name="gru")
    kwargs = {"initial_state": make.tensor("h"), "mask": make.tensor("some")}
    return make.functional(
        make.called(make.SOURCE),
        make.called(state),
        masking,
        op("NotEqual", {}, ["x", value], "unequal"),
        op("Any", {"axis": -1, "keepdims": False}, ["unequal"], "some"),
        make.called(gru, make.tensor("masking"), **kwargs),
        begin=[["x", 0, 0], ["h", 0, 0]],
        end=["gru", 0, 0],
    )


def test_a_mask_of_operations_must_be_one_that_a_layer_makes(tmp_path: Path) -> None:
    def weights(file: Any) -> None:
        file.clear()
        for k, shape in enumerate([(3, 6), (2, 6), (2, 6)]):
            file[f"layers/gru/cell/vars/{k}"] = RNG.normal(size=shape).astype("float32")

    path = make.archive(tmp_path / "m.keras", masked_gru(0.5), make.hdf5(weights))
    assert "implied" in lc.import_model(path).to_json()
    path = make.archive(tmp_path / "m.keras", masked_gru(0.25), make.hdf5(weights))
    with pytest.raises(UnsupportedFileError, match="'unequal' computes a mask that no Masking and no Embedding makes"):
        lc.import_model(path)


def test_keras_has_operations_in_functional_models_alone(tmp_path: Path) -> None:
    model = Sequential([lc.layers.Input((5, 3)), Operation("negative", name="less")])
    with pytest.raises(ExportError, match="'less' stands in a Sequential"):
        lc.export_model(model, tmp_path / "m.keras")


# Other words of tf.keras.


def test_half_precision_is_float32_and_a_warning_says_so(tmp_path: Path) -> None:
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    dense = {
        "class_name": "Dense",
        "config": {"name": "d", "units": 2, "batch_input_shape": [None, 3], "dtype": policy},
    }
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [dense]}}
    kernel = RNG.normal(size=(3, 2)).astype("float32")
    path = make.listed(tmp_path / "m.h5", config, {"d": {"d/kernel:0": kernel, "d/bias:0": kernel[0]}}, "2.9.0")
    with pytest.warns(UserWarning, match="computes in mixed_float16; here it does in float32"):
        model = lc.import_model(path)
    assert model.dtype == "float32"
    np.testing.assert_allclose(model.predict(X[:, 0], verbose=0), X[:, 0] @ kernel + kernel[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("version", "rate"), [("1.2.2", "p"), ("2.9.0", "rate")])
def test_alpha_dropout_is_a_dropout_and_a_warning_says_so(version: str, rate: str, tmp_path: Path) -> None:
    layer = {"class_name": "AlphaDropout", "config": {"name": "drop", rate: 0.25, "batch_input_shape": [None, 3]}}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}}
    with pytest.warns(UserWarning, match="'drop' is an AlphaDropout"):
        model = lc.import_model(make.listed(tmp_path / "m.h5", config, {"drop": {}}, version))
    assert model.layers[0].rate == 0.25
