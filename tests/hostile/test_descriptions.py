"""Numbers 15 to 30: every attack on the JSON of a model, in each file that holds one."""

from __future__ import annotations

import contextlib
import copy
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras_files
import pytest
import samples
from reader import Reader, harmless

from lstmcore.weights.header import metadata_digest

Job = dict[str, Any]
Place = Callable[[Path, str], Job]


def in_own(folder: Path, text: str) -> Job:
    job = samples.own(folder)
    data = Path(job["path"]).read_bytes()
    size = int.from_bytes(data[:8], "little")
    fields = json.loads(data[8 : 8 + size])
    told = fields["__metadata__"]
    told["model"] = text
    digests = json.loads(told["digests"])
    with contextlib.suppress(UnicodeEncodeError):  # half a character: no digest is right
        digests["__metadata__"] = metadata_digest(told)
    told["digests"] = json.dumps(digests)
    raw = json.dumps(fields).encode()
    Path(job["path"]).write_bytes(len(raw).to_bytes(8, "little") + raw + data[8 + size :])
    return job


def in_npz(folder: Path, text: str) -> Job:
    job = samples.npz(folder)
    with zipfile.ZipFile(job["path"]) as file:
        members = {name: file.read(name) for name in file.namelist()}
    raw = text.encode("utf-8", "surrogatepass")
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(raw)},), }}\n".encode()
    members["lstmcore.model.npy"] = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + raw
    with zipfile.ZipFile(job["path"], "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return job


def in_c(folder: Path, text: str) -> Job:
    job = samples.header(folder)
    data = Path(job["path"]).read_bytes()
    begin, end = data.rindex(b"/* lstmcore.c 1") + 15, data.rindex(b"lstmcore.c end")
    about = json.loads(data[begin:end].replace(b"\n", b""))
    about["model"] = 0
    raw = json.dumps(about).encode().replace(b'"model": 0', b'"model": ' + text.encode("utf-8", "surrogatepass"))
    Path(job["path"]).write_bytes(data[:begin] + b"\n" + raw + b"\n" + data[end:])
    return job


def in_saved_model(folder: Path, text: str) -> Job:
    job = samples.saved_model(folder)
    Path(job["path"], "assets.extra/lstmcore.model.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    samples.seal(job["path"])
    return job


def in_keras(folder: Path, text: str) -> Job:
    return {"path": str(keras_files.archive(folder / "m.keras", text.encode("utf-8", "surrogatepass")))}


def in_hdf5(folder: Path, text: str) -> Job:
    path = folder / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"] = text.encode("utf-8", "surrogatepass").replace(b"\0", b"\\u0000")
        file.create_group("model_weights")
    return {"path": str(path)}


def in_json(folder: Path, text: str) -> Job:
    job = samples.json_text(folder)
    Path(job["path"]).write_bytes(text.encode("utf-8", "surrogatepass"))
    return job


def in_spec(folder: Path, text: str) -> Job:
    job = samples.pytorch(folder)
    Path(job["spec"]).write_bytes(text.encode("utf-8", "surrogatepass"))
    return job


def in_onnx(folder: Path, text: str) -> Job:
    import onnx

    job = samples.onnx(folder)
    model = onnx.load(job["path"])
    entry = next(entry for entry in model.metadata_props if entry.key == "lstmcore.model")
    entry.value = text.encode("utf-8", "replace").decode()
    Path(job["path"]).write_bytes(model.SerializeToString())
    return job


PLACES: dict[str, Place] = {
    "own": in_own,
    "keras": in_keras,
    "hdf5": in_hdf5,
    "json": in_json,
    "spec": in_spec,
    "npz": in_npz,
    "c": in_c,
    "saved_model": in_saved_model,
    "onnx": in_onnx,
}

SOUND = json.loads(samples.model().to_json())


def changed(**config: Any) -> str:
    """The model whose last layer says something else."""
    made = copy.deepcopy(SOUND)
    made["config"]["layers"][-1]["config"].update(config)
    return json.dumps(made)


def layer(kind: str, module: str = "keras.layers", **config: Any) -> str:
    """The model whose last layer is another."""
    made = copy.deepcopy(SOUND)
    made["config"]["layers"][-1] = keras_files.layer(kind, module, **{"name": "dense", **config})
    return json.dumps(made)


def source(shape: Any) -> str:
    made = copy.deepcopy(SOUND)
    made["config"]["layers"][0]["config"]["batch_shape"] = shape
    return json.dumps(made)


def wrapped(kind: str, depth: int, key: str = "layer") -> str:
    inner: Any = keras_files.layer("LSTM", units=2, return_sequences=True, name="inner")
    for _ in range(depth):
        inner = keras_files.layer(kind, **{key: inner}, name="outer")
    return json.dumps(keras_files.sequential(keras_files.SOURCE, inner))


def graph(*layers: Any, begin: Any = ("x", 0, 0), end: Any = ("a", 0, 0)) -> str:
    x = keras_files.called(keras_files.layer("InputLayer", batch_shape=[None, 3], name="x"))
    return json.dumps(keras_files.functional(x, *layers, begin=list(begin), end=list(end)))


def relu(name: str, *after: Any) -> Any:
    entry = keras_files.layer("Activation", activation="relu", name=name)
    return keras_files.called(entry, *(keras_files.tensor(*place) for place in after))


def inflating(depth: int) -> Any:
    """A model that calls a model twice that calls a model twice ..."""
    inner = keras_files.layer("Activation", activation="tanh", name="m0")
    for level in range(1, depth):
        x = keras_files.layer("InputLayer", batch_shape=[None, 3], name="x")
        last = f"m{level - 1}"
        chain = [
            keras_files.called(x),
            keras_files.called(inner, keras_files.tensor("x"), keras_files.tensor(last)),
        ]
        inner = keras_files.functional(*chain, begin=["x", 0, 0], end=[last, 1 + (level > 1), 0], name=f"m{level}")
    return inner


def crowded(count: int) -> str:
    """A graph in which every layer adds all before it."""
    names, layers = ["x"], []
    for k in range(count):
        places = [keras_files.tensor(name) for name in (names if k else names * 2)]
        layers.append(keras_files.called(keras_files.layer("Add", name=f"a{k}"), places))
        names.append(f"a{k}")
    return graph(*layers, end=(names[-1], 0, 0))


def backwards(count: int) -> str:
    """A chain whose layers stand in the wrong order."""
    layers = [relu(f"a{k}", (f"a{k - 1}" if k else "x",)) for k in range(count)]
    return graph(*layers[::-1], end=(f"a{count - 1}", 0, 0))


def stacked(count: int) -> str:
    cells = [keras_files.layer("LSTMCell", units=2, name=f"c{k}") for k in range(count)]
    stack = keras_files.layer("StackedRNNCells", cells=cells, name="s")
    return json.dumps(keras_files.sequential(keras_files.SOURCE, keras_files.layer("RNN", cell=stack, name="r")))


NAMES = ",".join(f'"k{k}":1' for k in range(100_000))


def deep_models(depth: int) -> Any:
    inner = keras_files.sequential(keras_files.SOURCE, keras_files.LSTM)
    for k in range(depth):
        inner = keras_files.sequential(inner, name=f"s{k}")
    return inner


RAW = json.dumps(SOUND)
TEXTS: dict[str, str] = {
    "15 100,000 lists": "[" * 100_000 + "]" * 100_000,
    "15 100,000 objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "15 90 lists in a layer": changed(units=json.loads("[" * 90 + "]" * 90)),
    "16 10 MB of text": changed(name="a" * 10_000_000),
    "16 a megabyte of text": changed(name="a" * 1_000_000),
    "17 a million digits": RAW.replace('"units": 2', '"units": ' + "9" * 1_000_000),
    "17 5,000 digits": RAW.replace('"units": 2', '"units": ' + "9" * 5000),
    "18 NaN": RAW.replace('"units": 2', '"units": NaN'),
    "18 Infinity": RAW.replace('"units": 2', '"units": 1e999'),
    "18 minus Infinity": RAW.replace('"units": 2', '"units": -Infinity'),
    "19 a key twice": RAW.replace('"class_name": "Sequential"', '"class_name": "Sequential", "class_name": "Model"', 1),
    "19 the last of 100,000 keys twice": f'{{"class_name": "Sequential", "config": {{{NAMES}, "k99999": 2}}}}',
    "19 100,000 unknown keys": f'{{"class_name": "Sequential", "config": {{{NAMES}}}}}',
    "20 lines and colours": changed(name="a\n\x1b[31m../.."),
    "20 a name that turns the line": changed(name="\u202e\u2066dense"),
    "20 a class that looks like one": RAW.replace('"class_name": "Dense"', '"class_name": "D\\u0435nse"'),
    "20 half a character": RAW.replace('"name": "dense"', '"name": "\\ud800"'),
    "20 half a character as bytes": RAW.replace('"name": "dense"', '"name": "\ud800"'),
    "20 NUL": RAW.replace('"name": "dense"', '"name": "a\\u0000b"'),
    "21 unknown class": layer("Evil", units=2),
    "21 unknown model": RAW.replace('"Sequential"', '"Evil"', 1),
    "21 unknown key": changed(evil=1),
    **{
        f"22 {kind}": layer(kind, **config)
        for kind, config in {
            "Lambda": {"function": {"class_name": "__lambda__", "config": {"value": ["4wAAAAA=", None, None]}}},
            "TFSMLayer": {"filepath": "/tmp/evil", "call_endpoint": "serve"},
            "TorchModuleWrapper": {"module": "gASVIA=="},
            "StringLookup": {"vocabulary": "/etc/passwd"},
        }.items()
    },
    "23 os.system": layer("system", "os", command="touch canary"),
    "23 subprocess.Popen": layer("Popen", "subprocess", args=["touch", "canary"]),
    "23 an activation of os": changed(
        activation={"module": "os", "class_name": "system", "config": "touch canary", "registered_name": None}
    ),
    "23 an initializer of builtins": changed(
        kernel_initializer={"module": "builtins", "class_name": "eval", "config": {"x": "1"}, "registered_name": None}
    ),
    "23 an activation called eval": changed(activation="eval"),
    **{
        f"24 units {units!r}": changed(units=units)
        for units in (-1, 0, 2**31, 2**40, 2**63, 2**100, 1e308, 2.5, True, "8", None, [3])
    },
    "25 a cycle": graph(relu("a", ("b",)), relu("b", ("a",))),
    "25 itself": graph(relu("a", ("a",))),
    "25 forward": graph(relu("a", ("b",)), relu("b", ("c",)), relu("c", ("b",))),
    "25 40,000 edges": crowded(280),
    "25 20,000 inputs": graph(
        keras_files.called(keras_files.layer("Add", name="a"), [keras_files.tensor("x")] * 20_000)
    ),
    "25 5,000 calls": graph(relu("a", *[("x", 0, 0)] * 5000)),
    "25 400 layers, the last one first": backwards(400),
    "25 nobody": graph(relu("a", ("nobody",))),
    "25 an output that is not there": graph(relu("a", ("x", 0, 7))),
    "25 an end that is not there": graph(relu("a", ("x",)), end=("nobody", 0, 0)),
    "26 a million layers": json.dumps(keras_files.sequential(*[{}] * 1_000_000)),
    "26 layers in 2 MB": json.dumps(
        keras_files.sequential(keras_files.SOURCE, *[{"class_name": "Dense", "config": {"units": 1}}] * 30_000)
    ),
    "27 2 to the 25th layers": json.dumps(inflating(25)),
    "27 30 times Bidirectional": wrapped("Bidirectional", 30),
    "27 45 times TimeDistributed": wrapped("TimeDistributed", 45),
    "27 20 times a stack of cells": wrapped("StackedRNNCells", 20, "cells"),
    "27 3,000 cells": stacked(3000),
    "27 models 40 deep": json.dumps(deep_models(40)),
    "27 30 times RNN": wrapped("RNN", 30, "cell"),
    "28 a path alone": json.dumps("/etc/passwd"),
    "28 no path": json.dumps(""),
    "28 a path for an activation": changed(activation="/etc/passwd"),
    "28 a URL for an initializer": changed(kernel_initializer="http://localhost:9/x"),
    "28 a path for a dtype": changed(dtype="../../etc/passwd"),
    "29 a product of lengths": source([None, 2**31 - 1, 2**31 - 1]),
    "29 a batch beyond memory": source([2**62, 5, 3]),
    "29 a negative length": source([None, -3, 3]),
    "29 a shape of 1,000 axes": source([1] * 1000),
    "29 units whose product overflows": layer("LSTM", units=2**31 - 1),
    **{
        f"29 {kind} of 2^31": layer(kind, **config)
        for kind, config in {
            "Conv1D": {"filters": 2**31 - 1, "kernel_size": [2**31 - 1], "dilation_rate": [2**31 - 1]},
            "ZeroPadding1D": {"padding": 2**62},
            "UpSampling1D": {"size": 2**62},
            "RepeatVector": {"n": 2**62},
            "Cropping1D": {"cropping": 2**31},
            "MaxPooling1D": {"pool_size": 2**62},
            "Embedding": {"input_dim": 2**40, "output_dim": 2**40},
            "Reshape": {"target_shape": [2**31 - 1, 2**31 - 1, -1]},
            "Permute": {"dims": list(range(1, 1000))},
            "LayerNormalization": {"axis": list(range(100_000))},
            "EinsumDense": {"equation": "ab" * 50_000 + "->a", "output_shape": [4]},
            "MultiHeadAttention": {"num_heads": 2**31, "key_dim": 2**31},
        }.items()
    },
    "30 a class of the future": RAW.replace('"module": "keras"', '"module": "keras4"', 1).replace(
        '"Sequential"', '"Sequential2"', 1
    ),
    "30 an opset of the future": json.dumps(
        {"module": "lstmcore", "class_name": "ProgramModel", "config": {"program": {"opset": 9999}}}
    ),
    "30 nothing": "",
    "30 null": "null",
    "30 a number": "3",
}


@pytest.mark.parametrize("place", PLACES)
def test_every_attack_in_this_place(place: str, ask: Reader, tmp_path: Path) -> None:
    """Refused with one clear error. An ONNX file holds the model itself: there the description is not believed."""
    results = {}
    for number, (name, text) in enumerate(TEXTS.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        answer = ask(PLACES[place](folder, text))
        try:
            harmless(answer)
        except AssertionError as error:
            raise AssertionError(f"{name}: {str(error)[:1000]}") from None
        assert str(tmp_path) not in answer.get("told", "") and not list(folder.rglob("canary")), name
        results[name] = answer["result"]
    read = {name for name, result in results.items() if result == "model"}
    assert read == set(results) if place == "onnx" else not read - HARMLESS, read


# A long name is a name; a batch is a number until there are data; layers without weights are whole without arrays.
HARMLESS = {
    "16 a megabyte of text",
    "25 400 layers, the last one first",
    "29 a batch beyond memory",
    "30 a class of the future",
}


def test_the_sound_texts_in_these_places_are_read(ask: Reader, tmp_path: Path) -> None:
    """Otherwise the attacks might be refused for where they are. A header of C must be the very text; see test_c.py."""
    for place in ("own", "npz", "saved_model", "json", "spec"):
        folder = tmp_path / place
        folder.mkdir()
        answer = ask(PLACES[place](folder, RAW))
        assert answer["result"] == "model", (place, answer)


def test_the_attacks_are_as_many_as_are_said() -> None:
    assert {int(name.split()[0]) for name in TEXTS} == set(range(15, 31))
