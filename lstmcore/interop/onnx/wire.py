"""How much memory the description in an ONNX file takes, told from its bytes before any of it is parsed.

Protocol buffers say little with many bytes or much with few: two bytes make a node of a graph, which takes a hundred
in memory. So the messages are counted first, without making one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lstmcore.errors import DamagedFileError, UnsafeFileError

MESSAGE = 200  # bytes in memory, at most, for a message or a text
PACKED = 8  # bytes in memory for one byte of a list of numbers
FREE = 32 << 20
FACTOR = 4  # memory beyond FREE for each byte of the file
DEEPEST = 32

_Schema = Mapping[int, Any]


def _schemas() -> _Schema:
    """Field number -> the schema of the messages there; those not named are texts, bytes or numbers."""
    graph: dict[int, Any] = {}
    tensor: dict[int, Any] = {4: "packed", 5: "packed", 7: "packed", 10: "packed", 11: "packed", 1: "packed", 13: {}}
    kind: dict[int, Any] = {}
    kind |= {1: {2: {1: {}}}, 4: {1: kind}, 5: {1: kind, 2: kind}, 8: {2: {1: {}}}, 9: {1: kind}}
    info = {2: kind, 4: {}}
    attribute = {5: tensor, 6: graph, 7: "packed", 8: "packed", 10: tensor, 11: graph, 14: kind, 15: kind}
    node = {5: attribute, 9: {}}
    graph |= {1: node, 5: tensor, 11: info, 12: info, 13: info, 14: {2: {}}, 15: {1: tensor, 2: tensor}, 16: {}}
    function = {7: node, 9: {}, 11: attribute, 12: info, 14: {}}
    return MappingProxyType({7: graph, 8: {}, 14: {}, 20: {1: graph, 2: graph}, 25: function})


SCHEMA = _schemas()


def check(data: bytes, name: str) -> None:
    """UnsafeFileError where parsing would take much more memory than the file is large."""
    counter = _Counter(data, name, FREE + FACTOR * len(data))
    counter.message(0, len(data), SCHEMA, 0)


def without_numbers(data: bytes, name: str, least: int) -> tuple[bytes, dict[int, memoryview]]:
    """The file without the raw numbers of its large initializers, and these by the initializer's position.

    They stay where they are, in ``data``: parsing what is left takes little memory. A file in which the graph or such
    numbers stand twice, of which the later count, stays as it is.
    """
    reader = _Counter(data, name, FREE + FACTOR * len(data))
    found: dict[int, memoryview] = {}
    top = list(reader.fields(0, len(data)))
    graphs = [entry for entry in top if entry[0] == 7]
    if len(graphs) != 1:
        return data, found
    view = memoryview(data)
    _, first, start, end = graphs[0]
    inner: list[bytes | memoryview] = []
    position = 0
    for number, key, at, stop in reader.fields(start, end):
        raws = [] if number != 5 else [entry for entry in reader.fields(at, stop) if entry[0] == 9]
        if len(raws) == 1 and raws[0][3] - raws[0][2] >= least:
            _, raw_key, raw_at, raw_stop = raws[0]
            found[position] = view[raw_at:raw_stop]
            inner += [b"\x2a", _varint(raw_key - at + stop - raw_stop), view[at:raw_key], view[raw_stop:stop]]
        else:
            inner.append(view[key:stop])
        position += number == 5
    graph = b"".join(inner)
    return b"".join([view[:first], b"\x3a", _varint(len(graph)), graph, view[end:]]), found


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 128:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


class _Counter:
    def __init__(self, data: bytes, name: str, budget: int) -> None:
        self.data, self.name, self.left = data, name, budget

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise UnsafeFileError(f"{self.name} would take far more memory than its {len(self.data)} bytes")

    def message(self, at: int, end: int, schema: Any, depth: int) -> None:
        if depth > DEEPEST:
            raise UnsafeFileError(f"{self.name} is nested more than {DEEPEST} deep")
        while at < end:
            key, at = self.varint(at, end)
            number, wire = key >> 3, key & 7
            if wire == 2:
                size, at = self.varint(at, end)
                if size > end - at:
                    raise self.damaged()
                self.field(at, at + size, schema.get(number), depth)
                at += size
            elif wire == 0:
                self.spend(PACKED)
                _, at = self.varint(at, end)
            elif wire in (1, 5):
                self.spend(PACKED)
                at += 8 if wire == 1 else 4
            else:
                raise self.damaged()
        if at != end:
            raise self.damaged()

    def fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """The number of each field, where its key, its content and the next field begin."""
        while at < end:
            key, content = self.varint(at, end)
            number, wire, stop = key >> 3, key & 7, 0
            if wire == 2:
                size, content = self.varint(content, end)
                stop = content + size
            elif wire == 0:
                _, stop = self.varint(content, end)
            else:
                stop = content + (8 if wire == 1 else 4)
            yield number if wire == 2 else 0, at, content, stop
            at = stop

    def field(self, at: int, end: int, schema: Any, depth: int) -> None:
        if schema == "packed":
            self.spend(PACKED * (end - at))
            return
        self.spend(MESSAGE)
        if schema is not None:
            self.message(at, end, schema, depth + 1)

    def varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
        raise self.damaged()

    def damaged(self) -> DamagedFileError:
        return DamagedFileError(f"{self.name} is cut short or altered, or no ONNX file")
