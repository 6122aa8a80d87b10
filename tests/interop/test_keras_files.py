"""Files that Keras wrote, of every generation: they load without Keras, and come to the numbers of Keras."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import keras_files as make
import numpy as np
import pytest

import lstmcore as lc
from lstmcore.errors import (
    DamagedFileError,
    ForeignFileError,
    UnsupportedFileError,
    WeightsMismatchError,
)
from lstmcore.interop.keras.generations import generation
from lstmcore.layers import GRU, LSTM, Bidirectional, Concatenate, Dense, Embedding, Input, TimeDistributed

DATA = Path(__file__).parent / "data"
LIMIT = 16
README = (DATA / "README.md").read_text()


def error(y: Any, expected: Any) -> float:
    """The largest difference, in units of float32 at the largest number."""
    scale = np.finfo(np.float32).eps * np.abs(expected).max()
    return float(np.abs(np.asarray(y, np.float64) - expected).max() / scale)


def check(model: Any, numbers: Path) -> None:
    with np.load(numbers) as data:
        inputs = [data[name] for name in sorted(data) if name.startswith("in")]
        y = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
        assert y.shape == data["out0"].shape
        assert error(y, data["out0"]) <= LIMIT


FOUND = sorted(path for path in DATA.glob("*__*.npz") if ".onnx__" not in path.name)
OURS = sorted(path for path in DATA.glob("tf_keras_*") if path.suffix in (".h5", ".keras"))


@pytest.mark.parametrize("numbers", FOUND, ids=lambda path: path.name)
def test_models_that_other_people_trained(numbers: Path) -> None:
    check(lc.import_model(DATA / numbers.name.rpartition("__")[0]), numbers)


def test_the_files_are_those_of_the_readme() -> None:
    rows = dict(re.findall(r"^\| (\S+__\S+) \|.*\| ([0-9a-f]{16}) \|$", README, re.MULTILINE))
    files = [path for path in DATA.glob("*__*") if path.suffix not in (".npz", ".onnx")]  # those are in ONNX.md
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files} == rows


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_models_of_keras_2(path: Path) -> None:
    base = path.name.split(".")[0]
    architecture = DATA / f"{base}.json"
    model = lc.import_model(architecture, weights=path) if architecture.exists() else lc.import_model(path)
    check(model, DATA / f"{base}.npz")


# What Keras 1 and 2 wrote and ran themselves: see record_old_keras.py.

OLD = sorted(DATA.glob("keras_*.h5"))


@pytest.mark.parametrize("path", [p for p in OLD if "convolution" not in p.name], ids=lambda path: path.stem)
def test_models_of_keras_1_and_2_with_its_own_numbers(path: Path) -> None:
    check(lc.import_model(path), path.with_suffix(".npz"))


def test_a_convolution_of_keras_1_on_theano_needs_to_be_told(tmp_path: Path) -> None:
    path = shutil.copy(DATA / "keras_1.2.2_convolution.h5", tmp_path / "m.h5")
    numbers = DATA / "keras_1.2.2_convolution.npz"
    with pytest.warns(UserWarning, match="'model_weights', the attribute backend='theano'"):
        model = lc.import_model(path)
    with pytest.raises(AssertionError):
        check(model, numbers)
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["backend"] = "theano"
    check(lc.import_model(path), numbers)


# Keras 1, whose formulas are written out here gate by gate.


def steep(x: Any) -> Any:
    return np.clip(0.2 * x + 0.5, 0, 1)


def lstm_1(x: Any, w: dict[str, Any]) -> Any:
    """All outputs of Keras 1's LSTM from its twelve arrays."""
    h = c = np.zeros((len(x), w["U_i"].shape[0]))
    outputs = []
    for t in range(x.shape[1]):
        gate = {g: x[:, t] @ w[f"W_{g}"] + h @ w[f"U_{g}"] + w[f"b_{g}"] for g in "ifco"}
        c = steep(gate["f"]) * c + steep(gate["i"]) * np.tanh(gate["c"])
        h = steep(gate["o"]) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def gru_1(x: Any, w: dict[str, Any]) -> Any:
    """The last output of Keras 1's GRU from its nine arrays."""
    h = np.zeros((len(x), w["U_z"].shape[0]))
    for t in range(x.shape[1]):
        z = steep(x[:, t] @ w["W_z"] + h @ w["U_z"] + w["b_z"])
        r = steep(x[:, t] @ w["W_r"] + h @ w["U_r"] + w["b_r"])
        g = np.tanh(x[:, t] @ w["W_h"] + (r * h) @ w["U_h"] + w["b_h"])
        h = z * h + (1 - z) * g
    return h


