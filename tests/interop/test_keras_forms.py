"""Descriptions as people keep them: what to_json says, what get_config says, and what is none of these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_keras_files import DATA, check

import lstmcore as lc
from lstmcore.errors import FileError, UnsupportedFileError

CHAIN, GRAPH = DATA / "keras_2.0.9_nested.h5", DATA / "keras_1.2.2_masks_mul.h5"


def description(path: Path) -> Any:
    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"])


FORMS: dict[str, Any] = {
    "to_json": lambda data: data,
    "to_json, dumped once more": lambda data: json.dumps(data),
    "get_config": lambda data: data["config"],
    "with a mark of byte order": lambda data: data,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", [CHAIN, GRAPH], ids=lambda path: path.stem)
def test_a_description_may_be_kept_in_several_ways(path: Path, form: str, tmp_path: Path) -> None:
    text = json.dumps(FORMS[form](description(path)))
    (tmp_path / "m.json").write_text(text, encoding="utf-8-sig" if "byte order" in form else "utf-8")
    check(lc.import_model(tmp_path / "m.json", weights=path), path.with_suffix(".npz"))


def test_a_text_in_a_file_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps(description(CHAIN)))
    (tmp_path / "m.json").write_text(json.dumps(str(tmp_path / "other.json")))
    with pytest.raises(FileError, match=r"m\.json"):
        lc.import_model(tmp_path / "m.json", weights=CHAIN)


@pytest.mark.parametrize("key", ["name", "class_name"])
def test_what_layers_are_called_is_text(key: str, tmp_path: Path) -> None:
    data = description(GRAPH)
    data["config"]["layers"][0][key] = {}
    (tmp_path / "m.json").write_text(json.dumps(data))
    with pytest.raises(UnsupportedFileError, match="expected texts"):
        lc.import_model(tmp_path / "m.json", weights=GRAPH)


OTHERS: dict[str, tuple[str, str]] = {
    "TensorFlow.js": (
        '{"format": "layers-model", "modelTopology": {}, "weightsManifest": []}',
        "m.json .*TensorFlow.js",
    ),
    "Keras 0": ('{"name": "Sequential", "layers": [{"name": "LSTM", "output_dim": 4}]}', "m.json .*Keras 0"),
    "YAML": ("backend: tensorflow\nclass_name: Sequential\nconfig: []\n", "m.json is YAML"),
    "a history": ('{"loss": [1.0, 0.5]}', "describes no layer"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_no_description_is_refused_by_name(what: str, tmp_path: Path) -> None:
    text, reason = OTHERS[what]
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UnsupportedFileError, match=reason):
        lc.import_model(tmp_path / "m.json", weights=CHAIN)


def spoiled(value: Any, rng: Any) -> Any:
    """A description with one value in it replaced by another kind of value."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.93:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[int(rng.integers(len(keys)))]
        items = dict(value) if isinstance(value, dict) else list(value)
        items[key] = spoiled(value[key], rng)
        return items
    return [None, [], {}, "x", -1, 2**40, [[]], {"class_name": "Merge"}, True][int(rng.integers(9))]


@pytest.mark.parametrize(
    "name", ["keras_1.2.2_merged", "keras_1.2.2_cosine", "keras_1.2.2_of_its_time", "tf_keras_translator"]
)
def test_a_spoiled_description_is_refused_or_read(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    data, refused = description(DATA / f"{name}.h5"), 0
    for _ in range(60):
        (tmp_path / "m.json").write_text(json.dumps(spoiled(data, rng)))
        try:
            lc.import_model(tmp_path / "m.json", weights=DATA / f"{name}.h5")
        except FileError:
            refused += 1
    assert refused > 10


def test_a_layer_is_not_called_without_end(tmp_path: Path) -> None:
    layer = {"class_name": "Dense", "config": {"name": "d", "output_dim": 2, "batch_input_shape": [None, 2]}}
    again = {"class_name": "Dense", "config": {"name": "e", "output_dim": 2}}
    branch = {"class_name": "Sequential", "config": [layer, *[again] * 20_000]}
    merge = {"class_name": "Merge", "config": {"name": "m", "mode": "sum", "layers": [branch]}}
    (tmp_path / "m.json").write_text(json.dumps({"class_name": "Sequential", "config": [merge]}))
    with pytest.raises(UnsupportedFileError, match="more layers than are read"):
        lc.import_model(tmp_path / "m.json", weights=CHAIN)
