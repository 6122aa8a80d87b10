"""The weight file: named arrays and the description of their model, in one ``.safetensors`` file.

docs/weight-file.md is normative. A file is read only if all of it holds: the header is checked, then
names, shapes and dtypes are compared with what the model expects, and only then are bytes read, each
straight into its array, and their digests compared.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from types import MappingProxyType, TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, WeightsError, WeightsMismatchError
from lstmcore.storage.atomic import PathLike, replacing
from lstmcore.storage.container import FILE_DTYPES, MAX_TENSORS, METADATA, NAMES, is_name, show
from lstmcore.storage.opening import open_regular
from lstmcore.weights import header
from lstmcore.weights.header import Header, make_header, make_metadata, metadata_digest

Array = NDArray[Any]
Expected = Mapping[str, tuple[tuple[int, ...], str]]
"""Name -> shape and dtype, such as ``{"lstm/kernel": ((5, 40), "float32")}``."""

_CHUNK = 4 << 20
_READERS = min(4, os.cpu_count() or 1)
_HINTS = 20


def write(
    path: PathLike,
    tensors: Mapping[str, Array],
    model: str,
    extra: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Saves arrays by name, with the description of their model; see ``atomic.replacing`` for how.

    The same content gives the same bytes. Memory: none for arrays in C order, else one array at a time.

    Args:
        path: where to; what is there is replaced.
        tensors: of float32 or float64, in any memory order; names such as ``"lstm/kernel"``.
        model: text; a reader gets it back as it is.
        extra: more metadata, under names of your own.

    Raises:
        WeightsError: a name, a dtype or the metadata cannot be stored.
        FileError: ``path`` is a directory or a device.
        OSError: it cannot be written; what was there is unchanged.
    """
    # Written by hand, because safetensors 0.8 orders metadata at random (20 saves, 20 different files),
    # gives files mode 0600, replaces a symlink by a file, and does not fsync.
    metadata = make_metadata(model, extra)
    arrays = _in_order(tensors)
    blank = f"sha256:{'0' * 64}"
    header = make_header(arrays, metadata, dict.fromkeys([METADATA, *arrays], blank))
    with replacing(path) as file:
        file.write(header)
        digests = {METADATA: metadata_digest(metadata)}
        digests |= {name: _store(file, array) for name, array in arrays.items()}
        file.seek(0)
        file.write(make_header(arrays, metadata, digests))


def read_header(path: PathLike) -> Header:
    """The header of a weight file, checked; no tensor is read. Raises as ``WeightFile.open``."""
    with WeightFile.open(path) as file:
        return file.header


def read(path: PathLike, expected: Expected | None = None) -> dict[str, Array]:
    """The arrays of a weight file. Raises as ``WeightFile.open`` and ``WeightFile.read``."""
    with WeightFile.open(path) as file:
        return file.read(expected)