def test_a_bidirectional_lstm_of_keras_1() -> None:
    path = DATA / "dl4j-test-resources__bidirectional_lstm_tensorflow_1.h5"
    with h5py.File(path) as file:
        group = file["model_weights/bidirectional_1"]
        sides = [
            {key.split("_", 3)[3][:-2]: array[()] for key, array in group.items() if key.startswith(side)}
            for side in ("forward", "backward")
        ]
    x = np.random.default_rng(3).normal(size=(3, 4, 10)).astype("float32")
    expected = np.concatenate([lstm_1(x, sides[0]), lstm_1(x[:, ::-1], sides[1])[:, ::-1]], -1)
    assert error(lc.import_model(path).predict(x, verbose=0), expected) <= LIMIT


def first(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"batch_input_shape": [None, 5, 3], **config}}


def gates(rng: np.random.Generator, name: str, letters: str, features: int, units: int) -> dict[str, Any]:
    shapes = {"W": (features, units), "U": (units, units), "b": (units,)}
    return {f"{name}_{k}_{g}:0": rng.normal(size=s).astype("f4") for g in letters for k, s in shapes.items()}


def test_a_gru_between_other_layers_of_keras_1(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)

    def normal(*shape: int) -> Any:
        return rng.normal(size=shape).astype("float32")

    recurrent = {"output_dim": 4, "init": "glorot_uniform", "inner_init": "orthogonal", "activation": "tanh"}
    config = {
        "class_name": "Sequential",
        "config": [
            first(
                "Convolution1D",
                name="conv",
                nb_filter=2,
                filter_length=3,
                border_mode="valid",
                subsample_length=1,
                activation="linear",
                init="uniform",
                bias=True,
                input_dim=3,
                input_length=5,
                W_regularizer=None,
            ),
            {
                "class_name": "BatchNormalization",
                "config": {
                    "name": "bn",
                    "mode": 0,
                    "axis": -1,
                    "epsilon": 0.01,
                    "momentum": 0.99,
                    "gamma_regularizer": None,
                    "beta_regularizer": None,
                },
            },
            {
                "class_name": "GRU",
                "config": {
                    "name": "gru",
                    "inner_activation": "hard_sigmoid",
                    "consume_less": "gpu",
                    "dropout_W": 0.1,
                    "dropout_U": 0.0,
                    "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.1},
                    "return_sequences": False,
                    "go_backwards": False,
                    "stateful": False,
                    "unroll": False,
                    "input_dim": 2,
                    **recurrent,
                },
            },
            {"class_name": "Dropout", "config": {"name": "drop", "p": 0.5}},
            {
                "class_name": "Dense",
                "config": {
                    "name": "out",
                    "output_dim": 2,
                    "init": "uniform",
                    "bias": True,
                    "b_regularizer": {"name": "L1L2Regularizer", "l1": 0.3, "l2": 0.0},
                    "W_constraint": {"name": "MaxNorm", "m": 3, "axis": 0},
                    "activation": "hard_sigmoid",
                },
            },
        ],
    }
    w = gates(rng, "gru", "zrh", 2, 4)
    kernel, bias = normal(3, 1, 3, 2), normal(2)
    gamma, beta, mean, variance = normal(2), normal(2), normal(2), np.abs(normal(2)) + 0.5
    out, offset = normal(4, 2), normal(2)
    layers = {
        "conv": {"conv_W:0": kernel, "conv_b:0": bias},
        "bn": {"bn_gamma:0": gamma, "bn_beta:0": beta, "bn_running_mean:0": mean, "bn_running_std:0": variance},
        "gru": w,
        "drop": {},
        "out": {"out_W:0": out, "out_b:0": offset},
    }
    x = normal(2, 5, 3)
    y = sum(x[:, k : k + 3] @ kernel[k, 0] for k in range(3)) + bias
    y = (y - mean) / np.sqrt(variance + 0.01) * gamma + beta
    y = gru_1(y, {key[4:-2]: array for key, array in w.items()})
    with pytest.warns(UserWarning, match="TensorFlow or on Theano"):
        model = lc.import_model(make.listed(tmp_path / "m.h5", config, layers, None))
    assert error(model.predict(x, verbose=0), steep(y @ out + offset)) <= LIMIT
    old = {**layers, "conv": {"conv_W:0": kernel.transpose(3, 2, 0, 1), "conv_b:0": bias}}
    with pytest.warns(UserWarning, match="TensorFlow or on Theano"):
        model = lc.import_model(make.listed(tmp_path / "older.h5", config, old, "1.0.8"))
    assert error(model.predict(x, verbose=0), steep(y @ out + offset)) <= LIMIT
    assert model.get_layer("out").kernel_constraint.max_value == 3
    assert model.get_layer("gru").kernel_regularizer.l2 == 0.1
    assert model.get_layer("out").bias_regularizer.l1 == 0.3


