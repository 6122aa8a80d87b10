"""Models as files of Keras: ``.keras``, ``.weights.h5`` and ``.h5``, without Keras."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

import lstmcore
from lstmcore.interop import vectors
from lstmcore.interop.keras.describe import described
from lstmcore.interop.keras.keras_2 import VERSION as VERSION_2
from lstmcore.interop.keras.keras_2 import described_2
from lstmcore.interop.keras.listed import lists
from lstmcore.interop.keras.nested import places
from lstmcore.interop.keras.training import compile_config, optimizer_variables
from lstmcore.interop.layered import layered
from lstmcore.layers.options import FLAG, checked, choice
from lstmcore.models.base import BaseModel
from lstmcore.models.training import TrainableModel
from lstmcore.storage.atomic import PathLike, replacing
from lstmcore.storage.hdf5_writing import Group, write_hdf5

VERSION = "3.15.1"
"""The Keras whose words the files have."""

VECTORS = "lstmcore.vectors"
"""Where test vectors are: among the metadata of a ``.keras``, and beside the root of an ``.h5``, in pieces."""

_PIECE = 1 << 13  # characters of a text beside a group of HDF5
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same model gives the same bytes


def write_archive(model: BaseModel, path: PathLike, *, compiled: bool = True, batch_first: bool = False) -> None:
    """Writes a ``.keras`` file that Keras 3 loads with ``keras.models.load_model``, atomically.

    A compiled model arrives compiled, with its optimizer as far as it has come; ``compiled=False`` leaves that out.
    States that stateful layers keep do not go along; a warning says so. ``batch_first``: of a graph whose data have the
    batch elsewhere, as ONNX files with time first, Keras' model takes and gives them with the batch first.

    Raises:
        ExportError: Keras cannot hold this model, and what would be lost.
        OSError: the file cannot be written; what was there is unchanged.
        ImportError: h5py is not installed.
    """
    model = _in_layers(model, compiled, batch_first)
    data = described(model)
    config = _compile_config(model, compiled)
    _tell_lost(_states(model), path)
    if config is not None:
        data["compile_config"] = config
    metadata = {
        "keras_version": VERSION,
        "written_by": f"lstmcore {lstmcore.__version__}",
        VECTORS: vectors.of_model(model),
    }
    folder = os.path.dirname(os.path.realpath(path))
    with tempfile.TemporaryFile(dir=folder) as arrays:
        write_hdf5(arrays, _nested(model, config is not None))
        with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_member("metadata.json"), json.dumps(metadata))
            archive.writestr(_member("config.json"), json.dumps(data))
            _copy(arrays, archive, "model.weights.h5")


def write_hdf5_file(
    model: BaseModel, path: PathLike, *, compiled: bool = True, keras: int = 3, batch_first: bool = False
) -> None:
    """Writes a whole model, the older ``.h5``; weights alone where the path ends in ``.weights.h5``.

    Keras 3 loads it with ``keras.models.load_model``; one written with ``keras=2``, in the words of Keras 2, is for
    tf.keras and tf_keras. What the optimizer remembers does not go along in such a file. ``batch_first`` as for
    `write_archive`.

    Raises:
        ExportError: that Keras cannot hold this model, and what would be lost.
        OSError: the file cannot be written; what was there is unchanged.
        MissingLibraryError: h5py is not installed.
    """
    generation = checked("export_model", "keras", choice(2, 3), keras)
    if os.fspath(path).lower().endswith(".weights.h5"):
        return write_weights(model, path)
    model = _in_layers(model, compiled, batch_first)
    data, version = (described(model), VERSION) if generation == 3 else (described_2(model), VERSION_2)
    texts: dict[str, str | list[str]] = {"model_config": json.dumps(data), "keras_version": version}
    texts[VECTORS] = _in_pieces(vectors.of_model(model))
    config = _compile_config(model, compiled and generation == 3, names=False)
    trains = compiled and isinstance(model, TrainableModel) and model.compiled_with is not None
    lost = [] if not trains else ["how it trains"] if generation == 2 else _slots(model)
    _tell_lost([*lost, *_states(model)], path)
    if config is not None:
        texts["training_config"] = json.dumps(_legacy_training(config))
    with replacing(path) as file:
        write_hdf5(file, _listed(model, texts))
    return None


def _in_layers(model: BaseModel, compiled: bool, batch_first: bool) -> BaseModel:
    return layered(model, compiled, checked("export_model", "batch_first", FLAG, batch_first))


def _states(model: BaseModel) -> list[str]:
    return ["the states that its stateful layers keep"] if any(map(np.any, model.states.values())) else []


def _slots(model: Any) -> list[str]:
    return ["what its optimizer remembers"] if model.progress()[1] else []


def _tell_lost(lost: list[str], path: PathLike) -> None:
    if lost:
        name = os.path.basename(os.fspath(path))
        warnings.warn(f"{name} has no place for {' and for '.join(lost)}.", UserWarning, stacklevel=4)


def _in_pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


def _legacy_training(config: Mapping[str, Any]) -> dict[str, Any]:
    rule = config["optimizer"]
    optimizer = {"class_name": rule["class_name"], "config": rule["config"]}
    return {**{key: value for key, value in config.items() if key != "optimizer"}, "optimizer_config": optimizer}


def _listed(model: BaseModel, texts: Mapping[str, str | list[str]]) -> Iterator[Group]:
    """The groups of a file with the weights by layer, in lists."""
    model.program  # noqa: B018  builds the weights, or says that there is no input shape yet
    layers = dict(lists(model))
    yield Group("", {}, texts)
    yield Group("model_weights", {}, {"layer_names": list(layers), "keras_version": texts["keras_version"]})
    for name, arrays in layers.items():
        yield Group(f"model_weights/{name}", arrays, {"weight_names": list(arrays)})
    yield Group("model_weights/top_level_model_weights", {}, {"weight_names": []})


def write_weights(model: BaseModel, path: PathLike) -> None:
    """Writes the weights alone, for ``model.load_weights`` of Keras 3."""
    model = layered(model)
    with replacing(path) as file:
        write_hdf5(file, _nested(model, False))


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    return info


def _copy(source: IO[bytes], archive: zipfile.ZipFile, name: str) -> None:
    info = _member(name)
    info.file_size = source.seek(0, os.SEEK_END)
    source.seek(0)
    with archive.open(info, "w") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _compile_config(model: BaseModel, compiled: bool, names: bool = True) -> dict[str, Any] | None:
    wanted = checked("export_model", "compiled", FLAG, compiled)
    return compile_config(model, names) if wanted and isinstance(model, TrainableModel) else None


def _nested(model: BaseModel, compiled: bool) -> Iterator[Group]:
    """The groups of a file with the weights as Keras 3 keeps them."""
    model.program  # noqa: B018  builds the weights, or says that there is no input shape yet
    for place, module, names in places(model):
        arrays = {str(k): module.own_weights[name] for k, name in enumerate(names)}
        yield Group(place, arrays, {"name": module.name or ""})
    if compiled and isinstance(model, TrainableModel):
        arrays = {str(k): array for k, array in enumerate(optimizer_variables(model).values())}
        yield Group("optimizer/vars", arrays, {"name": model.optimizer.name or ""})
