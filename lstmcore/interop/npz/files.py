"""Models to ``.npz`` archives and back: an array for each weight, by its path, and the description of the model.

``np.load(path)`` reads the file, no pickle in it. Beside the weights it holds two texts in UTF-8, as arrays of uint8:
``lstmcore.model``, the model's JSON, and ``lstmcore.vectors``, what `interop.vectors` says: inputs, and the outputs
that they must give.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import (
    DamagedFileError,
    ExportError,
    SpecError,
    UnsafeFileError,
    UnsupportedFileError,
    WeightsAloneError,
    WeightsMismatchError,
)
from lstmcore.interop import vectors
from lstmcore.interop.listing import Listed, Listing
from lstmcore.interop.npz.npy import MOST, Header, make_header, read_header
from lstmcore.interop.specs import specified, unfilled
from lstmcore.models.files import expected, unbuilt_description
from lstmcore.storage.archive import MAX_DIRECTORY, MAX_MEMBERS, Archive
from lstmcore.storage.atomic import PathLike, replacing
from lstmcore.storage.container import NAMES, is_name, show
from lstmcore.storage.description import MAX_BYTES, read_description
from lstmcore.storage.opening import open_regular

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Array = NDArray[Any]
MODEL, VECTORS = "lstmcore.model", "lstmcore.vectors"
_MOST_VECTORS = 1 << 24
_MOST_PACKED, _ROOM = 1100, 1 << 20  # deflate makes at most 1,032 bytes of one
_CHUNK = 1 << 20
_SUFFIX = ".npy"


def write(model: BaseModel, path: PathLike) -> None:
    """Writes the weights, each under its path, with the model's description and test vectors, atomically.

    The same model gives the same bytes. Nothing is compressed.

    Raises:
        ExportError: a weight's path is no name in an archive, or there are too many.
        OSError: it cannot be written; what was there is unchanged.
    """
    arrays: dict[str, Array] = dict(model.weights)
    texts = {MODEL: unbuilt_description(model), VECTORS: vectors.of_model(model)}
    bad = [name for name in arrays if not is_name(name) or name in texts or name[1:2] == ":"]
    if bad:
        raise ExportError(f"a weight is called {show(bad[0])}; expected {NAMES}, and not {MODEL}")
    if len(arrays) + len(texts) > MAX_MEMBERS or sum(len(n.encode()) + 100 for n in arrays) > MAX_DIRECTORY:
        raise ExportError(f"the model has {len(arrays)} weights; an archive that is read has at most {MAX_MEMBERS}")
    arrays = {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()} | arrays
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(name + _SUFFIX, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.file_size = array.nbytes + MOST
            with archive.open(info, "w", force_zip64=array.nbytes >= 1 << 30) as member:
                _store(member, array)


def _store(file: Any, array: Array) -> None:
    stored = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    file.write(make_header(stored.dtype, stored.shape))
    view = stored.reshape(-1).view(np.uint8).data
    for start in range(0, len(view), _CHUNK):
        file.write(view[start : start + _CHUNK])


def read(path: PathLike, weights: PathLike | None, spec: Any, map: Mapping[str, str | None] | None = None) -> BaseModel:
    """The model in an archive that `write` made, or ``spec`` with the arrays of any archive.

    Args:
        spec: the model, its JSON or the path of that; None takes the description in the file.
        map: what an array of the file is in the model, ``{"W_lstm": "lstm/kernel"}``, where the names differ; None
            leaves the array out.

    Raises FileError as `lstmcore.import_model`; names and shapes are compared with the model's before numbers are read.
    """
    name = os.path.basename(os.fspath(path))
    if weights is not None:
        raise UnsupportedFileError(f"{name} holds weights itself; weights= goes with the JSON of a model.")
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        archive = Archive(file, name)
        entries = _entries(archive, name)
        texts = {key: entries.pop(key, None) for key in (MODEL, VECTORS)}
        if spec is None:
            model = _described(archive, texts[MODEL], name)
        else:
            model = specified(spec)
        chosen = _chosen(entries, map or {}, model, name)
        total = sum(header.nbytes for _, header in chosen.values())
        if total > _MOST_PACKED * size + _ROOM:
            raise UnsafeFileError(f"{name} has {size} bytes, and its weights would take {total}.")
        arrays = {key: _load(archive, *pair, name) for key, pair in chosen.items()}
        wanted = {key: np.dtype(dtype) for key, (_, dtype) in expected(model).items()}
        cast = {key: _cast(array, wanted[key], f"{name}: {show(chosen[key][0])}") for key, array in arrays.items()}
        proof = _text(archive, VECTORS, texts[VECTORS], _MOST_VECTORS, name) if spec is None else None
    model.replace_weights(cast)
    if proof is not None:
        vectors.hold_model(proof.decode("utf-8", "replace"), model, name)
    return model


def _entries(archive: Archive, name: str) -> dict[str, Header]:
    """The header of each array, by its name without the suffix."""
    others = [member for member in archive.members if not member.endswith(_SUFFIX)]
    if others:
        raise UnsupportedFileError(f"{name} holds {show(others[0])}; expected arrays alone, as np.savez writes them.")
    found = {}
    for member, entry in archive.members.items():
        header = read_header(archive.head(member, MOST), f"{name}: {show(member)}")
        if entry.size != header.start + header.nbytes:
            raise DamagedFileError(
                f"{name}: {show(member)} has {entry.size} bytes; its header says {header.start + header.nbytes}."
            )
        found[member.removesuffix(_SUFFIX)] = header
    return found


def _described(archive: Archive, header: Header | None, name: str) -> BaseModel:
    raw = _text(archive, MODEL, header, MAX_BYTES, name)
    if raw is None:
        raise WeightsAloneError(
            f"{name} holds arrays without the model that they are for: give it, spec=model or spec='model.json'."
        )
    return unfilled(read_description(raw, f"{name}, {MODEL}"))


def _text(archive: Archive, key: str, header: Header | None, most: int, name: str) -> bytes | None:
    """A text that is held as an array; None where it is not there."""
    if header is None:
        return None
    if header.dtype != np.uint8 or len(header.shape) != 1:
        raise DamagedFileError(f"{name}: {key} is {header.dtype} of shape {header.shape}; expected a text as uint8.")
    raw: bytes = archive.read(key + _SUFFIX, most + MOST)
    return raw[header.start :]


def _chosen(
    entries: Mapping[str, Header], renamed: Mapping[str, str | None], model: BaseModel, name: str
) -> dict[str, tuple[str, Header]]:
    """The array of the file for each weight; WeightsMismatchError, with all that differs, unless all of them fit."""
    unknown = [key for key in renamed if key not in entries]
    if unknown:
        raise SpecError(f"map names {show(unknown[0])}, which {name} does not hold; it has {', '.join(entries)}")
    wanted = {key: shape for key, (shape, _) in expected(model).items()}
    found: dict[str, tuple[str, Header]] = {}
    faults = []
    for key, header in entries.items():
        path = renamed.get(key, key)
        if path is None:
            continue
        if path in found:
            faults.append(f"{path} is given twice, by {found[path][0]} and {key}")
        elif path not in wanted:
            faults.append(f"{path} is not of this model")
        elif header.shape != wanted[path]:
            faults.append(f"{path} has shape {header.shape}; expected {wanted[path]}")
        elif header.dtype.kind != "f":
            faults.append(f"{path} is of {header.dtype.name}; expected a float")
        found[path] = (key, header)
    faults += [f"{path} is missing" for path in wanted if path not in found]
    if faults:
        lines = "".join(f"\n  {fault}" for fault in faults[:40])
        more = f"\n  and {len(faults) - 40} more" if len(faults) > 40 else ""
        raise WeightsMismatchError(
            f"{name} holds the weights of another model:{lines}{more}\n"
            "Where only names differ, say which is which: map={'name in the file': 'name in the model'}."
        )
    return {path: found[path] for path in wanted}


def _load(archive: Archive, key: str, header: Header, name: str) -> Array:
    """An array's numbers, into memory that is no larger than its shape."""
    member = key + _SUFFIX
    packed = bool(archive.members[member].method)
    window, crc = (archive.open(member, header.start + header.nbytes), None) if packed else archive.stored(member)
    found = zlib.crc32(window.read(header.start) or b"")
    order = "F" if header.fortran else "C"
    array: Array = np.empty(header.shape, header.dtype, order=order)  # type: ignore[call-overload]  # of a name
    view = array.reshape(-1, order="A").view(np.uint8).data
    while view:
        count = window.readinto(view[:_CHUNK])
        if not count:
            raise DamagedFileError(f"{name}: {show(key)} was cut short.")
        found, view = zlib.crc32(view[:count], found), view[count:]
    if crc is not None and found != crc:
        raise DamagedFileError(f"{name}: {show(key)} is not what was written.")
    return array


def _cast(array: Array, dtype: np.dtype[Any], owner: str) -> Array:
    """The array in the model's dtype and C order; DamagedFileError where its numbers do not fit into that."""
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, dtype).reshape(array.shape)
    if array.dtype.itemsize > cast.dtype.itemsize and not np.array_equal(cast, array, equal_nan=True):
        raise WeightsMismatchError(f"{owner} is of {array.dtype.name}, and its numbers do not fit into {dtype.name}.")
    return cast


def lists(path: PathLike) -> Listing:
    """The arrays of an archive, from their headers."""
    name = os.path.basename(os.fspath(path))
    with open_regular(path) as file:
        entries = _entries(Archive(file, name), name)
    own = MODEL in entries
    rows = [Listed(key, h.shape, h.dtype.name) for key, h in entries.items() if key not in (MODEL, VECTORS)]
    return Listing(tuple(rows), {"written by": "lstmcore"} if own else {})


__all__ = ["lists", "read", "write"]