@pytest.mark.parametrize(("kind", "letters", "count"), [("LSTM", "ifco", 4), ("GRU", "zrh", 3)])
def test_keras_1_for_a_gpu_had_the_gates_in_one_array(kind: str, letters: str, count: int, tmp_path: Path) -> None:
    """consume_less="gpu" of its recurrent.py: lstm slices i, f, c, o; GRU z, r, h."""
    rng = np.random.default_rng(5)
    single = gates(rng, "it", letters, 3, 4)
    side_by_side = {
        f"it_{k}:0": np.concatenate([single[f"it_{k}_{gate}:0"] for gate in letters], -1) for k in ("W", "U", "b")
    }
    options = {"name": "it", "output_dim": 4, "inner_activation": "hard_sigmoid", "activation": "tanh"}
    config = {"class_name": "Sequential", "config": [first(kind, consume_less="gpu", **options)]}
    x = rng.normal(size=(2, 5, 3)).astype("f4")
    w = {key[3:-2]: array for key, array in single.items()}
    wanted = lstm_1(x, w)[:, -1] if kind == "LSTM" else gru_1(x, w)
    for k, arrays in enumerate((single, side_by_side)):
        model = lc.import_model(make.listed(tmp_path / f"{k}.h5", config, {"it": arrays}, None))
        assert error(model.predict(x, verbose=0), wanted) <= LIMIT
    with pytest.raises(WeightsMismatchError):
        wrong = {**side_by_side, "it_b:0": np.zeros(2 * 4 * count, "f4")}
        lc.import_model(make.listed(tmp_path / "w.h5", config, {"it": wrong}, None))


