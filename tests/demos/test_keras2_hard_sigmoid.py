"""docs/demos/keras2-hard-sigmoid.md: gates of Keras 2 stay what they were, here and wherever the model goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras_2_files as files
import numpy as np
import pages
import pytest

import lstmcore as lc
from lstmcore.runtime.compare import LIMIT, scale_error

FILES = pages.DOCS / "demos" / "files"
X = np.random.default_rng(8).normal(size=(5, files.STEPS, files.FEATURES)).astype("float32")


def by_hand(path: Path, slope: float) -> Any:
    """The model in float64, its gates clip(slope x + 0.5, 0, 1)."""
    arrays: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name.split("/", 2)[2]] = item[()].astype("float64")

    with h5py.File(path) as file:
        file.visititems(visit)
    kernel, recurrent, bias = (arrays[f"lstm_1/{name}:0"] for name in ("kernel", "recurrent_kernel", "bias"))
    h = c = np.zeros((len(X), len(recurrent)))
    for t in range(X.shape[1]):
        i, f, g, o = np.split(X[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
        i, f, o = (np.clip(slope * gate + 0.5, 0, 1) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
    return h @ arrays["dense_1/kernel:0"] + arrays["dense_1/bias:0"]


def error(y: Any, slope: float = 0.2) -> float:
    return scale_error(np.asarray(y), by_hand(FILES / "keras_2.2.4.h5", slope), "float32")


@pytest.mark.parametrize("backend", ["numpy", "torch", "tensorflow"])
def test_the_numbers_are_those_of_keras_2(backend: str) -> None:
    if next(info for info in lc.backends() if info.name == backend).status != "available":
        pytest.skip(f"{backend} is not installed")
    y = lc.import_model(FILES / "keras_2.2.4.h5").predict(X, backend=backend)
    assert error(y) <= LIMIT
    assert error(y, 1 / 6) > 1e5


@pytest.mark.parametrize("name", ["m.keras", "m.onnx", "m.npz", "m.safetensors", "m.h5"])
def test_the_gates_stay_so_wherever_the_model_goes(name: str, tmp_path: Path) -> None:
    lc.export_model(lc.import_model(FILES / "keras_2.2.4.h5"), tmp_path / name)
    assert error(lc.import_model(tmp_path / name).predict(X)) <= LIMIT


@pytest.mark.parametrize("name", files.FILES)
def test_the_files_are_those_of_the_script(name: str, tmp_path: Path) -> None:
    def content(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "shape") else {})
            )
            return {**found, **{key: str(value) for key, value in file.attrs.items()}}

    assert content(FILES / name) == content(files.FILES[name](tmp_path / name))
