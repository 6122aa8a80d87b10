"""Zip archives, read strictly: a member's name, place and size are checked before a byte of it is read.

Nothing is ever written to the disk. Python's ``zipfile`` reads whatever the archive says, however large.
The format: PKWARE's APPNOTE 6.3.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from lstmcore.errors import DamagedFileError, UnsafeFileError
from lstmcore.storage.container import show
from lstmcore.storage.opening import Window

MAX_MEMBERS = 4096
MAX_DIRECTORY = 1 << 20
_CHUNK = 1 << 20

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL = 0xFFFFFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1 | 0x40
_ZIP64 = 1


@dataclass(frozen=True)
class Member:
    """Where a member lies, by the central directory: ``packed`` bytes in the archive, ``size`` unpacked."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    header: int


class Archive:
    """A zip archive in an open file, its members by name."""

    def __init__(self, file: io.FileIO, name: str) -> None:
        """Reads the directory. UnsafeFileError or DamagedFileError where it does not hold; ``name`` is for messages."""
        self._file, self._name = file, name
        self._size = os.fstat(file.fileno()).st_size
        count, size, start = self._end()
        self.members: Mapping[str, Member] = self._directory(count, self._at(start, size), start)

    def read(self, name: str, limit: int) -> bytes:
        """A member's bytes, at most ``limit``, their checksum compared."""
        member = self._member(name)
        if member.size > limit:
            self._refuse(f"{show(name)} says it has {member.size} bytes; at most {limit} are read")
        start = self._start(member)
        packed = self._at(start, member.packed)
        data = packed if member.method == _STORED else self._inflate(member, packed)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            self._damaged(f"{show(name)} is not what was written")
        return data

    def head(self, name: str, most: int) -> bytes:
        """The first bytes of a member, at most ``most``, not yet compared with its checksum."""
        member = self._member(name)
        start = self._start(member)
        if member.method == _STORED:
            return self._at(start, min(most, member.size))
        packed = self._at(start, min(member.packed, most + 64))
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
        except zlib.error as error:
            self._damaged(f"{show(name)} cannot be unpacked: {error}")

    def open(self, name: str, limit: int) -> Window:
        """A member as a file: a part of the archive where it is stored as it is, else unpacked, up to ``limit`` bytes.

        Its checksum is compared first.
        """
        member = self._member(name)
        if member.method != _STORED:
            return Window(io.BytesIO(self.read(name, limit)), 0, member.size)
        start = self._start(member)
        crc = 0
        for position in range(start, start + member.size, _CHUNK):
            crc = zlib.crc32(self._at(position, min(_CHUNK, start + member.size - position)), crc)
        if crc != member.crc:
            self._damaged(f"{show(name)} is not what was written")
        return Window(self._file, start, member.size)

    def peek(self, name: str) -> Window | None:
        """A member as a file, its checksum not compared, for a look at its headers; None where it is packed."""
        member = self._member(name)
        return Window(self._file, self._start(member), member.size) if member.method == _STORED else None

    def stored(self, name: str) -> tuple[Window, int]:
        """A member that is not packed, as a part of the archive, and the checksum that its bytes must have.

        For who reads it once, from its start to its end: the checksum is left to compare.
        """
        member = self._member(name)
        if member.method != _STORED:
            self._refuse(f"{show(name)} is packed; expected it as it is")
        return Window(self._file, self._start(member), member.size), member.crc

    # The directory.

    def _end(self) -> tuple[int, int, int]:
        """Number of members, size and place of the directory: from the end record, the last thing in the file."""
        place = self._size - _END.size
        if place < 0:
            self._damaged("its directory is missing: it was cut short")
        fields = _END.unpack(self._at(place, _END.size))
        if fields[0] != b"PK\x05\x06" or fields[7]:
            self._damaged("its directory is not at its end: it was cut short, or something was added to it")
        if fields[1] or fields[2] or fields[3] != fields[4]:
            self._refuse("it is a part of an archive in several files")
        count, size, start = fields[4:7]
        last = place
        needed = count == 0xFFFF or _FULL in (size, start)
        if needed or start + size != place:  # PyTorch writes a second end where none is needed
            *found, last = self._end64(place)
            if not needed and found != [count, size, start]:
                self._refuse("its directory ends twice, and differently")
            count, size, start = found
        if count > MAX_MEMBERS or size > MAX_DIRECTORY:
            self._refuse(f"its directory has {count} members in {size} bytes; at most {MAX_MEMBERS} are read")
        if start + size != last:
            self._refuse("its directory is not where its end says; bytes lie around it that belong to nothing")
        return count, size, start

    def _end64(self, place: int) -> tuple[int, int, int, int]:
        if place < _LOCATOR64.size + _END64.size:
            self._damaged("its directory is missing")
        sign, _, at, _ = _LOCATOR64.unpack(self._at(place - _LOCATOR64.size, _LOCATOR64.size))
        if sign != b"PK\x06\x07":
            self._refuse("its directory is not where its end says; bytes lie around it that belong to nothing")
        if at != place - _LOCATOR64.size - _END64.size:
            self._damaged("the end of its directory is not where it says")
        fields = _END64.unpack(self._at(at, _END64.size))
        if fields[0] != b"PK\x06\x06" or fields[6] != fields[7]:
            self._damaged("the end of its directory is not one")
        return fields[7], fields[8], fields[9], at

    def _directory(self, count: int, raw: bytes, end: int) -> dict[str, Member]:
        members: dict[str, Member] = {}
        position = 0
        for _ in range(count):
            if position + _ENTRY.size > len(raw):
                self._damaged("its directory has fewer members than it says")
            fields = _ENTRY.unpack_from(raw, position)
            lengths = fields[10:13]
            stop = position + _ENTRY.size + sum(lengths)
            if fields[0] != b"PK\x01\x02" or stop > len(raw):
                self._damaged("its directory is damaged")
            name = raw[position + _ENTRY.size :][: lengths[0]]
            extra = raw[position + _ENTRY.size + lengths[0] :][: lengths[1]]
            member = self._entry(name, fields, extra)
            if member.name in members:
                self._refuse(f"it has two members called {show(member.name)}")
            members[member.name] = member
            position = stop
        if position != len(raw):
            self._damaged("its directory has more members than it says")
        if sum(member.packed + _LOCAL.size for member in members.values()) > end:
            self._refuse("its members lie on top of each other")
        return members

    def _entry(self, raw: bytes, fields: tuple[int, ...], extra: bytes) -> Member:
        flags, method = fields[3], fields[4]
        try:
            name = raw.decode("utf-8" if flags & 0x800 else "ascii")
        except UnicodeDecodeError:
            self._refuse(f"a member is called {show(raw.decode('latin-1'))}; expected a plain name")
        self._check_name(name)
        if flags & _ENCRYPTED:
            self._refuse(f"{show(name)} is encrypted")
        if stat.S_ISLNK(fields[15] >> 16):
            self._refuse(f"{show(name)} is a symbolic link")
        if method not in (_STORED, _DEFLATED):
            self._refuse(f"{show(name)} is packed by method {method}; expected none, or deflate")
        crc, packed, size, header = fields[7], fields[8], fields[9], fields[16]
        size, packed, header = self._extended(name, extra, size, packed, header)
        longest = size if method == _STORED else size + size // 256 + 64
        if header + _LOCAL.size + packed > self._size or packed > longest or (method == _STORED and size != packed):
            self._refuse(f"{show(name)} says it has {packed} bytes packed and {size} unpacked, which do not fit")
        return Member(name, method, crc, packed, size, header)

    def _check_name(self, name: str) -> None:
        parts = re.split(r"[/\\]", name.rstrip("/"))
        if not name.isprintable() or len(name) > 512 or {"", ".", ".."} & set(parts) or re.match(r"[A-Za-z]:", name):
            self._refuse(f"a member is called {show(name)}, which leads out of the archive")

    def _extended(self, name: str, extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
        """The lengths that did not fit into 32 bits."""
        found = [size, packed, header]
        while len(extra) >= 4:
            tag, length = struct.unpack_from("<2H", extra)
            if tag == _ZIP64:
                data = extra[4 : 4 + length]
                for k, value in enumerate(found):
                    if value == _FULL:
                        if len(data) < 8:
                            self._damaged(f"{show(name)} says nothing of its size")
                        found[k], data = int.from_bytes(data[:8], "little"), data[8:]
            extra = extra[4 + length :]
        return found[0], found[1], found[2]

    # A member.

    def _member(self, name: str) -> Member:
        if name not in self.members:
            self._damaged(f"it has no {show(name)}")
        return self.members[name]

    def _start(self, member: Member) -> int:
        """Where a member's bytes begin, after its own header, which must agree with the directory."""
        fields = _LOCAL.unpack(self._at(member.header, _LOCAL.size))
        start: int = member.header + _LOCAL.size + fields[9] + fields[10]
        name = self._at(member.header + _LOCAL.size, fields[9])
        if fields[0] != b"PK\x03\x04" or name != member.name.encode() or fields[3] != member.method:
            self._damaged(f"{show(member.name)} is not where the directory says")
        if start + member.packed > self._size:
            self._damaged(f"{show(member.name)} reaches beyond the end of the file")
        return start

    def _inflate(self, member: Member, packed: bytes) -> bytes:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(packed, member.size + 1)
        except zlib.error as error:
            self._damaged(f"{show(member.name)} cannot be unpacked: {error}")
        if len(data) != member.size or not unpacker.eof or unpacker.unused_data:
            self._refuse(f"{show(member.name)} does not unpack to the {member.size} bytes that it says")
        return data

    def _at(self, position: int, size: int) -> bytes:
        self._file.seek(position)
        data = b""
        while len(data) < size:
            more = self._file.read(size - len(data))
            if not more:
                self._damaged("it was cut short")
            data = data + more if data else more
        return data

    def _refuse(self, fault: str) -> NoReturn:
        raise UnsafeFileError(f"{self._name}: {fault}.")

    def _damaged(self, fault: str) -> NoReturn:
        raise DamagedFileError(f"{self._name}: {fault}.")
