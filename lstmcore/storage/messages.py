"""Protocol buffers looked through in the file: what is not asked for is passed over, not read.

A message is a row of fields: a key, a length, that many bytes. Only what is looked at is read, through a small
buffer, so that a file of 1 GB takes no more memory than one of 1 KB. The format: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from lstmcore.errors import DamagedFileError, UnsafeFileError

MOST_FIELDS = 4_000_000
MOST_TEXT = 1 << 16
Field = tuple[int, int, int]
"""Its number, its value (or the length of its bytes), and where its bytes begin (-1: it has none)."""


class Messages:
    """The messages of a file; ``what`` it should be, for errors."""

    what = "file"

    def __init__(self, file: io.BufferedReader[Any], name: str, size: int) -> None:
        self.file, self.name, self.size, self.left = file, name, size, MOST_FIELDS

    def fields(self, start: int, size: int) -> Iterator[Field]:
        """The fields of the message there."""
        at, end = start, start + size
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise UnsafeFileError(f"{self.name} has more than {MOST_FIELDS} fields")
            self.file.seek(at)
            key = self.varint()
            number, wire = key >> 3, key & 7
            if wire == 0:
                value = self.varint()
                at = self.file.tell()
                yield number, value, -1
            elif wire == 2:
                length = self.varint()
                begin = self.file.tell()
                if length > end - begin:
                    raise self.damaged()
                at = begin + length
                yield number, length, begin
            elif wire in (1, 5):
                at = self.file.tell() + (8 if wire == 1 else 4)
            else:
                raise self.damaged()
        if at != end:
            raise self.damaged()

    def inside(self, begin: int, size: int, number: int) -> Iterator[tuple[int, int]]:
        """Where each message of that number lies among the fields there, and its size."""
        for found, length, at in self.fields(begin, size):
            if found == number and at >= 0:
                yield at, length

    def varint(self) -> int:
        """The number at which the file stands."""
        value = shift = 0
        while shift < 70:
            byte = self.file.read(1)
            if not byte:
                break
            value |= (byte[0] & 127) << shift
            if byte[0] < 128:
                return value
            shift += 7
        raise self.damaged()

    def text(self, begin: int, length: int) -> str:
        """A text; UnsafeFileError where it is longer than a name is."""
        if begin < 0 or length > MOST_TEXT:
            raise UnsafeFileError(f"{self.name} has a name of {length} bytes; at most {MOST_TEXT} are read")
        self.file.seek(begin)
        return self.file.read(length).decode("utf-8", "replace")

    def damaged(self) -> DamagedFileError:
        """What to raise."""
        return DamagedFileError(f"{self.name} is cut short or altered, or no {self.what}")
