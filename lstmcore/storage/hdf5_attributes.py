"""The texts of variable length beside an HDF5 object, read from the bytes of its header and of the heap they lie in.

The library takes memory for such a text before it looks whether the file has it, up to 4 GiB for each on the word of
four bytes, and looks for it in an altered heap without end. So they are read here. The format: HDF5 File Format
Specification 3.0, III.E and IV.A.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator

Read = Callable[[int, int], bytes]
Text = tuple[int, int, int]
"""How long a text says it is, the address of the heap it lies in, and its number there."""

MAX_BLOCKS = 1024
MAX_IN_HEAPS = 65536
_ATTRIBUTE, _CONTINUATION, _ATTRIBUTE_INFO = 0x0C, 0x10, 0x15
_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_VARIABLE = 9
_ELEMENT = 16
_HEAD = 16


def texts_of(read: Read, address: int) -> dict[str, list[Text]]:
    """Attribute of the object at that address -> its texts of variable length; none of them is read.

    ``read(position, size)`` gives bytes of the file. ValueError where the header is none, or of a form that Keras
    never writes.
    """
    found: dict[str, list[Text]] = {}
    for kind, flags, body in _messages(read, address):
        if kind == _ATTRIBUTE_INFO and not _is_empty(body):
            raise ValueError("its attributes lie in a heap of their own")
        if kind == _ATTRIBUTE:
            if flags & 2:
                raise ValueError("it shares an attribute with others")
            name, texts = _attribute(body)
            if name in found:
                raise ValueError(f"it has two attributes {name[:100]!r}")
            found[name] = texts
    return found


def read_texts(read: Read, texts: list[Text]) -> list[bytes]:
    """Each text, as far as its first NUL. ValueError where it is not in its heap."""
    heaps: dict[int, dict[int, tuple[int, int]]] = {}
    found, left = [], MAX_IN_HEAPS
    for length, address, number in texts:
        if not length:
            found.append(b"")
            continue
        if address not in heaps:
            heaps[address] = _heap(read, address, left)
            left -= len(heaps[address])
        position, size = heaps[address].get(number, (0, 0))
        if size < length:
            raise ValueError("a text is not in its heap, or longer than its place")
        found.append(read(position, length).partition(b"\0")[0])
    return found


def _heap(read: Read, address: int, most: int) -> dict[int, tuple[int, int]]:
    """Where each thing in a heap begins, and its size, by its number; at most so many are looked at."""
    sign, version, size = struct.unpack("<4sB3xQ", read(address, _HEAD))
    if sign != b"GCOL" or version != 1:
        raise ValueError("a text lies in no heap")
    found: dict[int, tuple[int, int]] = {}
    at, end = address + _HEAD, address + size
    while at + _HEAD <= end:
        number, _, size = struct.unpack("<HH4xQ", read(at, _HEAD))
        if not number:  # what is left of it is free
            break
        if number in found or len(found) >= most or at + _HEAD + size > end:
            raise ValueError("a heap of texts is damaged")
        found[number] = at + _HEAD, size
        at += _HEAD + -(-size // 8) * 8
    return found


def _is_empty(body: bytes) -> bool:
    start = 2 + (2 if body[1] & 1 else 0)
    (heap,) = struct.unpack_from("<Q", body, start)
    return bool(heap == _UNDEFINED)


def _messages(read: Read, address: int) -> Iterator[tuple[int, int, bytes]]:
    """The messages of an object's header: kind, flags, body."""
    start = read(address, 16)
    if start[:4] == b"OHDR":
        yield from _second(read, address)
        return
    version, _, _, _, size = struct.unpack_from("<BBHLL", start)
    if version != 1:
        raise ValueError("an object has no header where it should be")
    blocks = [(address + 16, size)]
    for position, length in _each(blocks):
        block = read(position, length)
        at = 0
        while at + 8 <= len(block):
            kind, size, flags = struct.unpack_from("<HHB", block, at)
            body = block[at + 8 : at + 8 + size]
            at += 8 + size
            if kind == _CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", body))
            yield kind, flags, body


def _second(read: Read, address: int) -> Iterator[tuple[int, int, bytes]]:
    """The same for the second form of header."""
    start = read(address, 64)
    flags = start[5]
    width = 1 << (flags & 3)
    at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    size = int.from_bytes(start[at : at + width], "little")
    extra = 2 if flags & 4 else 0
    blocks = [(address + at + width, size)]
    for position, length in _each(blocks):
        block = read(position, length)
        at = 0
        while at + 4 + extra <= len(block):
            kind, size, own = struct.unpack_from("<BHB", block, at)
            body = block[at + 4 + extra : at + 4 + extra + size]
            at += 4 + extra + size
            if kind == _CONTINUATION:
                place, length = struct.unpack_from("<QQ", body)
                blocks.append((place + 4, length - 8))  # between its signature and its checksum
            yield kind, own, body


def _each(blocks: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The blocks, those too that are appended meanwhile."""
    seen: set[int] = set()
    for position, length in blocks:
        if position in seen or len(seen) > MAX_BLOCKS:
            raise ValueError("an object's header goes round in a circle")
        seen.add(position)
        yield position, length


def _attribute(body: bytes) -> tuple[str, list[Text]]:
    """An attribute's name, and where its texts are."""
    version, flags, name_size, type_size, space_size = struct.unpack_from("<BBHHH", body)
    if version not in (1, 2, 3) or (version > 1 and flags):
        raise ValueError("an attribute is of an unknown form")

    def padded(size: int) -> int:
        return -(-size // 8) * 8 if version == 1 else size

    at = 9 if version == 3 else 8
    name = body[at : at + name_size].rstrip(b"\0").decode("utf-8", "replace")
    at += padded(name_size)
    kind = body[at] & 0xF
    at += padded(type_size)
    rank = body[at + 1]
    dimensions = at + (8 if body[at] == 1 else 4)
    count = math.prod(struct.unpack_from(f"<{rank}Q", body, dimensions))
    at += padded(space_size)
    if kind != _VARIABLE:
        return name, []
    if count * _ELEMENT > len(body) - at:
        raise ValueError(f"the attribute {name[:100]!r} has fewer texts than it says")
    return name, [struct.unpack_from("<LQL", body, at + k * _ELEMENT) for k in range(count)]
