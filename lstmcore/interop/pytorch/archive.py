"""The files that hold a ``state_dict``: PyTorch's own zip archive, and safetensors. Written without PyTorch.

The pickle in the archive is made of the few instructions below, those that ``torch.load(weights_only=True)`` takes:
an OrderedDict of tensors, each ``torch._utils._rebuild_tensor_v2`` of a storage, which is a member of its own.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import ExportError

Array = NDArray[Any]

STORAGES: Mapping[str, str] = MappingProxyType(
    {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}
)
SAFETENSORS: Mapping[str, str] = MappingProxyType({"float64": "F64", "int64": "I64", "float32": "F32"})
_ROOT = "archive"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_ALIGNED = 64
_CHUNK = 4 << 20
_LOCAL_HEADER = 30
_ZIP64 = 20


def write_archive(file: BinaryIO, state: Mapping[str, Array], about: Mapping[str, str] = _NOTHING) -> None:
    """A state_dict as ``torch.save`` writes it; the same arrays give the same bytes.

    ``about``, texts by name, are members of their own, which PyTorch does not look at.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _member(archive, "data.pkl", _pickle(state))
        _member(archive, "byteorder", b"little")
        for index, array in enumerate(state.values()):
            _member(archive, f"data/{index}", array)
        for key, text in about.items():
            _member(archive, key, text.encode())
        _member(archive, "version", b"3\n")


def _member(archive: zipfile.ZipFile, name: str, content: bytes | Array) -> None:
    """A member whose bytes begin at a multiple of 64, so that the file can be mapped."""
    info = zipfile.ZipInfo(f"{_ROOT}/{name}", (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o600 << 16
    info.file_size = len(content) if isinstance(content, bytes) else content.nbytes
    large = info.file_size * 1.05 > zipfile.ZIP64_LIMIT
    place = archive.start_dir + _LOCAL_HEADER + len(info.filename) + _ZIP64 * large + 4
    padding = -place % _ALIGNED
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=large) as member:
        for chunk in [content] if isinstance(content, bytes) else chunks(content):
            member.write(chunk)


def chunks(array: Array) -> Iterator[bytes]:
    """The numbers in row-major order, little-endian, some at a time."""
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    for start in range(0, max(flat.size, 1), _CHUNK):
        yield flat[start : start + _CHUNK].tobytes()


def _pickle(state: Mapping[str, Array]) -> bytes:
    parts = [b"\x80\x02", _EMPTY, b"("]
    for index, (key, array) in enumerate(state.items()):
        parts += [_text(key), _tensor(index, array)]
    return b"".join([*parts, b"u."])


_EMPTY = b"ccollections\nOrderedDict\n)R"


def _tensor(index: int, array: Array) -> bytes:
    dtype = array.dtype.name
    if dtype not in STORAGES:
        raise ExportError(f"a state_dict with {dtype}; expected {', '.join(STORAGES)}")
    storage = (_text("storage"), f"ctorch\n{STORAGES[dtype]}\n".encode(), _text(str(index)), _text("cpu"))
    strides = [int(np.prod(array.shape[k + 1 :])) for k in range(array.ndim)]
    return b"".join(
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            *storage,
            _whole(array.size),
            b"tQ",
            _whole(0),
            _tuple(array.shape),
            _tuple(strides),
            b"\x89",
            _EMPTY,
            b"tR",
        ]
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _whole(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data if value >= 1 << 31 else b"J" + struct.pack("<i", value)


def _tuple(values: Any) -> bytes:
    return b"(" + b"".join(_whole(int(value)) for value in values) + b"t"


def write_safetensors(file: BinaryIO, state: Mapping[str, Array], about: Mapping[str, str] = _NOTHING) -> None:
    """A state_dict as a .safetensors file: the wider numbers first, so that all are aligned.

    ``about``, texts by name, are among the metadata.
    """
    order = sorted(state, key=lambda key: (list(SAFETENSORS).index(state[key].dtype.name), key))
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **about}}
    place = 0
    for key in order:
        array = state[key]
        offsets = [place, place + array.nbytes]
        header[key] = {"dtype": SAFETENSORS[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        place += array.nbytes
    data = json.dumps(header, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    file.write(struct.pack("<Q", len(data)) + data)
    for key in order:
        for chunk in chunks(state[key]):
            file.write(chunk)
