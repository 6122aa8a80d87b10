"""Keras' files to models: ``.keras``, ``.h5``, ``.weights.h5`` and JSON, of every generation."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lstmcore.errors import DamagedFileError, FileError, UnsafeFileError, UnsupportedFileError, WeightsAloneError
from lstmcore.interop import vectors
from lstmcore.interop.keras.architecture import Translator
from lstmcore.interop.keras.arrays import Match
from lstmcore.interop.keras.forms import whole
from lstmcore.interop.keras.generations import Generation, generation
from lstmcore.interop.keras.listed import listed
from lstmcore.interop.keras.masks import check_masks
from lstmcore.interop.keras.nested import nested
from lstmcore.interop.keras.time_major import Axes, batch_axes, turned, with_time_first
from lstmcore.interop.keras.write import VECTORS
from lstmcore.interop.specs import described, json_in
from lstmcore.layers.base import placeholder_weights
from lstmcore.models.base import BaseModel
from lstmcore.models.files import deserialize
from lstmcore.storage.archive import Archive
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import show
from lstmcore.storage.description import MAX_BYTES, read_description
from lstmcore.storage.hdf5 import Hdf5File
from lstmcore.storage.magic import HEAD, kind_of
from lstmcore.storage.opening import Window, open_regular

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MOST_PACKED = 1100  # gzip makes at most 1,032 bytes of one
_ROOM = 16 << 20
_TRAINING = 6  # a .keras holds the optimizer's slots too: Adam's are twice the weights
Orders = Mapping[frozenset[str], list[str]]


@dataclass(frozen=True)
class Built:
    """A model, the layers of the models in it in the file's order, and which Keras wrote it; None: it was given.

    ``axes`` says where the batch is in arrays of a model that has time first, ``renamed`` where weights go whose layer
    is several here.
    """

    model: BaseModel
    orders: Orders
    generation: Generation | None
    axes: Axes = field(default_factory=dict)
    renamed: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def turned(self) -> bool:
        """Whether some of its arrays have another axis first than the batch."""
        return any(self.axes.values())


def read_json(path: PathLike, weights: PathLike | None, spec: Any) -> BaseModel:
    """A model from the description in a JSON file, with weights from another."""
    name = os.path.basename(os.fspath(path))
    if weights is None:
        raise UnsupportedFileError(
            f"{name} describes a model without its weights: give weights= (--weights), or build it with Keras 3's JSON "
            "by lstmcore.models.model_from_json."
        )
    if spec is not None:
        raise UnsupportedFileError(f"{name} describes a model itself; leave spec out.")
    return _weights_file(weights, whole(json_in(path), name)).model


def read_hdf5(path: PathLike, weights: PathLike | None, spec: Any) -> BaseModel:
    """A model from an HDF5 file: a whole one, or weights alone for the model that ``spec`` is."""
    _no_weights(path, weights)
    return _weights_file(path, spec).model


def read_archive(path: PathLike, weights: PathLike | None, spec: Any) -> BaseModel:
    """A model from a ``.keras`` archive."""
    _no_weights(path, weights)
    if spec is not None:
        name = os.path.basename(os.fspath(path))
        raise UnsupportedFileError(f"{name} describes its model itself; leave spec out.")
    return _archive(path).model


def _archive(path: PathLike) -> Built:
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as file:
        archive = Archive(file, name)
        metadata = read_description(archive.read(_METADATA, MAX_BYTES), f"{name}, {_METADATA}")
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        description = read_description(archive.read(_CONFIG, MAX_BYTES), f"{name}, {_CONFIG}")
        made = built(description, _text(version), name)
        size = sum(array.nbytes for array in made.model.weights.values())
        hdf5 = Hdf5File(archive.open(_WEIGHTS, _TRAINING * size + _ROOM), name)
        found = _filled(made, hdf5, os.fstat(file.fileno()).st_size)
        if isinstance(metadata, dict) and VECTORS in metadata:
            vectors.hold_model(str(metadata[VECTORS]), found.model, name)
        return found


def read_whole(path: PathLike) -> Built:
    """What is in a file that holds all of a model, and which generation of Keras wrote it."""
    with open_regular(path) as file:
        head = file.read(HEAD) or b""
    return _weights_file(path, None) if kind_of(head) == "hdf5" else _archive(path)


def _weights_file(path: PathLike, spec: Any) -> Built:
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if kind_of(file.read(16) or b"") != "hdf5":
            raise DamagedFileError(f"{name} is no HDF5 file, or a damaged one.")
        hdf5 = Hdf5File(Window(file, 0, size), name)
        if spec is None:
            description, version = _described(hdf5)
            made = built(description, version, name, hdf5)
        else:
            made = _specified(spec, hdf5)
        proof = hdf5.texts("", VECTORS) if spec is None else None
        found = _filled(made, hdf5, size)
        if proof is not None:
            vectors.hold_model("".join(proof), found.model, name)
        return found


def _no_weights(path: PathLike, weights: PathLike | None) -> None:
    if weights is not None:
        name = os.path.basename(os.fspath(path))
        raise UnsupportedFileError(f"{name} holds weights itself; weights= goes with the JSON of a model.")


def _described(file: Hdf5File) -> tuple[Any, str | None]:
    """The description in a whole model's file, and the version that wrote it."""
    raw = file.text("", "model_config", MAX_BYTES)
    if raw is None:
        raise WeightsAloneError(
            f"{file.name} holds weights alone: give the model they are for, spec=model or spec='model.json'."
        )
    description = read_description(raw, f"{file.name}, model_config")
    version = next(
        (found for root in ("", "model_weights") if root in file.groups and (found := _version(file, root))), None
    )
    return description, version


