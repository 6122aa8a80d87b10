"""Functional models against those of Keras 3.15 on TensorFlow: from its JSON, and back to it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lstmcore import layers, models
from lstmcore.models import model_from_json
from lstmcore.runtime.compare import LIMIT, scale_error
from lstmcore.tree import alike, leaves, transform

GOLDENS = Path(__file__).parents[1] / "goldens"
CASES: dict[str, Any] = json.loads((GOLDENS / "functional.json").read_text(encoding="utf-8"))["cases"]
ARRAYS = load_file(GOLDENS / "functional.safetensors")
NAMED = [name for name in CASES if not name.startswith("auto_")]


def array(pointer: str, dtype: str) -> np.ndarray:
    found = ARRAYS[pointer[1:]]
    return found.astype(dtype) if found.dtype.kind == "f" else found


def arrays(structure: Any, dtype: str) -> Any:
    return transform(lambda pointer: array(pointer, dtype), structure)


def given_weights(case: dict[str, Any], dtype: str) -> list[np.ndarray]:
    return [array(pointer, dtype) for _, pointer in case["weights"]]


def read(case: dict[str, Any], dtype: str = "float64") -> Any:
    """Our model from Keras' JSON, with the golden's weights."""
    model = model_from_json(case["json"].replace('"float64"', f'"{dtype}"'))
    model.set_weights(given_weights(case, dtype))
    return model


def jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value))


def sorted_keys(structure: Any) -> Any:
    return dict(sorted(structure.items())) if isinstance(structure, dict) else structure


def errors(outputs: Any, golden: Any, dtype: str) -> list[float]:
    outputs, golden = sorted_keys(outputs), sorted_keys(golden)
    assert alike(outputs, golden)
    return [scale_error(y, ref, dtype) for y, ref in zip(leaves(outputs), leaves(golden), strict=True)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_keras(name: str, dtype: str) -> None:
    case = CASES[name]
    model = read(case, dtype)
    for golden in case["y"]:  # a stateful model is called twice
        outputs = model.predict(arrays(case["x"], dtype), backend="numpy")
        assert max(errors(outputs, arrays(golden, "float64"), dtype)) <= LIMIT


@pytest.mark.parametrize("name", CASES)
def test_names_shapes_and_counts(name: str) -> None:
    case, model = CASES[name], read(CASES[name])
    assert [[key, type(layer).__name__] for key, layer in model.named_layers.items()] == [
        [key, "Model" if kind == "Functional" else kind] for key, kind in case["layers"]
    ]
    theirs = [path.rpartition("/")[2] for path, _ in case["weights"]]
    assert [path.rpartition("/")[2] for path in model.weights] == theirs
    assert [list(weight.shape) for weight in model.get_weights()] == case["shapes"]
    assert model.count_params() == case["count"]
    assert jsonable(model.input_shape) == case["input_shape"]
    assert jsonable(model.output_shape) == case["output_shape"]


def summary(name: str, nested: bool) -> str:
    texts: list[str] = []
    read(CASES[name]).summary(print_fn=texts.append, expand_nested=nested)
    (text,) = texts
    return text


def computed(case: dict[str, Any]) -> set[str]:
    """The names of the nodes that are no layers: Keras keeps what computes masks in the graph, and shows it."""
    entries = json.loads(case["json"])["config"]["layers"]
    return {entry["name"] for entry in entries if entry["module"].startswith("keras.src.ops")}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not computed(case)])
def test_the_summary_is_that_of_keras(name: str, nested: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert summary(name, nested) == CASES[name]["summary"][nested]


def table(text: str) -> list[list[str]]:
    """The cells of a summary, without what each layer is connected to."""
    rows: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("│"):
            cells = [cell.strip() for cell in line.strip("│").split("│")][:3]
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1] or [""] * 3, cells, strict=True)]
        elif rows[-1]:
            rows.append([])
    return [row for row in rows if row]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if computed(case)])
def test_the_summary_has_the_layers_of_keras(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the rows of what computes the masks."""
    monkeypatch.setenv("COLUMNS", "80")
    theirs, ours = CASES[name]["summary"][0], summary(name, nested=False)
    expected = [row for row in table(theirs) if row[0].split()[0] not in computed(CASES[name])]
    assert len(table(ours)) == len(expected)
    for mine, row in zip(table(ours), expected, strict=True):  # the masks' rows make Keras' columns narrower
        assert [cell.startswith(part.rstrip("…")) for cell, part in zip(mine, row, strict=True)] == [True] * 3
    assert ours.splitlines()[-3:] == theirs.splitlines()[-3:]


def plain(value: Any) -> Any:
    """A config without what depends on the way the layers came to be called, and without the nodes of masks.

    Keras writes the shape as the layer saw it, arguments that it filled in itself, and the masks that it
    computed as nodes of the graph.
    """
    if isinstance(value, list):
        return [plain(one) for one in value if not is_computed(one)]
    if not isinstance(value, dict):
        return value
    if "kwargs" in value:
        given = {key: one for key, one in value["kwargs"].items() if not (one in (None, False) or is_no_mask(one))}
        return {"args": plain(value["args"]), "kwargs": plain(given)}
    return {key: plain(one) for key, one in value.items() if key not in ("build_config", "compile_config")}