@pytest.mark.parametrize(("mode", "expected"), [("concat", 6), ("sum", 3), ("mul", 3), ("ave", 3)])
def test_merge_of_keras_1(mode: str, expected: int, tmp_path: Path) -> None:
    dense = {"output_dim": 3, "init": "uniform", "activation": "linear", "bias": False, "input_dim": 2}
    layers = [
        {
            "class_name": "InputLayer",
            "name": "x",
            "inbound_nodes": [],
            "config": {"name": "x", "batch_input_shape": [None, 2], "input_dtype": "float32", "sparse": False},
        },
        {"class_name": "Dense", "name": "a", "config": {"name": "a", **dense}, "inbound_nodes": [[["x", 0, 0]]]},
        {"class_name": "Dense", "name": "b", "config": {"name": "b", **dense}, "inbound_nodes": [[["x", 0, 0]]]},
        {
            "class_name": "Merge",
            "name": "m",
            "inbound_nodes": [[["a", 0, 0], ["b", 0, 0]]],
            "config": {"name": "m", "mode": mode, "mode_type": "raw", "concat_axis": -1, "dot_axes": -1},
        },
    ]
    config = {"layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["m", 0, 0]], "name": "model_1"}
    rng = np.random.default_rng(1)
    a, b, x = (rng.normal(size=shape).astype("float32") for shape in ((2, 3), (2, 3), (4, 2)))
    weights = {"x": {}, "a": {"a_W:0": a}, "b": {"b_W:0": b}, "m": {}}
    model = lc.import_model(make.listed(tmp_path / "m.h5", {"class_name": "Model", "config": config}, weights, "1.2.2"))
    merged = {
        "concat": lambda p, q: np.concatenate([p, q], -1),
        "sum": lambda p, q: p + q,
        "mul": lambda p, q: p * q,
        "ave": lambda p, q: (p + q) / 2,
    }[mode](x @ a, x @ b)
    y = model.predict(x, verbose=0)
    assert y.shape == (4, expected) and error(y, merged) <= LIMIT
    layers[3]["config"] |= {"mode_type": "lambda"}
    path = make.listed(tmp_path / "m.h5", {"class_name": "Model", "config": config}, weights, "1.2.2")
    with pytest.raises(UnsupportedFileError, match="Merge with mode"):
        lc.import_model(path)


# What a word meant.


def recurrent_2(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": [first(kind, name="rnn", units=2, **config)]}


def rnn_weights(kind: str, bias: tuple[int, ...]) -> dict[str, Any]:
    count = {"LSTM": 4, "GRU": 3}[kind]
    rng = np.random.default_rng(2)
    shapes = {"kernel": (3, 2 * count), "recurrent_kernel": (2, 2 * count), "bias": bias}
    return {"rnn": {f"rnn/{name}:0": rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}}


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("1.2.2", "hard_sigmoid_0_2"),
        ("2.1.3", "hard_sigmoid_0_2"),
        ("2.2.4-tf", "hard_sigmoid_0_2"),
        ("2.15.0", "hard_sigmoid_0_2"),
        ("3.0.0", "hard_sigmoid"),
    ],
)
def test_hard_sigmoid_is_that_of_the_generation(version: str, name: str, tmp_path: Path) -> None:
    activation = "inner_activation" if version < "2" else "recurrent_activation"
    units = {"output_dim": 2} if version < "2" else {"units": 2}
    config = {
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [first("LSTM", name="rnn", **{activation: "hard_sigmoid"}, **units)]},
    }
    layers = rnn_weights("LSTM", (8,))
    if version < "2":
        layers = {"rnn": gates(np.random.default_rng(2), "rnn", "ifco", 3, 2)}
    model = lc.import_model(make.listed(tmp_path / "m.h5", config, layers, version))
    assert model.layers[0].recurrent_activation.name == name


@pytest.mark.parametrize(("bias", "expected"), [((6,), False), ((2, 6), True)])
def test_a_gru_that_does_not_say_reset_after_is_told_by_its_bias(
    bias: tuple[int, ...], expected: bool, tmp_path: Path
) -> None:
    path = make.listed(tmp_path / "m.h5", recurrent_2("GRU"), rnn_weights("GRU", bias), "2.1.3")
    assert lc.import_model(path).layers[0].reset_after is expected