class WeightFile:
    """A weight file, open, whose header holds.

    What the header describes can be built before anything else is read, and from the same descriptor::

        with WeightFile.open("m.safetensors") as file:
            model = build(file.model)
            arrays = file.read({"lstm/kernel": ((5, 40), "float32")})
    """

    def __init__(self, file: io.FileIO, header: Header) -> None:
        self.header = header
        self._file = file
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: PathLike) -> WeightFile:
        """Opens a file and checks its header.

        Raises:
            OSError: there is no such file, or no permission.
            ForeignFileError: it is of another format.
            FileVersionError: it was written by a later lstmcore.
            DamagedFileError: it was cut short or altered.
            FileError: it is no file: a directory, a pipe.
        """
        name = os.path.basename(os.fspath(path))
        file = open_regular(path)
        try:
            return cls(file, header.read_header(file, name))
        except BaseException:
            file.close()
            raise

    @property
    def model(self) -> str:
        """The description of the model."""
        return self.header.model

    def read(self, expected: Expected | None = None) -> dict[str, Array]:
        """Every array, in the order of ``expected``, once all of them hold.

        Memory: the arrays, and nothing beside them. Without ``expected`` the sizes are the file's word.

        Raises:
            WeightsMismatchError: names, shapes or dtypes are not those expected; nothing was read.
            DamagedFileError: the bytes are not those that were written.
        """
        if expected is not None:
            _match(self.header, expected)
        names = list(self.header.tensors if expected is None else expected)
        # SHA-256 takes 5/6 of the time on one core and releases the GIL: 512 MB in 0.32 s, on two 0.19 s
        with ThreadPoolExecutor(_READERS) as pool:
            return dict(zip(names, pool.map(self._load, names), strict=True))

    def _load(self, name: str) -> Array:
        entry = self.header.tensors[name]
        array = np.empty(entry.shape, _stored(entry.dtype))
        digest, position = _begin(array), entry.start
        for chunk in _chunks(array):
            with self._lock:
                self._file.seek(position)
                filled = _fill(self._file, chunk)
            if not filled:
                raise DamagedFileError(f"{self.header.name} was cut short within tensor {name!r}.")
            digest.update(chunk)
            position += len(chunk)
        if f"sha256:{digest.hexdigest()}" != self.header.digests[name]:
            raise DamagedFileError(
                f"{self.header.name}: the bytes of tensor {name!r} are not those that were written; "
                f"use another copy of the file, or save it again."
            )
        return array.astype(entry.dtype, copy=False)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _in_order(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors in the order of the file: float64 before float32, so that all are aligned; by name."""
    for name, array in tensors.items():
        if not is_name(name) or name == METADATA:
            raise WeightsError(f"a tensor is called {show(name)}; expected {NAMES}.")
        if array.dtype.name not in FILE_DTYPES:
            raise WeightsError(f"{name!r} is of {array.dtype.name}; expected {' or '.join(FILE_DTYPES)}.")
    if len(tensors) > MAX_TENSORS:
        raise WeightsError(f"{len(tensors)} tensors; a weight file holds at most {MAX_TENSORS}.")
    return {name: tensors[name] for name in sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n))}


def _store(file: BinaryIO, array: Array) -> str:
    """Appends a tensor's bytes; returns its digest."""
    stored = np.asarray(array, _stored(array.dtype.name), order="C")
    digest = _begin(stored)
    for chunk in _chunks(stored):
        digest.update(chunk)
        file.write(chunk)
    return f"sha256:{digest.hexdigest()}"


def _stored(dtype: str) -> np.dtype[Any]:
    stored: np.dtype[Any] = np.dtype(dtype).newbyteorder("<")
    return stored


def _begin(array: Array) -> hashlib._Hash:
    """A tensor's digest before its bytes: ``F32[5,40]`` and a line feed."""
    shape = ",".join(map(str, array.shape))
    return hashlib.sha256(f"{FILE_DTYPES[array.dtype.name]}[{shape}]\n".encode())


def _chunks(array: Array) -> Iterator[memoryview]:
    """The memory of an array in C order, piece by piece."""
    view = array.reshape(-1).view(np.uint8).data
    return (view[start : start + _CHUNK] for start in range(0, len(view), _CHUNK))


def _fill(file: io.FileIO, chunk: memoryview) -> bool:
    """Reads into all of ``chunk``; whether there was enough."""
    while chunk:
        count = file.readinto(chunk)
        if not count:
            return False
        chunk = chunk[count:]
    return True


def _match(header: Header, expected: Expected) -> None:
    """WeightsMismatchError, with all that differs, unless the file holds what is expected."""
    found = {name: (entry.shape, entry.dtype) for name, entry in header.tensors.items()}
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    faults = [f"{name} is missing{_hint(name, extra)}" for name in missing[:_HINTS]]
    faults += [f"{name} is missing" for name in missing[_HINTS:]]
    faults += [f"{name} is not of this model" for name in extra]
    for name in expected:
        if name in found:
            (shape, dtype), (given_shape, given_dtype) = expected[name], found[name]
            if given_shape != tuple(shape):
                faults.append(f"{name} has shape {given_shape}; expected {tuple(shape)}")
            if given_dtype != dtype:
                faults.append(f"{name} is of {given_dtype}; expected {dtype}")
    if faults:
        lines = "".join(f"\n  {fault}" for fault in faults)
        raise WeightsMismatchError(
            f"{header.name} holds the weights of another model:{lines}\n"
            f"lc.load_model builds the model that the file was saved from."
        )


def _hint(name: str, extra: list[str]) -> str:
    close = get_close_matches(name, extra[:100], n=1)
    return f"; the file has {close[0]}" if close else ""
