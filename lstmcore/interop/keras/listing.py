"""What is in Keras' files, told from their headers: who wrote them, which layers, which arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from lstmcore.errors import DamagedFileError, UnsafeFileError
from lstmcore.interop.keras.generations import generation
from lstmcore.interop.listing import Listed, Listing
from lstmcore.storage.archive import Archive
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import show
from lstmcore.storage.description import MAX_BYTES, read_description
from lstmcore.storage.hdf5 import Hdf5File
from lstmcore.storage.magic import kind_of
from lstmcore.storage.opening import Window, open_regular, read_all

_DEEPEST = 32
_MOST_UNPACKED = 64 << 20


def list_hdf5(path: PathLike) -> Listing:
    """An ``.h5``: a whole model, or weights alone."""
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as opened:
        size = os.fstat(opened.fileno()).st_size
        if kind_of(opened.read(16) or b"") != "hdf5":
            raise DamagedFileError(f"{name} is no HDF5 file, or a damaged one.")
        file = Hdf5File(Window(opened, 0, size), name)
        try:
            raw = file.text("", "model_config", MAX_BYTES)
            description = None if raw is None else read_description(raw, f"{name}, model_config")
            texts = {key: _found(file, key) for key in ("keras_version", "backend")}
            return Listing(_arrays(file), _about("HDF5", description, texts["keras_version"], texts["backend"], name))
        finally:
            file.close()


def list_archive(path: PathLike) -> Listing:
    """A ``.keras``."""
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as opened:
        archive = Archive(opened, name)
        metadata = read_description(archive.read("metadata.json", MAX_BYTES), f"{name}, metadata.json")
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        description = read_description(archive.read("config.json", MAX_BYTES), f"{name}, config.json")
        about = _about(".keras archive", description, version if isinstance(version, str) else None, None, name)
        weights = archive.peek("model.weights.h5") or archive.open("model.weights.h5", _MOST_UNPACKED)
        file = Hdf5File(weights, name)
        try:
            return Listing(_arrays(file), about)
        finally:
            file.close()


def list_json(path: PathLike) -> Listing:
    """A description of a model, without weights."""
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as opened:
        raw = read_all(opened, MAX_BYTES)
    if raw is None:
        raise UnsafeFileError(f"{name} has more than {MAX_BYTES} bytes of JSON, which is more than is read.")
    description = read_description(raw, name)
    version = description.get("keras_version") if isinstance(description, Mapping) else None
    return Listing((), _about("JSON", description, version if isinstance(version, str) else None, None, name))


def _found(file: Hdf5File, key: str) -> str | None:
    texts = (file.text(root, key, 64) for root in ("", "model_weights") if root in file.groups)
    return next((text.decode("utf-8", "replace") for text in texts if text is not None), None)


def _arrays(file: Hdf5File) -> tuple[Listed, ...]:
    return tuple(Listed(path, found.shape, found.dtype or found.stored) for path, found in file.datasets.items())


def _about(container: str, description: Any, version: str | None, backend: str | None, name: str) -> dict[str, Any]:
    about: dict[str, Any] = {"container": container}
    if description is None:
        about["holds"] = "weights alone"
    else:
        about["generation"] = generation(version, description, name).name
    about |= {key: value for key, value in (("keras_version", version), ("backend", backend)) if value}
    if description is not None:
        config = description.get("config") if isinstance(description, Mapping) else None
        if not isinstance(config, (Mapping, list)):
            raise UnsafeFileError(f"{name} describes no model: its config is {show(config)}.")
        about["model"] = _text(config.get("name")) if isinstance(config, Mapping) else None
        about["layers"] = [{"name": at, "class": kind} for at, kind in _layers(config, "", 0)]
    return about


def _layers(config: Any, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    entries = config.get("layers") if isinstance(config, Mapping) else config
    for entry in entries if isinstance(entries, list) and depth < _DEEPEST else ():
        if not isinstance(entry, Mapping):
            continue
        inner = entry.get("config")
        name = entry.get("name") or (inner.get("name") if isinstance(inner, Mapping) else None)
        yield f"{prefix}{_text(name)}", _kind(entry)
        if isinstance(inner, list) or (isinstance(inner, Mapping) and "layers" in inner):
            yield from _layers(inner, f"{prefix}{_text(name)}/", depth + 1)


def _kind(entry: Mapping[str, Any]) -> str:
    """The class, and of a wrapper what it wraps: ``Bidirectional(LSTM)``."""
    inner = entry.get("config")
    wrapped = inner.get("layer") if isinstance(inner, Mapping) else None
    own = _text(entry.get("class_name"))
    return f"{own}({_text(wrapped.get('class_name'))})" if isinstance(wrapped, Mapping) else own


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "?"