def test_an_lstm_with_a_bias_of_eight_units_holds_weights_of_cudnn(tmp_path: Path) -> None:
    shutil.copy(DATA / "tf_keras_cudnn_lstm.h5", tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        text = file.attrs["model_config"]
        text = text.decode() if isinstance(text, bytes) else text
        file.attrs["model_config"] = text.replace("CuDNNLSTM", "LSTM").replace(
            '"units"', '"recurrent_activation": "sigmoid", "units"'
        )
    check(lc.import_model(tmp_path / "m.h5"), DATA / "tf_keras_cudnn_lstm.npz")


@pytest.mark.parametrize(
    ("option", "told"),
    [({"time_major": 1}, "time_major=1"), ({"evil": 1}, "evil"), ({"units": 0}, "units"), ({"rnn": []}, "rnn")],
)
def test_options_that_there_are_not_are_refused_by_name(option: Any, told: str, tmp_path: Path) -> None:
    config = (
        recurrent_2("LSTM", **{"time_major": False, **option})
        if "units" not in option
        else {"class_name": "Sequential", "config": [first("LSTM", name="rnn", **option)]}
    )
    path = make.listed(tmp_path / "m.h5", config, rnn_weights("LSTM", (8,)), "2.4.0")
    with pytest.raises(UnsupportedFileError, match=told):
        lc.import_model(path)


@pytest.mark.parametrize(
    ("layer", "config", "expected"),
    [
        ("LeakyReLU", {"alpha": 0.25, "name": "l"}, lambda z: np.where(z > 0, z, 0.25 * z)),
        ("LeakyReLU", {}, lambda z: np.where(z > 0, z, 0.3 * z)),
        ("ReLU", {"max_value": 1.0, "negative_slope": 0.0}, lambda z: np.clip(z, 0, 1)),
    ],
)
def test_a_layer_that_stands_for_an_activation(layer: str, config: Any, expected: Any, tmp_path: Path) -> None:
    activation = {"class_name": layer, "config": config}
    dense = {"class_name": "Sequential", "config": [first("Dense", name="d", units=2, activation=activation)]}
    rng = np.random.default_rng(11)
    kernel, bias, x = (rng.normal(size=s).astype("float32") for s in ((3, 2), (2,), (2, 5, 3)))
    path = make.listed(tmp_path / "m.h5", dense, {"d": {"d/kernel:0": kernel, "d/bias:0": bias}}, "2.4.0")
    assert error(lc.import_model(path).predict(x, verbose=0), expected(x @ kernel + bias)) <= LIMIT


def test_models_within_models_within_models(tmp_path: Path) -> None:
    """The list of a group goes through all of them."""
    deepest = lc.Sequential([Dense(3, name="c"), GRU(2, name="g")], name="deepest")
    middle = lc.Sequential([Dense(2, name="b"), deepest], name="middle")
    model = lc.Sequential([Input((5, 3)), middle])
    rng = np.random.default_rng(12)
    new = {name: rng.normal(size=array.shape).astype("f4") for name, array in model.weights.items()}
    names = {f"{path.removeprefix('middle/').removeprefix('deepest/')}:0": array for path, array in new.items()}
    lc.import_model(make.listed(tmp_path / "m.h5", None, {"middle": names}, "2.6.0"), spec=model)
    assert all(np.array_equal(model.weights[name], array) for name, array in new.items())


def test_theano_ran_kernels_against_time(tmp_path: Path) -> None:
    conv = {"class_name": "Sequential", "config": [first("Conv1D", name="c", filters=2, kernel_size=[3])]}
    rng = np.random.default_rng(6)
    kernel, bias, x = (rng.normal(size=s).astype("float32") for s in ((3, 3, 2), (2,), (2, 5, 3)))
    path = make.listed(tmp_path / "m.h5", conv, {"c": {"c/kernel:0": kernel, "c/bias:0": bias}}, "2.0.6")
    here = lc.import_model(path).predict(x, verbose=0)
    assert error(here, sum(x[:, k : k + 3] @ kernel[k] for k in range(3)) + bias) <= LIMIT
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["backend"] = b"theano"
    there = lc.import_model(path).predict(x, verbose=0)
    assert error(there, sum(x[:, k : k + 3] @ kernel[2 - k] for k in range(3)) + bias) <= LIMIT


def masked(kind: str, version: str, folder: Path, **config: Any) -> Path:
    """A functional model of Keras 2 in which masked words meet in a layer."""

    def entry(kind: str, name: str, nodes: Any, **config: Any) -> dict[str, Any]:
        return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}

    layers = [
        entry("InputLayer", "x", [], batch_input_shape=[None, 4], dtype="int32"),
        entry("InputLayer", "z", [], batch_input_shape=[None, 4], dtype="int32"),
        entry("Embedding", "e", [[["x", 0, 0, {}]]], input_dim=5, output_dim=3, mask_zero=True),
        entry("Embedding", "f", [[["z", 0, 0, {}]]], input_dim=5, output_dim=3, mask_zero=True),
        entry(kind, "m", [[["e", 0, 0, {}], [config.pop("second", "f"), 0, 0, {}]]], **config),
    ]
    ends = {"input_layers": [["x", 0, 0], ["z", 0, 0]], "output_layers": [["m", 0, 0]], "name": "model_1"}
    weights = {n: {f"{n}/embeddings:0": np.ones((5, 3), "f4")} for n in "ef"} if config.get("second") != "e" else {}
    config = {"class_name": "Model", "config": {"layers": layers, **ends}}
    return make.listed(folder / "m.h5", config, weights, version)


