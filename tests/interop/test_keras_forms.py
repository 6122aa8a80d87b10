"""Descriptions as people keep them: what to_json says, what get_config says, and what is none of these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import pytest
from test_keras_files import DATA, check

import lstmcore as lc
from lstmcore.errors import UnsupportedFileError

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