def is_no_mask(value: Any) -> bool:
    """A mask that Keras computed, or a list of none."""
    return of_node(value) or (isinstance(value, list) and not any(value))


def is_computed(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("module")).startswith("keras.src.ops")


def of_node(value: Any) -> bool:
    """A tensor that Keras computed for a mask; the masks that these models are given are inputs."""
    told = isinstance(value, dict) and value.get("class_name") == "__keras_tensor__" and value["config"]
    return bool(told) and told["dtype"] == "bool" and told["keras_history"][0] != "valid"


@pytest.mark.parametrize("name", CASES)
def test_the_config_is_that_of_keras(name: str) -> None:
    theirs, ours = (json.loads(text)["config"] for text in (CASES[name]["json"], read(CASES[name]).to_json()))
    assert plain(ours) == plain(theirs)


@pytest.mark.parametrize("name", CASES)
def test_json_of_json(name: str) -> None:
    first = read(CASES[name]).to_json()
    assert model_from_json(first).to_json() == first


def graphs() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("graphs", GOLDENS / "graphs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.GRAPHS
    return found


def described(name: str) -> Any:
    """Our model from the same Python lines as Keras'."""
    ours = SimpleNamespace(layers=layers, Input=layers.Input, Model=models.Model, Sequential=models.Sequential)
    return graphs()[name](ours)


@pytest.mark.parametrize("name", CASES)
def test_the_same_lines_make_the_same_model(name: str) -> None:
    case, model = CASES[name], described(name)
    model.set_weights(given_weights(case, "float32"))
    for golden in case["y"]:
        outputs = model.predict(arrays(case["x"], "float32"), backend="numpy")
        assert max(errors(outputs, arrays(golden, "float64"), "float32")) <= LIMIT


@pytest.mark.parametrize("name", NAMED)
def test_the_same_lines_make_the_config_of_keras(name: str) -> None:
    theirs = json.loads(CASES[name]["json"].replace('"float64"', '"float32"'))["config"]
    assert unfilled(plain(json.loads(described(name).to_json())["config"])) == unfilled(plain(theirs))


def unfilled(value: Any) -> Any:
    """Without what Keras fills in when it calls a layer: the attention axes, and a mask that came with the input."""
    if isinstance(value, list):
        return [unfilled(one) for one in value]
    if not isinstance(value, dict):
        return value
    kwargs = value.get("kwargs")
    if kwargs and "initial_state" not in kwargs:
        value = {**value, "kwargs": {key: one for key, one in kwargs.items() if key != "mask"}}
    return {key: unfilled(one) for key, one in value.items() if key != "attention_axes"}


READER = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
import keras
from safetensors.numpy import load_file
folder, goldens = sys.argv[1:]
cases = json.load(open(goldens + "/functional.json"))["cases"]
arrays = load_file(goldens + "/functional.safetensors")
keras.config.set_floatx("float64")
def tensor(pointer):
    array = arrays[pointer[1:]]
    return keras.ops.convert_to_tensor(array, "float64" if array.dtype.kind == "f" else array.dtype.name)
outputs = {}
for name, text in json.load(open(folder + "/models.json")).items():
    model = keras.models.model_from_json(text)
    model.set_weights([arrays[pointer[1:]] for _, pointer in cases[name]["weights"]])
    y = model(keras.tree.map_structure(tensor, cases[name]["x"]), training=False)
    outputs.update({"%s/%d" % (name, k): np.asarray(one) for k, one in enumerate(keras.tree.flatten(y))})
np.savez(folder + "/outputs.npz", **outputs)
"""


@pytest.mark.skipif(
    not all(map(find_spec, ("keras", "tensorflow"))),
    reason="Keras is optional, and is not installed with TensorFlow here",
)
def test_keras_reads_our_json(tmp_path: Path) -> None:
    texts = {name: read(case).to_json() for name, case in CASES.items()}
    (tmp_path / "models.json").write_text(json.dumps(texts))
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", READER, str(tmp_path), str(GOLDENS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = np.load(tmp_path / "outputs.npz")
    for name, case in CASES.items():
        golden = [array(pointer, "float64") for pointer in leaves(case["y"][0])]
        found = [outputs[f"{name}/{k}"] for k in range(len(golden))]
        assert max(errors(found, golden, "float64")) <= LIMIT, name


def pointers(value: Any) -> Iterator[str]:
    return (leaf[1:] for leaf in leaves(value) if isinstance(leaf, str) and leaf.startswith("@"))


def test_every_golden_is_there_and_every_array_in_use() -> None:
    assert set(CASES) == set(graphs())
    assert set(pointers(list(CASES.values()))) == set(ARRAYS)
    assert all(np.isfinite(data).all() for data in ARRAYS.values())