@pytest.mark.parametrize("kind", ["Multiply", "Maximum", "Add", "Concatenate"])
def test_merged_masks_are_joined_by_and_in_keras_2(kind: str, tmp_path: Path) -> None:
    model = lc.import_model(masked(kind, "2.4.0", tmp_path))
    (merge,) = [use for use in model.graph.calls if use.module.name == "m"]
    assert merge.arguments["mask"] == "every"
    x, z = np.asarray([[1, 1, 0, 0]]), np.asarray([[2, 0, 2, 0]])
    e = np.arange(15, dtype="float32").reshape(5, 3) + 1
    model.set_weights([e, 10 * e])
    merged = {"Multiply": np.multiply, "Maximum": np.maximum, "Add": np.add, "Concatenate": _side_by_side}[kind]
    assert error(model.predict([x, z], verbose=0), merged(e[x], 10 * e[z])) <= LIMIT
    last = lc.models.Model(model.inputs, lc.layers.SimpleRNN(1, activation="linear", name="last")(model.outputs[0]))
    last.get_layer("last").set_weights([np.ones((merged(e[x], e[z]).shape[-1], 1)), np.zeros((1, 1)), np.zeros(1)])
    expected = merged(e[x], 10 * e[z])[:, 0].sum(-1, keepdims=True)  # the one step that counts in both
    assert error(last.predict([x, z], verbose=0), expected) <= LIMIT
    again = lc.models.model_from_json(last.to_json())
    again.set_weights(last.get_weights())
    assert error(again.predict([x, z], verbose=0), expected) <= LIMIT


def _side_by_side(a: Any, b: Any) -> Any:
    return np.concatenate([a, b], -1)


def test_a_rescaling_that_ended_a_mask_is_refused(tmp_path: Path) -> None:
    layers = [
        {"class_name": "Masking", "config": {"name": "m", "batch_input_shape": [None, 4, 2], "mask_value": 0.0}},
        {"class_name": "Rescaling", "config": {"name": "r", "scale": 2.0, "offset": 1.0}},
    ]
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    with pytest.raises(UnsupportedFileError, match="'r' gets a mask, which ended there"):
        lc.import_model(make.listed(tmp_path / "m.h5", config, {}, "2.15.0"))
    config["config"]["layers"] = [layers[1], layers[0]]
    layers[1]["config"]["batch_input_shape"] = layers[0]["config"].pop("batch_input_shape")
    assert lc.import_model(make.listed(tmp_path / "n.h5", config, {}, "2.15.0")).output_shape == (None, 4, 2)


def test_a_mask_reaches_a_layer_with_initial_state_in_keras_2_alone() -> None:
    model = lc.import_model(DATA / "tf_keras_translator.h5")
    assert not any("no effect beside initial_state" in note for note in model.program.notes)
    text = model.to_json()
    assert '"mask": "implied"' in text
    again = lc.models.model_from_json(text)
    again.set_weights(model.get_weights())
    check(again, DATA / "tf_keras_translator.npz")


# Weights alone.


def lstm_model() -> Any:
    return lc.Sequential([Input((5, 3)), LSTM(4, name="lstm"), Dense(2, name="dense")])


