"""The header of NumPy's ``.npy`` format, versions 1 to 3: made, and read without evaluating it.

The format: numpy.lib.format. NumPy itself reads the header with ``ast.literal_eval``.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

import numpy as np

from lstmcore.errors import DamagedFileError, UnsafeFileError
from lstmcore.storage.container import MAX_AXES, show

MOST = 4096
"""The most bytes of a header that are read; NumPy writes 128."""

_MAGIC = b"\x93NUMPY"
_LENGTHS = {1: "<H", 2: "<I", 3: "<I"}
_FIELD = r"""'(?:descr'\s*:\s*(?:'[^']{1,16}'|\[.*\])|fortran_order'\s*:\s*\w{4,5}|shape'\s*:\s*\([0-9L,\s]*\))"""
_HEADER = re.compile(rf"\{{\s*{_FIELD}\s*(?:,\s*{_FIELD}\s*){{2}},?\s*\}}\s*", re.DOTALL)
_DESCR = re.compile(r"'descr'\s*:\s*('[^']{1,16}'|\[)")
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)\b")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([0-9,\s]*)\)")
_LENGTH = re.compile(r"\s*(?:[0-9]{1,19}\s*,\s*)*(?:[0-9]{1,19}\s*)?")
_PLAIN = re.compile(r"[<>=|][biuf][1248]")


@dataclass(frozen=True)
class Header:
    """What a ``.npy`` says of its array: the numbers begin at byte ``start``, ``nbytes`` of them follow."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        """How many bytes the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def make_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """The header of an array in C order; the numbers that follow it are aligned to 64 bytes."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape!r}, }}"
    room = -(len(_MAGIC) + 4 + len(text) + 1) % 64
    return _MAGIC + b"\x01\x00" + struct.pack("<H", len(text) + room + 1) + f"{text}{' ' * room}\n".encode("latin-1")


def read_header(head: bytes, owner: str) -> Header:
    """What the first bytes of a ``.npy`` say; ``owner`` is for messages.

    Raises UnsafeFileError for arrays of objects and headers that are no such thing, DamagedFileError for the rest.
    """
    version = head[6] if len(head) > 8 and head.startswith(_MAGIC) else 0
    if version not in _LENGTHS:
        raise DamagedFileError(f"{owner} is not an array of NumPy's, or of a version unknown here.")
    form = _LENGTHS[version]
    begin = 8 + struct.calcsize(form)
    length = struct.unpack_from(form, head.ljust(begin, b"\0"), 8)[0]
    if length > MOST - begin:
        raise UnsafeFileError(f"{owner} has a header of {length} bytes; at most {MOST} are read.")
    if begin + length > len(head):
        raise DamagedFileError(f"{owner} was cut short within its header.")
    text = head[begin : begin + length].decode("latin-1")
    found = [pattern.findall(text) for pattern in (_DESCR, _ORDER, _SHAPE)]
    if not _HEADER.fullmatch(text) or any(len(values) != 1 for values in found):
        raise UnsafeFileError(f"{owner} has the header {show(text)}; expected descr, fortran_order and shape.")
    (descr,), (order,), (lengths,) = found
    return Header(_dtype(descr.strip("'"), owner), _shape(lengths, owner), order == "True", begin + length)


def _dtype(descr: str, owner: str) -> np.dtype[np.generic]:
    if "O" in descr:
        raise UnsafeFileError(f"{owner} holds Python objects, which are pickled; they are never read.")
    if not _PLAIN.fullmatch(descr):
        raise UnsafeFileError(f"{owner} is of dtype {show(descr)}; expected numbers.")
    try:
        return np.dtype(descr)
    except TypeError:
        raise DamagedFileError(f"{owner} is of dtype {show(descr)}, which does not exist.") from None


def _shape(lengths: str, owner: str) -> tuple[int, ...]:
    if not _LENGTH.fullmatch(lengths) or lengths.count(",") > MAX_AXES:
        raise DamagedFileError(f"{owner} has shape {show(lengths)}; expected at most {MAX_AXES} lengths.")
    shape = tuple(int(length) for length in lengths.split(",") if length.strip())
    if math.prod(max(length, 1) for length in shape) >= 1 << 60:
        raise UnsafeFileError(f"{owner} has shape {shape}, which is larger than any file.")
    return shape
