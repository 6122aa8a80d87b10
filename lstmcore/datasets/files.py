"""Strict readers for the two forms that MNIST comes in: ``.npz`` and IDX.

A file may be damaged or hostile, so nothing is allocated on its word alone: a declared size is first
compared with LIMIT and with the size that the container gives, and no more than that is ever unpacked.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lstmcore.errors import DatasetError

Bytes = NDArray[np.uint8]

LIMIT = 1 << 26
"""The most bytes that one array may hold; MNIST's largest, its training images, is 47,040,000."""

_CHUNK = 1 << 20
_PLAIN_ZIP = {zipfile.ZIP_STORED: "0 (stored)", zipfile.ZIP_DEFLATED: "8 (deflated)"}


def read_npz(path: Path, keys: Sequence[str]) -> dict[str, Bytes]:
    """The uint8 arrays named ``keys`` of an ``.npz`` file; other members are left alone.

    Raises DatasetError if the file is not a whole zip archive, if a key is missing or there twice, or
    if an array is not of uint8 (an array of objects is never unpickled), larger than LIMIT, or not as
    large as its own header says.
    """
    with path.open("rb") as file, _blaming(path, "an .npz file"), zipfile.ZipFile(file) as archive:
        counts = Counter(archive.namelist())
        found = sorted(name.removesuffix(".npy") for name in counts)
        for key in keys:
            if counts[f"{key}.npy"] != 1:
                fault = "is missing" if f"{key}.npy" not in counts else "is there more than once"
                raise DatasetError(
                    f"{path.name}: {key} {fault}; expected {', '.join(keys)} once each, "
                    f"found {', '.join(found[:20]) or 'nothing'}."
                )
        return {key: _read_npy(archive, f"{key}.npy", f"{path.name}: {key}") for key in keys}


def _read_npy(archive: zipfile.ZipFile, member: str, where: str) -> Bytes:
    info = archive.getinfo(member)
    if info.compress_type not in _PLAIN_ZIP:
        raise DatasetError(
            f"{where} is packed with zip method {info.compress_type}; expected {' or '.join(_PLAIN_ZIP.values())}."
        )
    _check_limit(where, info.file_size)
    with archive.open(info) as raw:
        # zipfile hands out an IO[bytes], numpy's stubs ask for the BinaryIO that it is.
        stream = cast(BinaryIO, raw)
        version = npy.read_magic(stream)
        if version != (1, 0):
            raise DatasetError(f"{where} is of .npy version {version}; expected (1, 0).")
        shape, _, dtype = npy.read_array_header_1_0(stream)
        if dtype != np.uint8:
            raise DatasetError(f"{where} has dtype {dtype}; expected uint8.")
        _check_size(where, shape, info.file_size - stream.tell())
        stream.seek(0)
        return cast(Bytes, npy.read_array(stream, allow_pickle=False))


def read_idx(path: Path, rank: int) -> Bytes:
    """The array of uint8 in an IDX file, raw or, where the name ends in ``.gz``, gzipped.

    IDX is: two zero bytes, the type (8: unsigned byte), the rank, then each dimension as a big-endian
    uint32, then the data in row-major order, and nothing after.

    Raises DatasetError if the magic number is not that of ``rank`` dimensions of bytes, if the declared
    size is over LIMIT or is not the size of the data present, or if the gzip stream is damaged. Of a gzip
    stream no more than the declared size and one byte is unpacked.
    """
    with path.open("rb") as file, _blaming(path, "an IDX file"):
        if path.suffix != ".gz":
            return _read_idx(file, rank, path.name, os.fstat(file.fileno()).st_size)
        with gzip.GzipFile(fileobj=file) as stream:
            return _read_idx(stream, rank, path.name, None)


def _read_idx(stream: BinaryIO | gzip.GzipFile, rank: int, where: str, size: int | None) -> Bytes:
    header = 4 + 4 * rank
    start = stream.read(header)
    magic = bytes((0, 0, 8, rank))
    if start[:4] != magic:
        raise DatasetError(
            f"{where} begins with the bytes {start[:4].hex(' ') or '(none)'}; "
            f"expected {magic.hex(' ')}, IDX with {rank} dimension(s) of uint8."
        )
    if len(start) < header:
        raise DatasetError(f"{where} ends inside its header: {len(start)} bytes; expected {header} and data.")
    shape = struct.unpack(f">{rank}I", start[4:])
    _check_limit(where, math.prod(shape))
    if size is not None:
        _check_size(where, shape, size - header)
    data = _read_at_most(stream, math.prod(shape) + 1)
    _check_size(where, shape, len(data))
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_at_most(stream: BinaryIO | gzip.GzipFile, count: int) -> bytearray:
    """Up to ``count`` bytes, piece by piece: memory grows with the data present, not with ``count``."""
    data = bytearray()
    while piece := stream.read(min(_CHUNK, count - len(data))):
        data += piece
    return data


def _check_limit(where: str, size: int) -> None:
    if size > LIMIT:
        raise DatasetError(f"{where} declares {size} bytes; expected at most {LIMIT} in a part of MNIST.")


def _check_size(where: str, shape: tuple[int, ...], present: int) -> None:
    expected = math.prod(shape)
    if present != expected:
        given = f"more than {expected}" if present > expected else f"{present}"
        raise DatasetError(
            f"{where} holds {given} bytes of data; expected {expected}: its header declares shape {shape}."
        )


@contextmanager
def _blaming(path: Path, form: str) -> Iterator[None]:
    """Whatever a parser raises on a bad file, the caller sees one DatasetError that names the file."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:  # zipfile, zlib and numpy's header parser raise a dozen unrelated types
        raise DatasetError(
            f"{path.name} is damaged or not {form} ({type(error).__name__}: {error}); "
            f"expected {form}, whole. Fetch it again."
        ) from error