def test_weights_alone_go_into_a_model_or_what_describes_one(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(make.hdf5())
    expected = make.arrays()["layers/lstm/cell/vars/0"]
    (tmp_path / "m.json").write_text(json.dumps(make.SMALL))
    model = lstm_model()
    assert lc.import_model(path, spec=model) is model
    for spec in (model, json.dumps(make.SMALL), make.SMALL, tmp_path / "m.json", str(tmp_path / "m.json")):
        assert np.array_equal(lc.import_model(path, spec=spec).weights["lstm/kernel"], expected)
    made = lc.import_model(tmp_path / "m.json", weights=path)
    assert np.array_equal(made.weights["lstm/kernel"], expected)
    with pytest.raises(UnsupportedFileError, match="weights alone"):
        lc.import_model(path)
    with pytest.raises(UnsupportedFileError, match="spec is 3"):
        lc.import_model(path, spec=3)


def test_weights_of_another_model_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(make.hdf5())
    other = lc.Sequential([Input((5, 3)), LSTM(4, name="lstm"), Dense(3, name="dense")])
    before = other.get_weights()
    with pytest.raises(WeightsMismatchError, match=r"kernel has shape \(4, 3\); the file has \(4, 2\)"):
        lc.import_model(path, spec=other)
    assert all(map(np.array_equal, before, other.get_weights()))


def test_a_labeller_whose_wrappers_hide_the_names_within(tmp_path: Path) -> None:
    """As delft's: TimeDistributed and Bidirectional, whose arrays are called after the outermost layer."""
    words, letters = Input((4, 6), name="words"), Input((4, 5), dtype="int32", name="letters")
    x = TimeDistributed(Embedding(7, 3), name="td")(letters)
    x = TimeDistributed(Bidirectional(LSTM(2)), name="td_1")(x)
    x = Bidirectional(LSTM(3, return_sequences=True), name="bi")(Concatenate(name="c")([words, x]))
    model = lc.models.Model([letters, words], Dense(2, name="out")(x))
    rng = np.random.default_rng(8)
    new = {name: rng.normal(size=array.shape).astype("f4") for name, array in model.weights.items()}
    layers: dict[str, Any] = {"words": {}, "td": {"td/embeddings:0": new["td/embeddings"]}}
    for name, cells in (("td_1", (7, 8)), ("bi", (10, 11))):
        layers[name] = {
            f"{name}/{side}_lstm_3/lstm_cell_{cells[k]}/{part}:0": new[f"{name}/{side}/{part}"]
            for k, side in enumerate(("forward", "backward"))
            for part in ("kernel", "recurrent_kernel", "bias")
        }
    layers["out"] = {f"out/{part}:0": new[f"out/{part}"] for part in ("kernel", "bias")}
    lc.import_model(make.listed(tmp_path / "m.hdf5", None, layers, "2.7.0"), spec=model)
    assert all(np.array_equal(model.weights[name], array) for name, array in new.items())


def nested_names(container: str, numbers: tuple[int, ...], slash: str = "/") -> dict[str, Any]:
    rng = np.random.default_rng(9)
    shapes = [((3, 4), (4,)), ((4, 4), (4,)), ((4, 4), (4,))]
    made = {}
    for number, (kernel, bias) in zip(numbers, shapes, strict=True):
        name = f"dense_{number}" if number else "dense"
        made[f"{container}{slash}{name}{slash}vars/0"] = rng.normal(size=kernel).astype("f4")
        made[f"{container}{slash}{name}{slash}vars/1"] = rng.normal(size=bias).astype("f4")
    return made


@pytest.mark.parametrize(
    ("container", "numbers", "slash"),
    [("layers", (0, 1, 2), "/"), ("_layer_checkpoint_dependencies", (0, 2, 4), "/"), ("layers", (0, 1, 2), "\\")],
)
def test_groups_are_named_as_each_release_did(container: str, numbers: Any, slash: str, tmp_path: Path) -> None:
    """Keras 2.13 counted layers twice, and on Windows the names of groups hold backslashes."""
    found = nested_names(container, numbers, slash)
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for path, array in found.items():
            file[path] = array
    model = lc.Sequential([Input((3,)), Dense(4), Dense(4), Dense(4)])
    lc.import_model(tmp_path / "m.weights.h5", spec=model)
    assert all(map(np.array_equal, model.get_weights(), found.values()))


def test_layers_of_one_name_in_several_models(tmp_path: Path) -> None:
    """Arrays that a nested model's file names alike are told apart by their groups."""
    model = lc.Sequential(
        [
            Input((5, 3)),
            lc.Sequential([GRU(2, return_sequences=True, name="gru"), Dense(2, name="dense")], name="one"),
            lc.Sequential([GRU(2, return_sequences=True, name="gru"), Dense(2, name="dense")], name="two"),
        ]
    )
    rng = np.random.default_rng(10)
    new = {name: rng.normal(size=array.shape).astype("f4") for name, array in model.weights.items()}
    layers: dict[str, Any] = {"one": {}, "two": {}}
    for path, array in new.items():
        outer, inner, weight = path.split("/")
        cell = "gru_cell/" if inner == "gru" else ""
        layers[outer][f"{inner}_{5 if outer == 'one' else 7}/{cell}{weight}:0"] = array
    lc.import_model(make.listed(tmp_path / "m.h5", None, layers, "2.6.0"), spec=model)
    assert all(np.array_equal(model.weights[name], array) for name, array in new.items())


def test_long_lists_of_names_come_in_pieces(tmp_path: Path) -> None:
    layers = {"rnn": rnn_weights("LSTM", (8,))["rnn"]}
    path = make.listed(tmp_path / "m.h5", recurrent_2("LSTM"), layers, "2.2.4")
    with h5py.File(path, "r+") as file:
        group = file["model_weights/rnn"]
        names = list(group.attrs["weight_names"])
        del group.attrs["weight_names"]
        group.attrs["weight_names0"], group.attrs["weight_names1"] = names[:2], names[2:]
    assert lc.import_model(path).count_params() == 48


# What comes with it.


def test_nan_is_reported(tmp_path: Path) -> None:
    layers = rnn_weights("LSTM", (8,))
    layers["rnn"]["rnn/kernel:0"][1, 2] = np.nan
    path = make.listed(tmp_path / "m.h5", recurrent_2("LSTM"), layers, "2.1.3")
    with pytest.warns(UserWarning, match="NaN or infinity in rnn/kernel"):
        model = lc.import_model(path)
    assert np.isnan(model.weights["rnn/kernel"]).sum() == 1


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_other_dtypes_whose_numbers_fit(dtype: str, tmp_path: Path) -> None:
    layers = rnn_weights("LSTM", (8,))
    rounded = {key: array.astype("float16").astype(dtype) for key, array in layers["rnn"].items()}
    model = lc.import_model(make.listed(tmp_path / "m.h5", recurrent_2("LSTM"), {"rnn": rounded}, "2.1.3"))
    assert np.array_equal(model.weights["rnn/kernel"], rounded["rnn/kernel:0"].astype("f4"))
    assert model.weights["rnn/kernel"].dtype == np.float32


def test_what_training_left_is_passed_over(tmp_path: Path) -> None:
    def trained(file: Any) -> None:
        file["optimizer/vars/0"] = np.int64(7)
        file["optimizer/vars/1"] = np.ones((3, 16), "f4")
        file["layers/dropout/seed_generator/vars/0"] = np.ones(2, "uint32")

    assert lc.import_model(make.archive(tmp_path / "m.keras", weights=make.hdf5(trained))).count_params() == 138


def test_the_content_tells_the_format_before_the_suffix(tmp_path: Path) -> None:
    shutil.copy(DATA / "tf_keras_chain.h5", tmp_path / "m.keras")
    shutil.copy(DATA / "CDT406-EMG-2__model.keras", tmp_path / "m.h5")
    assert lc.import_model(tmp_path / "m.keras").count_params() and lc.import_model(tmp_path / "m.h5").count_params()
    with pytest.raises(DamagedFileError):
        lc.import_model(tmp_path / "m.keras", format="keras")
    with pytest.raises(UnsupportedFileError, match="no format is called 'tfkeras'"):
        lc.import_model(tmp_path / "m.keras", format="tfkeras")
    (tmp_path / "m.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ForeignFileError, match="GGUF"):
        lc.import_model(tmp_path / "m.bin")
    with pytest.raises(FileNotFoundError):
        lc.import_model(tmp_path / "nobody.h5")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"weights": "w.h5"}, "holds weights itself"), ({"spec": "{}"}, "describes its model itself")],
)
def test_arguments_that_do_not_go_with_an_archive(arguments: Any, told: str) -> None:
    with pytest.raises(UnsupportedFileError, match=told):
        lc.import_model(DATA / "CDT406-EMG-2__model.keras", **arguments)


def test_the_generation_of_a_description_without_a_version() -> None:
    def form(data: Any) -> str:
        return generation(None, data, "m").name

    assert form({"class_name": "Sequential", "config": [first("LSTM", inner_activation="tanh")]}) == "Keras 1"
    assert form(recurrent_2("LSTM")) == "Keras 2"
    assert form(make.SMALL) == "Keras 3"
    assert form(json.loads((DATA / "tf_keras_42.json").read_text()) | {"keras_version": None}) == "tf.keras"
