"""One small sound file of each format that is read, as jobs for the reader: what to import, and with what.

Each is made once, and then copied.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_files
import numpy as np
import torch_files

import lstmcore as lc
from lstmcore.layers import GRU, LSTM, Bidirectional, Dense, Input
from lstmcore.models import Sequential

Job = dict[str, Any]
ABOUT = "assets.extra/lstmcore.json"
PARTS = (ABOUT, "assets.extra/lstmcore.model.json", "variables/variables.index")
PARTS += ("variables/variables.data-00000-of-00001",)
CHECKPOINT, DATA = "checkpoint.safetensors", "w.bin"


def model(seed: int = 1) -> Any:
    """A small model with a layer of each kind that formats store in their own way; no two numbers alike."""
    made = Sequential([Input((None, 3)), Bidirectional(LSTM(2, return_sequences=True)), GRU(3), Dense(2)], name="m")
    random = np.random.default_rng(seed)
    made.set_weights([random.normal(size=array.shape).astype("float32") for array in made.get_weights()])
    return made


@functools.cache
def _made(kind: str) -> Mapping[str, bytes]:
    """What lies in a folder with a sample."""
    with tempfile.TemporaryDirectory() as folder:
        _MAKERS.get(kind, _export)(Path(folder), kind)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {os.path.relpath(path, folder): path.read_bytes() for path in files}


def _export(folder: Path, kind: str) -> None:
    lc.export_model(model(), folder / f"m{kind}")


def _saved_model(folder: Path, kind: str) -> None:
    lc.export_model(model(), folder / "m", format="saved_model")


def _json(folder: Path, kind: str) -> None:
    (folder / "m.json").write_text(model().to_json())
    lc.export_model(model(), folder / "w.weights.h5")


def _listed(folder: Path, kind: str) -> None:
    """An ``.h5`` of Keras 2 whose groups list their arrays; without its description where the spec is beside it."""
    values = list(keras_files.arrays().values())
    lstm = dict(zip(("lstm/k/kernel", "lstm/k/recurrent_kernel", "lstm/k/bias"), values[:3], strict=True))
    layers = {"lstm": lstm, "dense": dict(zip(("dense/kernel", "dense/bias"), values[3:], strict=True))}
    alone = kind == "listed weights"
    keras_files.listed(folder / "m.h5", None if alone else keras_files.SMALL, layers, None if alone else "3.9.2")
    if alone:
        (folder / "spec.json").write_text(json.dumps(keras_files.SMALL))


def _graph(folder: Path, kind: str) -> None:
    """An ONNX file that is only a graph; of the other kind, its numbers are in a file beside it."""
    import onnx

    _export(folder, ".onnx")
    proto = onnx.load(folder / "m.onnx")
    del proto.metadata_props[:]
    beside: dict[str, Any] = {"save_as_external_data": True, "location": DATA, "size_threshold": 0}
    onnx.save(proto, folder / "m.onnx", **(beside if kind == "external" else {}))


def _torch(folder: Path, kind: str) -> None:
    """What PyTorch itself makes: a checkpoint around a state_dict, the same of old, a .safetensors."""
    state = torch_files.state()[2:-1]
    if kind == "archive":
        torch_files.archive(folder / "m.pt", b"\x80\x02" + torch_files.entries(("model", state)) + b".")
    elif kind == "legacy":
        (folder / "m.pt").write_bytes(torch_files.legacy())
    else:
        data = torch_files.safetensors(torch_files.GOOD, torch_files.WEIGHT + torch_files.BIAS)
        (folder / "m.safetensors").write_bytes(data)
    (folder / "spec.json").write_text(json.dumps(torch_files.SPEC))


def _trained(folder: Path, kind: str) -> None:
    resumed(str(folder))


def resumed(folder: str) -> Any:
    """A training that goes on from the checkpoint in a folder, or begins there."""
    made = Sequential([Input((4, 2)), LSTM(3), Dense(1)], name="t")
    made.compile(optimizer="adam", loss="mse")
    random = np.random.default_rng(1)
    x, y = random.normal(size=(8, 4, 2)).astype("float32"), random.normal(size=(8, 1)).astype("float32")
    made.fit(x, y, batch_size=4, epochs=1, verbose=0, checkpoint=folder)
    return made


_MAKERS: dict[str, Callable[[Path, str], None]] = {
    "saved_model": _saved_model,
    "json": _json,
    **dict.fromkeys(("listed", "listed weights"), _listed),
    **dict.fromkeys(("graph", "external"), _graph),
    **dict.fromkeys(("archive", "legacy", "state"), _torch),
    "trained": _trained,
}


def _copied(kind: str, folder: Path, name: str, **more: str) -> Job:
    """The files of a kind in a folder, and the job of reading ``name`` there."""
    for inner, content in _made(kind).items():
        (folder / inner).parent.mkdir(parents=True, exist_ok=True)
        (folder / inner).write_bytes(content)
    job: Job = {"path": str(folder / name), **{key: str(folder / value) for key, value in more.items()}}
    if (folder / "spec.json").exists() and "spec" not in job:
        job["spec"] = str(folder / "spec.json")
    return job


def own(folder: Path) -> Job:
    return _copied(".safetensors", folder, "m.safetensors")


def keras(folder: Path) -> Job:
    return _copied(".keras", folder, "m.keras")


def weights_hdf5(folder: Path) -> Job:
    return {**_copied(".weights.h5", folder, "m.weights.h5"), "spec": described(folder / "spec.json")}


def json_text(folder: Path) -> Job:
    return _copied("json", folder, "m.json", weights="w.weights.h5")


def onnx(folder: Path) -> Job:
    return {**_copied(".onnx", folder, "m.onnx"), "beside": [str(folder)]}


def external(folder: Path) -> Job:
    return {**_copied("external", folder, "m.onnx"), "beside": [str(folder)]}


def pytorch(folder: Path) -> Job:
    return {**_copied(".pt", folder, "m.pt"), "spec": described(folder / "spec.json")}


def npz(folder: Path) -> Job:
    return _copied(".npz", folder, "m.npz")


def header(folder: Path) -> Job:
    return _copied(".h", folder, "m.h")


def saved_model(folder: Path) -> Job:
    return _copied("saved_model", folder, "m")


def checkpoint(folder: Path) -> Job:
    return {**_copied("trained", folder, "."), "use": "resume"}


FORMATS: dict[str, Callable[[Path], Job]] = {
    "own": own,
    "keras": keras,
    "hdf5": lambda folder: _copied(".h5", folder, "m.h5"),
    "weights_hdf5": weights_hdf5,
    "json": json_text,
    "onnx": onnx,
    "pytorch": pytorch,
    "npz": npz,
    "c": header,
    "saved_model": saved_model,
}
"""What lstmcore itself writes."""

OTHERS: dict[str, Callable[[Path], Job]] = {
    "listed": lambda folder: _copied("listed", folder, "m.h5"),
    "listed_weights": lambda folder: _copied("listed weights", folder, "m.h5"),
    "graph": lambda folder: {**_copied("graph", folder, "m.onnx"), "beside": [str(folder)]},
    "external": external,
    "archive": lambda folder: _copied("archive", folder, "m.pt"),
    "legacy": lambda folder: _copied("legacy", folder, "m.pt"),
    "state": lambda folder: _copied("state", folder, "m.safetensors"),
    "loaded": lambda folder: {**own(folder), "use": "load"},
    "taken": lambda folder: {**own(folder), "spec": described(folder / "spec.json"), "use": "take"},
    "checkpoint": checkpoint,
}
"""What other programs write, and the other ways in which ours are read."""

ALL = {**FORMATS, **OTHERS}
_PARTS: Mapping[str, tuple[tuple[str, bool], ...]] = {
    # once for each of its files, their digests right and not
    "saved_model": tuple((part, seal) for part in PARTS for seal in (part != PARTS[0], False)),
    "external": (("../m.onnx", False), (f"../{DATA}", False)),
    "checkpoint": ((CHECKPOINT, False),),
}


def jobs(name: str, folder: Path) -> list[Job]:
    """The file of a format to begin with; of a folder, once for each of its files."""
    folder.mkdir()
    job = {**ALL[name](folder), "format": name}
    return [{**job, "part": part, "seal": seal} for part, seal in _PARTS.get(name, ())] or [job]


def count(name: str) -> int:
    """How many `jobs` there are."""
    return len(_PARTS.get(name, ())) or 1


def suffix(path: str) -> str:
    """All of it: Keras tells weights from models by it."""
    return ".weights.h5" if path.endswith(".weights.h5") else os.path.splitext(path)[1]


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
