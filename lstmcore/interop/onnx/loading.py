"""An ONNX file read safely: sizes checked before anything is made of them, and no file beside it but in its folder.

Nothing in an ONNX file is code, but it can name other files, claim sizes that it does not have, and refer to ops that
nobody knows. All of that is refused here, with one error each (tests/hostile/test_onnx.py).
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.errors import (
    DamagedFileError,
    FileVersionError,
    ForeignFileError,
    UnsafeFileError,
    UnsupportedFileError,
)
from lstmcore.interop.onnx import wire
from lstmcore.interop.onnx.library import onnx
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import is_text
from lstmcore.storage.opening import open_regular

Array = NDArray[Any]
LARGEST = (1 << 31) - 1
LARGE = 1 << 16
"""Raw numbers of so many bytes stay in the bytes of the file: they are not parsed into ``Loaded.model``."""
OLDEST, NEWEST = 7, 28
DOMAINS = ("", "ai.onnx")
DTYPES: Mapping[int, str] = {1: "f4", 2: "u1", 3: "i1", 4: "u2", 5: "i2", 6: "i4", 7: "i8", 9: "?", 11: "f8"}
DTYPES = {**DTYPES, 10: "f2", 12: "u4", 13: "u8"}
# where numbers are that are not raw bytes
_FIELDS = {1: "float_data", 7: "int64_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"}


@dataclass(frozen=True)
class Loaded:
    """A checked file: its graph, the opset it is written in, its metadata, and the folder it lies in."""

    name: str
    folder: str
    model: Any
    opset: int
    metadata: Mapping[str, str]
    arrays: Mapping[str, Array] = field(default_factory=dict)

    @property
    def graph(self) -> Any:
        """The protocol buffer of the graph."""
        return self.model.graph


def load(path: PathLike, whole: bool = False) -> Loaded:
    """Reads an ONNX file. Unless ``whole``, its protocol buffer lacks large numbers; ``arrays`` has them all.

    Raises:
        OSError: there is no such file.
        ForeignFileError, DamagedFileError: it is no ONNX file, or not a whole one.
        FileVersionError: its opset is older or newer than those that are read.
        UnsafeFileError: it names files outside its folder, or needs more memory than its size.
        UnsupportedFileError: it uses ops of other domains, functions, sparse or training parts.
    """
    library = onnx()
    name = os.path.basename(os.fspath(path))
    data = _bytes(path, name)
    wire.check(data, name)
    rest, numbers = (data, {}) if whole else wire.without_numbers(data, name, LARGE)
    model = library.ModelProto()
    try:
        model.ParseFromString(rest)
    except Exception as error:  # the parser has its own exceptions, one for each implementation
        raise DamagedFileError(f"{name} is cut short or altered, or no ONNX file: {error}") from None
    _check_texts(model, name)
    if not model.HasField("graph") or not model.graph.output:
        raise ForeignFileError(f"{name} is no ONNX file: it has no graph with an output")
    opset = _opset(model, name)
    _check_parts(model, name)
    folder = os.path.dirname(os.path.realpath(path))
    loaded = Loaded(name, folder, model, opset, {e.key: e.value for e in model.metadata_props})
    return Loaded(name, folder, model, opset, loaded.metadata, _initializers(loaded, numbers))


def _bytes(path: PathLike, name: str) -> bytes:
    with io.BufferedReader(open_regular(path)) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            raise UnsafeFileError(f"{name} has {size} bytes; an ONNX file has at most {LARGEST}")
        data = file.read(size + 1)
    if len(data) != size:
        raise DamagedFileError(f"{name} changed while it was read")
    if not data:
        raise DamagedFileError(f"{name} is empty")
    return data


def _opset(model: Any, name: str) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in DOMAINS]
    if len(versions) != 1:
        raise ForeignFileError(f"{name} does not say in which version of ONNX's ops it is written")
    if not OLDEST <= versions[0] <= NEWEST:
        raise FileVersionError(f"{name} is written in opset {versions[0]}; those from {OLDEST} to {NEWEST} are read")
    return int(versions[0])


def _check_parts(model: Any, name: str) -> None:
    """What no model that is read here has."""
    if model.functions:
        raise UnsupportedFileError(f"{name} defines functions of its own, such as {model.functions[0].name!r}")
    if model.training_info:
        raise UnsupportedFileError(f"{name} holds a training step, which is not read")
    for graph in _graphs(model.graph):
        if graph.sparse_initializer:
            raise UnsupportedFileError(f"{name} holds sparse weights, which are not read")
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise UnsupportedFileError(
                    f"{name}: node {node.name!r} is {node.op_type!r} of the domain {node.domain!r}; "
                    "only ONNX's own ops are read"
                )


def _check_texts(message: Any, name: str) -> None:
    """Every name is text: the parser hands out what is not as bytes."""
    for about, value in message.ListFields():
        if about.type == about.TYPE_MESSAGE:
            for inner in value if _repeats(value) else (value,):
                _check_texts(inner, name)
        elif about.type == about.TYPE_STRING:
            for text in value if _repeats(value) else (value,):
                if not isinstance(text, str) or not is_text(text):
                    raise DamagedFileError(f"{name} is altered: one of its names is no text")


def _repeats(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__len__")


def _graphs(graph: Any) -> Iterator[Any]:
    waiting = [graph]
    while waiting:
        found = waiting.pop()
        yield found
        for node in found.node:
            for attribute in node.attribute:
                waiting += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _initializers(loaded: Loaded, numbers: Mapping[int, memoryview]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for position, tensor in enumerate(loaded.graph.initializer):
        if not tensor.name or tensor.name in found:
            raise DamagedFileError(f"{loaded.name}: two weights are called {tensor.name!r}")
        found[tensor.name] = array(loaded, tensor, numbers.get(position))
    return found


MOST_NUMBERS = 1 << 48


def array(loaded: Loaded, tensor: Any, numbers: memoryview | None = None) -> Array:
    """The numbers of a tensor, its size compared with its shape before they are read.

    ``numbers`` are its raw ones where they are not in it; they need not be aligned.
    """
    where = f"{loaded.name}: weight {tensor.name!r}"
    if tensor.data_type not in DTYPES:
        raise UnsupportedFileError(f"{where} has the type {tensor.data_type}, which is not read")
    dtype = np.dtype(DTYPES[tensor.data_type]).newbyteorder("<")
    shape = tuple(tensor.dims)
    # without one number, a length beside 0 may still be more than an array can have
    if any(n < 0 for n in shape) or len(shape) > 32 or math.prod(n or 1 for n in shape) > MOST_NUMBERS:
        raise DamagedFileError(f"{where} has the shape {shape[:32]}")
    count = math.prod(shape)
    data: bytes | memoryview
    if tensor.data_location == 1:
        data = _external(loaded, tensor, count * dtype.itemsize, where)
    elif numbers is not None or tensor.HasField("raw_data"):
        data = tensor.raw_data if numbers is None else numbers
    else:
        return _from_fields(tensor, dtype, shape, count, where)
    if len(data) != count * dtype.itemsize:
        raise DamagedFileError(f"{where} of shape {shape} takes {count * dtype.itemsize} bytes; there are {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape)


def _from_fields(tensor: Any, dtype: np.dtype[Any], shape: tuple[int, ...], count: int, where: str) -> Array:
    numbers = getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))
    if len(numbers) != count:
        raise DamagedFileError(f"{where} of shape {shape} takes {count} numbers; there are {len(numbers)}")
    if tensor.data_type == 10:  # float16 as its bits
        return np.array(numbers, np.uint16).view(np.float16).reshape(shape)
    try:
        return np.array(numbers, dtype).reshape(shape)
    except OverflowError:
        raise DamagedFileError(f"{where} holds numbers that {dtype} cannot") from None


def _external(loaded: Loaded, tensor: Any, size: int, where: str) -> bytes:
    """The bytes of a weight in a file beside, which must lie in the folder of the model or below."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    parts = _inside(told.get("location", ""), where)
    offset, length = (
        _natural(told.get(key, default), key, where) for key, default in (("offset", "0"), ("length", str(size)))
    )
    if length != size:
        raise DamagedFileError(f"{where} takes {size} bytes; its entry says {length}")
    with _open_below(loaded.folder, parts, where) as file:
        status = os.fstat(file.fileno())
        if status.st_nlink != 1:
            raise UnsafeFileError(f"{where} lies in a file that has other names (hard links) elsewhere")
        if offset + size > status.st_size:
            raise DamagedFileError(f"{where} lies beyond the end of {parts[-1]!r}")
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise DamagedFileError(f"{where}: {parts[-1]!r} changed while it was read")
    return data


def _inside(location: str, where: str) -> tuple[str, ...]:
    parts = PurePosixPath(location).parts
    strange = "\\" in location or "\0" in location or PureWindowsPath(location).drive
    if not parts or strange or PurePosixPath(location).is_absolute() or ".." in parts:
        raise UnsafeFileError(f"{where} is said to lie in {location!r}, which is not in the folder of the model")
    return parts


def _natural(text: str, key: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise DamagedFileError(f"{where}: its {key} is {text[:40]!r}; expected a whole number")
    return int(text)


def _open_below(folder: str, parts: tuple[str, ...], where: str) -> io.BufferedReader:
    """Opens a file below a folder, step by step, so that no part of the way is a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = inner
        return io.BufferedReader(open_regular(parts[-1], at))
    except OSError as error:
        told = f"{where} is said to lie in {'/'.join(parts)!r}"
        raise UnsafeFileError(f"{told}, which is no file in the folder of the model: {error.strerror}") from None
    finally:
        os.close(at)