def _version(file: Hdf5File, root: str) -> str | None:
    raw = file.text(root, "keras_version", 64)
    return None if raw is None else raw.decode("utf-8", "replace")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _specified(spec: Any, file: Hdf5File) -> Built:
    """The model that ``spec`` is, or describes."""
    if isinstance(spec, BaseModel):
        spec.program  # noqa: B018  builds the weights, or says that there is no input shape yet
        return Built(spec, {}, None)
    description = described(spec)
    version = _text(description.get("keras_version")) if isinstance(description, Mapping) else None
    return built(description, version, file.name, file)


def built(description: Any, version: str | None, name: str, file: Hdf5File | None = None) -> Built:
    """The model described, its weights still without memory."""
    description = whole(description, name)
    row = generation(version or _inner_version(description), description, name)
    translator = Translator(
        name,
        row,
        lambda layer: None if file is None else _two_biases(file, layer),
        lambda layer: None if file is None else _features(file, layer),
    )
    axes: Axes = {}
    with placeholder_weights():
        translated = translator.model(description)
        model = deserialize(translated)
        model.program  # noqa: B018  builds the weights
        if translator.time_major or translator.turns:
            inputs, axes = batch_axes(model, translator.time_major, translator.turns, name)
            model = deserialize(turned(translated, inputs))
            model.program  # noqa: B018
    check_masks(model, row, name)
    for told in translator.warnings:
        warnings.warn(f"{name}: {told}", UserWarning, stacklevel=5)
    return Built(model, translator.orders, row, axes, translator.renamed)


def _inner_version(description: Any) -> str | None:
    return _text(description.get("keras_version")) if isinstance(description, Mapping) else None


def _two_biases(file: Hdf5File, layer: str) -> bool | None:
    """Whether the GRU of that name has a bias of two rows in the file; None where it has none there."""
    for path, dataset in file.datasets.items():
        parts = path.split("/")
        if layer in parts and parts[-1].split(":")[0] == "bias":
            return len(dataset.shape) == 2
    return None


def _features(file: Hdf5File, layer: str) -> int | None:
    """How many features the W of that layer has, of Keras 1 or Keras 2.0; None where it has none there."""
    for path, dataset in file.datasets.items():
        if path.split(":")[0].endswith((f"/{layer}_W", f"/{layer}/W")):
            return dataset.shape[0] if dataset.shape else None
    return None


def _convolves(model: BaseModel) -> bool:
    """Whether a Conv1D in it looks at more than one step."""
    return any(type(part).__name__ == "Conv1D" and part.kernel_size != (1,) for part in model.modules())  # type: ignore[attr-defined]


def _filled(made: Built, file: Hdf5File, size: int) -> Built:
    """The model with the weights of the file, once all of them fit it."""
    try:
        match = Match(file, made.model)
        root = "model_weights" if "model_weights" in file.groups else ""
        if file.texts(root, "layer_names") is not None:
            listed(match, root, made.renamed)
        else:
            nested(match, made.orders)
        match.check()
        if match.size() > _MOST_PACKED * size + _ROOM:
            raise UnsafeFileError(f"{file.name} has {size} bytes, and its weights would take {match.size()}.")
        backend = file.text(root, "backend", 64)
        if backend is None and made.generation is not None and made.generation.major == 1 and _convolves(made.model):
            warnings.warn(
                f"{file.name}: Keras 1 does not say whether it ran on TensorFlow or on Theano, whose kernels of Conv1D "
                "run against time; it is read as of TensorFlow. Where it was Theano, give the group that lists the "
                f"layers, {show(root or '/')}, the attribute backend='theano'.",
                UserWarning,
                stacklevel=5,
            )
        match.read(flip=backend == b"theano")
    except FileError:
        raise
    finally:
        file.close()
    return replace(made, model=with_time_first(made.model, made.axes)) if made.turned else made
