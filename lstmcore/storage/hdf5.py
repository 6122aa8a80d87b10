"""HDF5 files, read through h5py as plain arrays and texts: nothing in one may lead out of it or grow beyond its size.

The library itself follows links into other files, reads datasets from them, and unpacks a chunk however large it
gets. Here links and layouts are looked at before they are followed, and chunks are unpacked by `_unpack`.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, FileError, MissingLibraryError, UnsafeFileError
from lstmcore.storage.container import show
from lstmcore.storage.hdf5_attributes import Text, read_texts, texts_of
from lstmcore.storage.opening import Window

Array = NDArray[Any]

MAX_OBJECTS = 8192
MAX_DEPTH = 32
MAX_TEXTS = 1 << 20
MAX_CHUNKS = 65536
_AT_ONCE = 1 << 20
MAX_PIECE = 4 << 20
"""The most bytes that the library may read at once, but for an array: it takes memory for whatever a file says."""

DTYPES = ("float16", "float32", "float64")

_DEFLATE, _SHUFFLE = 1, 2
# h5py gives the C library's complaints these types
_LIBRARY = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, UnicodeDecodeError, MemoryError)


@dataclass(frozen=True)
class Dataset:
    """An array in the file: its place there, shape and dtype; ``dtype`` is None where it is none that a weight has.

    ``handle`` is what it is read by, here what the library calls its place; ``stored`` is its dtype in the file.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str | None
    handle: Any
    stored: str = ""


