"""The safetensors container, read strictly: everything is checked before a tensor is touched.

A file may be damaged or hostile. The safetensors library (0.8, measured) accepts what is refused
here: duplicate keys, NaN, names such as ``../x``, text before the header, unknown fields.
docs/weight-file.md is normative.
"""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from typing import Any, NoReturn

import numpy as np

from lstmcore.errors import DamagedFileError, ForeignFileError
from lstmcore.storage.magic import HEAD, kind_of, looks_like

MAX_HEADER = 2 << 20
"""The most bytes a header may have. JSON takes up to 24 times its size in memory, when made to."""

MAX_TENSORS = 4096
MAX_NAME = 512
MAX_AXES = 32

DTYPES: Mapping[str, str] = {"F64": "float64", "F32": "float32"}
"""The file's name of a dtype -> NumPy's, in the order in which their tensors are written."""

FOREIGN_DTYPES: Mapping[str, tuple[str, int]] = {
    **{name: (dtype, np.dtype(dtype).itemsize) for name, dtype in DTYPES.items()},
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
"""The dtypes of files that others wrote: what they are called here, and the bytes of a number."""

_OWN_DTYPES = {name: FOREIGN_DTYPES[name] for name in DTYPES}

FILE_DTYPES: Mapping[str, str] = {dtype: name for name, dtype in DTYPES.items()}

METADATA = "__metadata__"

_PREFIX = 8
_TOO_LARGE = 1 << 63


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: bytes ``start`` to ``stop`` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    file_dtype: str = ""


@dataclass(frozen=True)
class Container:
    """The header of a file, not yet checked beyond being JSON."""

    name: str
    size: int
    data: int
    fields: Mapping[str, Any]

    def metadata(self) -> dict[str, str]:
        """The metadata: strings by name; ``{}`` if there are none. DamagedFileError if they are not that."""
        found = self.fields.get(METADATA, {})
        if not isinstance(found, dict):
            raise DamagedFileError(f"{self.name}: its metadata are {show(found)}; expected strings by name.")
        for key, value in found.items():
            if not (isinstance(value, str) and is_text(key) and is_text(value)):
                raise DamagedFileError(
                    f"{self.name}: its metadata {show(key)} are {show(value)}; expected text without NUL."
                )
        return found

    def entries(self, dtypes: Mapping[str, tuple[str, int]] = _OWN_DTYPES) -> dict[str, Entry]:
        """Every tensor by name, in the order of the file; ``dtypes`` are those that may be in it.

        Raises DamagedFileError unless names are good names, shapes fit dtypes and lengths, and the
        tensors fill the file without a gap or overlap.
        """
        fields = {name: field for name, field in self.fields.items() if name != METADATA}
        if len(fields) > MAX_TENSORS:
            raise DamagedFileError(f"{self.name} has {len(fields)} tensors; at most {MAX_TENSORS} are read.")
        entries = {name: self._entry(name, field, dtypes) for name, field in fields.items()}
        entries = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)))
        position = self.data
        for name, entry in entries.items():
            if entry.start != position:
                fault = "overlaps the one before" if entry.start < position else "leaves a gap before it"
                raise DamagedFileError(f"{self.name}: tensor {show(name)} {fault}.")
            position = entry.stop
        if position != self.size:
            fault = "was cut short" if self.size < position else "has bytes that belong to no tensor"
            raise DamagedFileError(f"{self.name} {fault}: {self.size} bytes; its header says {position}.")
        return entries

    def _entry(self, name: str, field: Any, dtypes: Mapping[str, tuple[str, int]]) -> Entry:
        def refuse(fault: str) -> NoReturn:
            raise DamagedFileError(f"{self.name}: tensor {show(name)} {fault}.")

        if not is_name(name):
            refuse(f"has a bad name; expected {NAMES}")
        if not isinstance(field, dict) or set(field) != {"dtype", "shape", "data_offsets"}:
            refuse("is not described by dtype, shape and data_offsets, and these only")
        dtype, shape, offsets = field["dtype"], field["shape"], field["data_offsets"]
        if not isinstance(dtype, str) or dtype not in dtypes:
            refuse(f"has dtype {show(dtype)}; expected {' or '.join(sorted(dtypes))}")
        if not _are_naturals(shape) or len(shape) > MAX_AXES:
            refuse(f"has shape {show(shape)}; expected at most {MAX_AXES} whole numbers")
        if not _are_naturals(offsets) or len(offsets) != 2:
            refuse(f"has data_offsets {show(offsets)}; expected two whole numbers")
        called, itemsize = dtypes[dtype]
        if math.prod(max(length, 1) for length in shape) * itemsize >= _TOO_LARGE:
            refuse(f"has shape {show(shape)}, which is larger than any file")
        size = math.prod(shape) * itemsize
        if offsets[1] - offsets[0] != size:
            refuse(f"is {show(shape)} of {dtype}, {size} bytes; its data_offsets are {show(offsets)}")
        return Entry(called, tuple(shape), self.data + offsets[0], self.data + offsets[1], dtype)


