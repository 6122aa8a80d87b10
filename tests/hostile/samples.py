"""One small sound file of each format that is read, as jobs for the reader: what to import, and with what."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore.layers import GRU, LSTM, Bidirectional, Dense, Input
from lstmcore.models import Sequential

Job = dict[str, Any]
ABOUT = "assets.extra/lstmcore.json"


def model(seed: int = 1) -> Any:
    """A small model with a layer of each kind that formats store in their own way; no two numbers alike."""
    made = Sequential([Input((None, 3)), Bidirectional(LSTM(2, return_sequences=True)), GRU(3), Dense(2)], name="m")
    random = np.random.default_rng(seed)
    made.set_weights([random.normal(size=array.shape).astype("float32") for array in made.get_weights()])
    return made


def own(folder: Path) -> Job:
    return written(folder / "m.safetensors")


def keras(folder: Path) -> Job:
    return written(folder / "m.keras")


def hdf5(folder: Path) -> Job:
    return written(folder / "m.h5")


def weights_hdf5(folder: Path) -> Job:
    return {**written(folder / "m.weights.h5"), "spec": described(folder / "spec.json")}


def json_text(folder: Path) -> Job:
    written(folder / "w.weights.h5")
    return {"path": described(folder / "m.json"), "weights": str(folder / "w.weights.h5")}


def onnx(folder: Path) -> Job:
    return written(folder / "m.onnx")


def pytorch(folder: Path) -> Job:
    return {**written(folder / "net.pt"), "spec": described(folder / "spec.json")}


def npz(folder: Path) -> Job:
    return written(folder / "m.npz")


def header(folder: Path) -> Job:
    return written(folder / "m.h")


def saved_model(folder: Path) -> Job:
    lc.export_model(model(), folder / "m", format="saved_model")
    return {"path": str(folder / "m")}


FORMATS: dict[str, Callable[[Path], Job]] = {
    "own": own,
    "keras": keras,
    "hdf5": hdf5,
    "weights_hdf5": weights_hdf5,
    "json": json_text,
    "onnx": onnx,
    "pytorch": pytorch,
    "npz": npz,
    "c": header,
    "saved_model": saved_model,
}


def written(path: Path) -> Job:
    lc.export_model(model(), path)
    return {"path": str(path)}


def described(path: Path) -> str:
    path.write_text(model().to_json())
    return str(path)


def seal(folder: str | Path) -> None:
    """Makes the digests of a SavedModel those of its files, as whoever alters it would."""
    about = Path(folder, ABOUT)
    told = json.loads(about.read_bytes())
    told["files"] = {
        os.path.relpath(path, folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path != about
    }
    about.write_text(json.dumps(told))