class Hdf5File:
    """An HDF5 file, open, with every group and dataset in it found by way of plain links.

    Attributes:
        datasets: by path, such as ``"lstm_1/lstm_1/kernel:0"``, in the file's order.
        groups: by path, what the library calls them; "" is the root. None is held open: each takes 15 KB.
    """

    def __init__(self, file: Window, name: str) -> None:
        """Looks through a file.

        Raises:
            UnsafeFileError: it links to something else, or has more in it than a model.
            DamagedFileError: it is no HDF5 file, or a damaged one.
            ImportError: h5py is not installed.
        """
        self.name = name
        self.datasets: dict[str, Dataset] = {}
        self.groups: dict[str, str] = {}
        self._texts: dict[str, dict[str, list[Text]]] = {}
        h5py = _library(name)
        self._window = file
        file.most = MAX_PIECE
        with self._complaints():
            self._file = h5py.File(file, "r")
        with self._complaints():
            self._walk()

    def close(self) -> None:
        """Closes the HDF5 file; the file it was read from stays open."""
        self._file.close()

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        """What the library raises, as one type."""
        try:
            yield
        except FileError:
            raise
        except _LIBRARY as error:
            text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise DamagedFileError(f"{self.name} is damaged, or no HDF5 file: {text}.") from None

    def _walk(self) -> None:
        seen: set[int] = set()
        waiting = [("", "/", 0)]
        while waiting:
            path, place, depth = waiting.pop()
            group = self._file[place]
            address = _address(group)
            if address in seen:
                self._refuse(f"the group {show(path)} is in it twice, or within itself")
            seen.add(address)
            self.groups[path] = place
            if depth > MAX_DEPTH or len(group) > MAX_OBJECTS:
                self._refuse(f"more than {MAX_DEPTH} groups lie within each other, or {MAX_OBJECTS} things in one")
            inner = [self._enter(path, place, group, key) for key in group]
            waiting += [(at, found, depth + 1) for at, found in reversed(inner) if found]
            if len(self.groups) + len(self.datasets) > MAX_OBJECTS:
                self._refuse(f"it has more than {MAX_OBJECTS} groups and arrays")

    def _enter(self, path: str, place: str, group: Any, key: str) -> tuple[str, str]:
        """The path of what a group has under a key, and its place where it is a group. Notes a dataset."""
        h5py = _library(self.name)
        inner = f"{path}/{key}" if path else key
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            self._refuse(f"{show(inner)} is a link to something else; such links are not followed")
        found, at = group[key], f"{place.rstrip('/')}/{key}"
        # Windows' separators stand in some names
        clean = inner.replace("\\", "/")
        if clean in self.datasets or clean in self.groups:
            self._refuse(f"{show(clean)} is in it twice")
        if isinstance(found, h5py.Group):
            return clean, at
        if not isinstance(found, h5py.Dataset):
            self._refuse(f"{show(inner)} is neither a group nor an array")
        self.datasets[clean] = self._dataset(clean, at, found)
        if len(self.groups) + len(self.datasets) > MAX_OBJECTS:
            self._refuse(f"it has more than {MAX_OBJECTS} groups and arrays")
        return clean, ""

    def _dataset(self, path: str, place: str, found: Any) -> Dataset:
        shape, dtype = found.shape, found.dtype
        if shape is None or len(shape) > 32:
            return Dataset(path, (), None, place, str(dtype))
        plain = dtype.kind == "f" and dtype.name in DTYPES
        return Dataset(path, tuple(map(int, shape)), dtype.name if plain else None, place, str(dtype))

    def text(self, path: str, key: str, limit: int) -> bytes | None:
        """A text beside a group, in bytes; None where there is none. UnsafeFileError where it is another thing."""
        values = self._attribute(path, key, limit)
        if values is None:
            return None
        if len(values) != 1:
            self._refuse(f"its {show(key)} is not one text")
        return values[0]

    def texts(self, path: str, key: str) -> list[str] | None:
        """A list of texts beside a group, in one piece or, as Keras writes a long one, in ``key0``, ``key1``, ..."""
        found = self._attribute(path, key, MAX_TEXTS)
        return self._pieces(path, key) if found is None else _decoded(found)

    def _pieces(self, path: str, key: str) -> list[str] | None:
        pieces: list[bytes] = []
        count = 0
        while self._has(path, f"{key}{count}"):
            pieces += self._attribute(path, f"{key}{count}", MAX_TEXTS) or []
            count += 1
            if sum(map(len, pieces)) > MAX_TEXTS or count > MAX_DEPTH:
                self._refuse(f"its {show(key)} has more than {MAX_TEXTS} bytes")
        return _decoded(pieces) if count else None

    def _has(self, path: str, key: str) -> bool:
        with self._complaints():
            return key in self._file[self.groups[path]].attrs

    def _attribute(self, path: str, key: str, limit: int) -> list[bytes] | None:
        h5py = _library(self.name)
        with self._complaints():
            attributes = self._file[self.groups[path]].attrs
            if key not in attributes:
                return None
            handle = attributes.get_id(key)
            kind = h5py.check_string_dtype(handle.dtype)
            count = math.prod(handle.shape)
            empty = count == 0 and handle.dtype.kind == "f"  # how h5py writes an empty list
            if (
                (kind is None and handle.dtype.kind != "S" and not empty)
                or len(handle.shape) > 1
                or count > MAX_OBJECTS
            ):
                self._refuse(f"its {show(key)} is no text, or no list of them")
            if not count:
                return []
            varying = kind is not None and kind.length is None
            told = self._varying(path, key) if varying else []
            size = sum(length for length, _, _ in told) if varying else handle.get_storage_size()
            if size > limit:
                self._refuse(f"its {show(key)} has {size} bytes; at most {limit} are read")
            if varying:
                return self._read_texts(path, key, told)
            values = np.atleast_1d(np.asarray(attributes[key], dtype=object)).ravel().tolist()
        raw = [value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value) for value in values]
        if sum(map(len, raw)) > limit:
            self._refuse(f"its {show(key)} has more than {limit} bytes")
        return raw

    def _varying(self, path: str, key: str) -> list[Text]:
        """Where a text, or a list of them, says that it is, and how long."""
        if path not in self._texts:
            try:
                self._texts[path] = texts_of(self._piece, _address(self._file[self.groups[path]]))
            except (ValueError, struct.error, IndexError) as error:
                raise UnsafeFileError(f"{self.name}: the texts beside {show(path)} cannot be read: {error}.") from None
        if key not in self._texts[path]:
            self._refuse(f"its {show(key)} is not where it should be")
        return self._texts[path][key]

    def _read_texts(self, path: str, key: str, told: list[Text]) -> list[bytes]:
        try:
            return read_texts(self._piece, told)
        except (ValueError, struct.error) as error:
            raise DamagedFileError(f"{self.name}: its {show(key)} cannot be read: {error}.") from None

    def _piece(self, position: int, size: int) -> bytes:
        if not 0 < size <= MAX_PIECE:
            raise ValueError(f"{size} bytes in one piece")
        self._window.seek(position)
        return self._window.read(size) or b""

    def read(self, dataset: Dataset, watch: Callable[[Array], None] = lambda _: None) -> Array:
        """An array, whole. Its shape should have been compared with what is expected before: it takes that memory.

        ``watch`` is given its numbers piece by piece, while they are at hand.
        """
        if dataset.dtype is None:
            self._refuse(f"{show(dataset.path)} does not hold plain numbers")
        size = math.prod(dataset.shape) * np.dtype(dataset.dtype).itemsize
        self._window.most = MAX_PIECE + size
        try:
            with self._complaints():
                return self._read(dataset, watch)
        finally:
            self._window.most = MAX_PIECE

    def _read(self, dataset: Dataset, watch: Callable[[Array], None]) -> Array:
        h5py = _library(self.name)
        handle = self._file[dataset.handle]
        plan = handle.id.get_create_plist()
        layout = plan.get_layout()
        array = np.empty(dataset.shape, handle.dtype)
        if plan.get_external_count() or layout == h5py.h5d.VIRTUAL:
            self._refuse(f"the numbers of {show(dataset.path)} lie in another file")
        if layout == h5py.h5d.CHUNKED:
            self._read_chunks(dataset, handle, array, [plan.get_filter(k) for k in range(plan.get_nfilters())])
            watch(array)
        elif handle.id.get_storage_size() != array.nbytes:
            self._refuse(f"{show(dataset.path)} says it has {array.nbytes} bytes, and that much is not in the file")
        elif layout == h5py.h5d.CONTIGUOUS and handle.id.get_offset() is not None:
            self._read_at(handle.id.get_offset(), dataset, array, watch)
        elif array.size:
            handle.read_direct(array)
            watch(array)
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def _read_at(self, place: int, dataset: Dataset, array: Array, watch: Callable[[Array], None]) -> None:
        """Reads an array that lies in one piece, which the library would do in the same way."""
        numbers = array.reshape(-1)
        self._window.seek(place)
        step = _AT_ONCE // array.dtype.itemsize
        for start in range(0, numbers.size, step):
            piece = numbers[start : start + step]
            view = memoryview(piece.view(np.uint8).data)
            while view:
                count = self._window.readinto(view)
                if not count:
                    raise DamagedFileError(f"{self.name}: {show(dataset.path)} reaches beyond the end of the file.")
                view = view[count:]
            watch(piece)

    def _read_chunks(self, dataset: Dataset, handle: Any, array: Array, filters: list[Any]) -> None:
        codes = [entry[0] for entry in filters]
        chunk = handle.chunks
        if codes not in ([], [_DEFLATE], [_SHUFFLE], [_SHUFFLE, _DEFLATE]):
            self._refuse(f"{show(dataset.path)} is packed by something else than gzip and shuffle")
        counts = [-(-length // step) for length, step in zip(array.shape, chunk, strict=True)]
        size = math.prod(chunk) * array.dtype.itemsize
        if math.prod(counts) > MAX_CHUNKS or size > 2 * array.nbytes + 65536:
            self._refuse(f"{show(dataset.path)} of shape {array.shape} is cut into chunks of {chunk}")
        for place in np.ndindex(*counts):
            start = tuple(k * step for k, step in zip(place, chunk, strict=True))
            info = handle.id.get_chunk_info_by_coord(start)
            if info.byte_offset is None or info.size > size + size // 256 + 64:
                self._refuse(f"a part of {show(dataset.path)} is not in the file")
            skipped, raw = handle.id.read_direct_chunk(start)
            applied = [code for k, code in enumerate(codes) if not skipped >> k & 1]
            piece = np.frombuffer(self._unpack(raw, applied, size, array.dtype.itemsize), array.dtype).reshape(chunk)
            where = tuple(slice(a, min(a + step, n)) for a, step, n in zip(start, chunk, array.shape, strict=True))
            array[where] = piece[tuple(slice(0, s.stop - s.start) for s in where)]

    def _unpack(self, raw: bytes, codes: list[int], size: int, itemsize: int) -> bytes:
        """A chunk as it was before it was packed; never more than ``size`` bytes."""
        if _DEFLATE in codes:
            unpacker = zlib.decompressobj()
            try:
                raw = unpacker.decompress(raw, size + 1)
            except zlib.error as error:
                raise DamagedFileError(f"{self.name}: an array cannot be unpacked: {error}.") from None
        if len(raw) != size:
            self._refuse("an array does not unpack to the size that it says")
        if _SHUFFLE in codes:
            raw = np.frombuffer(raw, np.uint8).reshape(itemsize, -1).T.tobytes()
        return raw

    def _refuse(self, fault: str) -> NoReturn:
        raise UnsafeFileError(f"{self.name}: {fault}.")


def _library(name: str) -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingLibraryError(
            f"{name} is an HDF5 file, and h5py reads those; it is not installed: pip install 'lstmcore[hdf5]'"
        ) from None
    return h5py


def _address(group: Any) -> int:
    import h5py

    return int(h5py.h5o.get_info(group.id).addr)


def _decoded(values: list[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]