def read_container(file: FileIO, name: str) -> Container:
    """Reads the header of an open file; ``name`` is for messages.

    Raises ForeignFileError where it is of another format, DamagedFileError where it is of none.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(HEAD) or b""
    length = int.from_bytes(head[:_PREFIX], "little")
    if length > MAX_HEADER or len(head) < _PREFIX or head[_PREFIX : _PREFIX + 1] not in (b"{", b""):
        _refuse(head, size, name)
    if not 2 <= length <= size - _PREFIX:
        raise DamagedFileError(
            f"{name}: its header should have {length} bytes, and the whole file has {size}; "
            f"it was cut short or altered. Fetch it or save it again."
        )
    file.seek(_PREFIX)
    return Container(name, size, _PREFIX + length, _header(file.read(length) or b"", name))


def _refuse(head: bytes, size: int, name: str) -> NoReturn:
    looks = looks_like(head)
    if looks and kind_of(head) != "safetensors":
        raise ForeignFileError(f"{name} is not a weight file; it looks like {looks[0]}. {looks[1]}")
    if not size:
        raise DamagedFileError(f"{name} is empty.")
    if head[_PREFIX : _PREFIX + 1] == b"{":
        length = int.from_bytes(head[:_PREFIX], "little")
        raise DamagedFileError(
            f"{name}: its header should have {length} bytes; at most {MAX_HEADER} are read, and the "
            f"file has {size}. It was altered, or is not a weight file of lstmcore."
        )
    raise DamagedFileError(
        f"{name} does not begin like a .safetensors file (the length of a JSON header, then that header); "
        f"it is damaged, or of a format unknown here."
    )


def _header(raw: bytes, name: str) -> dict[str, Any]:
    try:
        fields = strict_json(raw.rstrip(b" ").decode())
    except ValueError as error:
        raise DamagedFileError(f"{name}: its header is damaged: {error}.") from None
    if not isinstance(fields, dict):
        raise DamagedFileError(f"{name}: its header is {show(fields)}; expected a JSON object.")
    return fields


def strict_json(text: str) -> Any:
    """JSON without duplicate keys, without numbers other than 0, 1, 2 ...; ValueError otherwise."""
    if not text.endswith(("}", "]")) or not text.startswith(("{", "[")):
        raise ValueError("not a JSON object")
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_natural,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"{show(key)} is there twice")
    return fields


def _natural(digits: str) -> int:
    if len(digits) > 19 or not digits.isdigit():
        _no_number(digits)
    return int(digits)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{show(text)} where a whole number from 0 to 2**63 was expected")


def _are_naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


NAMES = f"1 to {MAX_NAME} visible characters; parts between '/' that are not empty, '.' or '..'"
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_name(name: str) -> bool:
    """Whether a tensor may be called that: NAMES. No path made of it leads out of a directory."""
    parts = set(re.split(r"[/\\]", name))
    kinds = set(map(unicodedata.category, name))  # str.isprintable would change with Python's version
    return len(name) <= MAX_NAME and not kinds & _INVISIBLE and not parts & {"", ".", ".."}


def is_text(text: str) -> bool:
    """Whether it is Unicode (no lone surrogates) without NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def show(value: object) -> str:
    """A value of the file for a message, cut to a readable length."""
    text = repr(value[:100] if isinstance(value, str | list) else value)
    return text if len(text) <= 100 else f"{text[:97]}..."
