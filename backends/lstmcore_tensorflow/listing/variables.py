"""The variables of a SavedModel, read without TensorFlow, whose own reader ends the process on an altered index.

``variables.index`` is a table of LevelDB's format: blocks of entries that share prefixes of their keys, a block that
says where these are, and 48 bytes that say where that is. Its values are protocol buffers of the type
``BundleEntryProto`` (tensorflow/core/protobuf/tensor_bundle.proto): dtype, shape, and where in the other file the
numbers lie. TensorFlow writes it without compression.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, UnsafeFileError
from lstmcore.storage.container import MAX_AXES, show

MOST_BYTES = 2 << 20
MOST_ENTRIES = 1 << 13
_MOST_KEY = 1024
_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER, _TRAILER = 48, 5
_CHUNK = 1 << 20
DTYPES: Mapping[int, str] = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What TensorFlow 2 puts behind the name of a variable."""


@dataclass(frozen=True)
class Entry:
    """A tensor: ``size`` bytes from ``offset`` in the file of numbers. A dtype that NumPy lacks is a number."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def read_index(raw: bytes, name: str) -> dict[str, Entry]:
    """The entries of a ``variables.index`` by key; ``name`` is for messages. DamagedFileError where it is none."""
    return _Index(raw, name).entries()


def read_numbers(
    file: io.FileIO, entries: Mapping[str, Entry], wanted: Mapping[str, str], name: str
) -> tuple[dict[str, NDArray[Any]], str]:
    """The arrays of the entries ``wanted``, by what they are called there, and the SHA-256 of the whole file.

    The file is read once, from its start to its end, so that what has this checksum is what was taken.
    """
    order = sorted(entries.items(), key=lambda item: (item[1].offset, item[1].size))
    digest = hashlib.sha256()
    arrays: dict[str, NDArray[Any]] = {}
    end = max((entry.offset + entry.size for entry in entries.values()), default=0)
    if os.fstat(file.fileno()).st_size != end:
        raise DamagedFileError(
            f"{name} does not have the {end} bytes that its index says: it was cut short or altered."
        )
    position = 0
    for key, entry in order:
        if entry.offset < position:
            raise UnsafeFileError(f"{name}: {show(key)} overlaps the one before.")
        for count in _pieces(entry.offset - position):
            _fill(file, memoryview(bytearray(count)), digest, name)
        position = entry.offset + entry.size
        if key in wanted:
            array = np.empty(entry.shape, np.dtype(entry.dtype).newbyteorder("<"))
            _fill(file, array.reshape(-1).view(np.uint8).data, digest, name)
            arrays[wanted[key]] = array.astype(entry.dtype, copy=False)
        else:
            for count in _pieces(entry.size):
                _fill(file, memoryview(bytearray(count)), digest, name)
    return arrays, digest.hexdigest()


def _pieces(size: int) -> Iterator[int]:
    for start in range(0, size, _CHUNK):
        yield min(_CHUNK, size - start)


def _fill(file: io.FileIO, view: memoryview, digest: Any, name: str) -> None:
    whole = view
    while view:
        count = file.readinto(view[:_CHUNK])
        if not count:
            raise DamagedFileError(f"{name} was cut short while it was read.")
        view = view[count:]
    digest.update(whole)


class _Index:
    def __init__(self, raw: bytes, name: str) -> None:
        self._raw, self._name = raw, name

    def entries(self) -> dict[str, Entry]:
        raw = self._raw
        if len(raw) < _FOOTER or not raw.endswith(_MAGIC):
            self._damaged("it has no end: it was cut short")
        at = len(raw) - _FOOTER
        for _ in range(2):  # the place of a block that says nothing here, and its size
            _, at = self._varint(at, len(raw))
        start, at = self._varint(at, len(raw))
        size, _ = self._varint(at, len(raw))
        found: dict[bytes, bytes] = {}
        for _, value in self._block(start, size):
            begin, at = _varint(value, 0, len(value), self._damaged)
            length, at = _varint(value, at, len(value), self._damaged)
            if at != len(value):
                self._damaged("a block is not where it says")
            for key, entry in self._block(begin, length):
                if key in found:
                    self._damaged(f"{show(key.decode('utf-8', 'replace'))} is there twice")
                found[key] = entry
                if len(found) > MOST_ENTRIES:
                    raise UnsafeFileError(f"{self._name} has more than {MOST_ENTRIES} entries; no more are read.")
        self._header(found.pop(b"", b""))
        return {self._text(key): self._entry(key, value) for key, value in found.items()}

    def _block(self, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
        """The keys and values of a block; every key but the first of some may leave out what it shares."""
        raw, end = self._raw, start + size
        if end + _TRAILER > len(raw) - _FOOTER or size < 8 or raw[end]:
            self._damaged("a block is not where it says, or is compressed")
        restarts = int.from_bytes(raw[end - 4 : end], "little")
        stop = end - 4 - 4 * restarts
        if stop < start:
            self._damaged("a block is shorter than it says")
        at, key = start, b""
        while at < stop:
            shared, at = self._varint(at, stop)
            more, at = self._varint(at, stop)
            length, at = self._varint(at, stop)
            if shared > len(key) or shared + more > _MOST_KEY or more + length > stop - at:
                self._damaged("an entry is longer than its block")
            key = key[:shared] + raw[at : at + more]
            yield key, raw[at + more : at + more + length]
            at += more + length

    def _header(self, raw: bytes) -> None:
        """One file of numbers, little-endian: BundleHeaderProto."""
        fields = self._fields(raw)
        if fields.get(1) != 1 or fields.get(2, 0) != 0 or not set(fields) <= {1, 2, 3}:
            self._damaged("it is not of one file, little-endian")

    def _entry(self, key: bytes, raw: bytes) -> Entry:
        fields = self._fields(raw)
        code, offset, size = fields.get(1, 0), fields.get(4, 0), fields.get(5, 0)
        shape, shard = fields.get(2, b""), fields.get(3, 0)
        whole = all(isinstance(value, int) and 0 <= value < 1 << 62 for value in (code, offset, size))
        if not whole or shard or not isinstance(shape, bytes) or not set(fields) <= {1, 2, 3, 4, 5, 6}:
            self._damaged(f"its entry {show(self._text(key))} is not one")
        lengths, dtype = self._shape(shape), DTYPES.get(code, f"type {code}")
        if code in DTYPES and math.prod(lengths) * np.dtype(dtype).itemsize != size:
            self._damaged(f"{show(self._text(key))} is {dtype} of shape {lengths} in {size} bytes")
        return Entry(dtype, lengths, offset, size)

    def _shape(self, raw: bytes) -> tuple[int, ...]:
        lengths = []
        for number, value in self._each(raw):
            dim = self._fields(value) if number == 2 and isinstance(value, bytes) else {0: 0}
            length = dim.get(1, 0)
            if not set(dim) <= {1} or not isinstance(length, int) or length >= 1 << 40 or len(lengths) == MAX_AXES:
                self._damaged("a shape is none")
            lengths.append(length)
        return tuple(lengths)

    def _fields(self, raw: bytes) -> dict[int, Any]:
        found = list(self._each(raw))
        fields = dict(found)
        if len(fields) != len(found):
            self._damaged("an entry says something twice")
        return fields

    def _each(self, raw: bytes) -> Iterator[tuple[int, Any]]:
        """The fields of a protocol buffer: number and value."""
        at, end = 0, len(raw)
        while at < end:
            key, at = _varint(raw, at, end, self._damaged)
            wire = key & 7
            if wire == 0:
                value, at = _varint(raw, at, end, self._damaged)
                yield key >> 3, value
                continue
            size, at = (4, at) if wire == 5 else _varint(raw, at, end, self._damaged)
            if wire not in (2, 5) or size > end - at:
                self._damaged("an entry is longer than it says")
            yield key >> 3, raw[at : at + size]
            at += size

    def _text(self, key: bytes) -> str:
        try:
            return key.decode()
        except UnicodeDecodeError:
            self._damaged(f"a key is {show(key.decode('latin-1'))}")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        return _varint(self._raw, at, end, self._damaged)

    def _damaged(self, fault: str) -> NoReturn:
        raise DamagedFileError(f"{self._name} is damaged: {fault}.")


def _varint(raw: bytes, at: int, end: int, damaged: Any) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    damaged("a number has no end")
    raise AssertionError
