"""What is in a TFLite file, of anybody, told from its tables: the bytes of the weights are passed over, not read.

A FlatBuffer: a table says at its start where the list of its fields is; a field holds a number, or how far away a text,
a list or another table is. Fields are numbered as in tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from typing import Any

from lstmcore.errors import DamagedFileError, ForeignFileError, UnsafeFileError
from lstmcore.interop.listing import Listed, Listing
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import MAX_AXES
from lstmcore.storage.description import MAX_BYTES, read_description
from lstmcore.storage.opening import open_regular
from lstmcore_tensorflow.listing.schema import DTYPES, OPS

FORMAT = "lstmcore.tflite"
VERSION = 1
MODEL, ABOUT = "lstmcore.model", "lstmcore.about"
_CUSTOM = OPS.index("CUSTOM")
_MOST = 1 << 18  # tables, and entries of lists
_MOST_TEXT = 1 << 16


def lists(path: PathLike) -> Listing:
    """The constants, the inputs and outputs, how often each op is there, and who wrote the file.

    Raises ForeignFileError, DamagedFileError, and UnsafeFileError where it says more than a model has to say.
    """
    name = os.path.basename(os.fspath(path))
    with io.BufferedReader(open_regular(path)) as file:
        return _Model(file, name, os.fstat(file.fileno()).st_size).listing()


def said(raw: bytes, name: str) -> dict[str, Any]:
    """The parsed text of `ABOUT`; DamagedFileError where it is of another format or version."""
    about = read_description(raw, f"{name}, {ABOUT}")
    if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("version") != VERSION:
        raise DamagedFileError(f"{name}: its {ABOUT} is not of format {FORMAT}, version {VERSION}.")
    return about


class _Flat:
    """Tables in a file. Places are offsets from its start; 0 is none."""

    def __init__(self, file: io.BufferedReader[Any], name: str, size: int) -> None:
        self.file, self.name, self.size, self.left = file, name, size, _MOST
        self.letters = size + _MOST_TEXT  # many may be one and the same in the file

    def raw(self, at: int, count: int) -> bytes:
        if not 0 <= at <= self.size - count:
            raise DamagedFileError(f"{self.name} is cut short or altered.")
        self.file.seek(at)
        found = self.file.read(count)
        if len(found) != count:
            raise DamagedFileError(f"{self.name} was cut short while it was read.")
        return found

    def number(self, at: int, width: int = 4, signed: bool = True) -> int:
        return int.from_bytes(self.raw(at, width), "little", signed=signed)

    def away(self, at: int) -> int:
        """The place that is written there, as the distance to it."""
        return at + self.number(at, signed=False)

    def field(self, table: int, slot: int) -> int:
        """Where the field of a table is."""
        listed = table - self.number(table)
        here = 4 + 2 * slot
        inside = here + 2 <= self.number(listed, 2, False)
        distance = self.number(listed + here, 2, False) if inside else 0
        return table + distance if distance else 0

    def value(self, table: int, slot: int, width: int = 4, signed: bool = True) -> int:
        at = self.field(table, slot)
        return self.number(at, width, signed) if at else 0

    def vector(self, table: int, slot: int) -> tuple[int, int]:
        """Where the entries of a list are, and how many."""
        at = self.field(table, slot)
        if not at:
            return 0, 0
        start = self.away(at)
        return start + 4, self.number(start, signed=False)

    def entries(self, table: int, slot: int) -> range:
        """Where each entry of a list of numbers is."""
        start, count = self.vector(table, slot)
        self.left -= count + 1
        if self.left < 0:
            raise UnsafeFileError(f"{self.name} has lists of more than {_MOST} entries.")
        return range(start, start + 4 * count, 4)

    def tables(self, table: int, slot: int) -> list[int]:
        return [self.away(at) for at in self.entries(table, slot)]

    def text(self, table: int, slot: int) -> str:
        start, count = self.vector(table, slot)
        self.letters -= count
        if count > _MOST_TEXT or self.letters < 0:
            raise UnsafeFileError(f"{self.name} has a name of {count} bytes, which is more than is read.")
        return self.raw(start, count).decode("utf-8", "replace") if start else ""


class _Model(_Flat):
    def listing(self) -> Listing:
        if self.size < 8 or self.raw(4, 4) != b"TFL3":
            raise ForeignFileError(f"{self.name} is no TFLite file.")
        root = self.away(0)
        buffers, graphs = self.tables(root, 4), self.tables(root, 2)
        names = [self.code(table) for table in self.tables(root, 1)]
        if not graphs:
            raise DamagedFileError(f"{self.name} is damaged: it has no graph.")
        ops: Counter[str] = Counter()
        arrays: list[Listed] = []
        tensors: list[list[Listed]] = []
        for graph in graphs:
            own = self.tables(graph, 0)
            tensors.append([self.tensor(table) for table in own])
            held = [self.holds(table, buffers) for table in own]
            arrays += [entry for entry, holds in zip(tensors[-1], held, strict=True) if holds]
            for table in self.tables(graph, 3):
                ops[self.of(names, self.value(table, 0, signed=False))] += 1
        about = {**self.ours(root, buffers), "description": self.text(root, 3)}
        return Listing(tuple(arrays), {**about, **self.ends(root, graphs, tensors), "ops": dict(sorted(ops.items()))})

    def of(self, entries: Any, index: int) -> Any:
        if not 0 <= index < len(entries):
            raise DamagedFileError(f"{self.name} is damaged: it has {len(entries)} of what it counts {index + 1}.")
        return entries[index]

    def code(self, table: int) -> str:
        """An op's name: the newer field, or the older, a byte, where that is larger."""
        code = max(self.value(table, 3), self.value(table, 0, 1))
        own = self.text(table, 1) if code == _CUSTOM else ""
        return own or (OPS[code] if 0 <= code < len(OPS) else f"op {code}")

    def tensor(self, table: int) -> Listed:
        code = self.value(table, 1, 1, False)
        signature = self.lengths(table, 7) or self.lengths(table, 0)
        dtype = DTYPES[code] if code < len(DTYPES) else f"type {code}"
        return Listed(self.text(table, 3), tuple(signature), dtype)

    def lengths(self, table: int, slot: int) -> list[int]:
        found = self.entries(table, slot)
        if len(found) > MAX_AXES:
            raise UnsafeFileError(f"{self.name} has an array of {len(found)} axes; at most {MAX_AXES} are read.")
        return [self.number(at) for at in found]

    def holds(self, table: int, buffers: list[int]) -> bool:
        """Whether a tensor is a constant: it has numbers, here or behind the tables."""
        buffer = self.of(buffers, self.value(table, 2, signed=False))
        return bool(self.vector(buffer, 0)[1] or self.value(buffer, 2, 8, False) or self.value(table, 10, 4, False))

    def ends(self, root: int, graphs: list[int], tensors: list[list[Listed]]) -> dict[str, Any]:
        """Inputs and outputs: by the names of the first signature, else those of the first graph."""
        signatures = self.tables(root, 7)
        if not signatures:
            places = {key: [self.number(at) for at in self.entries(graphs[0], slot)] for key, slot in _ENDS}
            return {key: [_end(self.of(tensors[0], k)) for k in found] for key, found in places.items()}
        graph = self.of(tensors, self.value(signatures[0], 4, signed=False))
        found = {}
        for key, slot in _ENDS:
            maps = self.tables(signatures[0], slot - 1)
            named = [(self.text(table, 0), self.value(table, 1, signed=False)) for table in maps]
            found[key] = [_end(self.of(graph, index), name) for name, index in named]
        return found

    def ours(self, root: int, buffers: list[int]) -> dict[str, Any]:
        """What lstmcore wrote into its metadata."""
        metadata = {self.text(table, 0): self.value(table, 1, signed=False) for table in self.tables(root, 6)}
        if ABOUT not in metadata:
            return {}
        about = said(self.data(self.of(buffers, metadata[ABOUT])), self.name)
        found = {"written by": f"lstmcore {about.get('lstmcore')}", "streaming": about.get("streaming") is True}
        if MODEL in metadata:
            model = read_description(self.data(self.of(buffers, metadata[MODEL])), f"{self.name}, {MODEL}")
            config = model.get("config") if isinstance(model, dict) else None
            found |= {"model": str(config.get("name"))} if isinstance(config, dict) else {}
        return found

    def data(self, buffer: int) -> bytes:
        start, count = self.vector(buffer, 0)
        if count > MAX_BYTES:
            raise UnsafeFileError(f"{self.name} has {count} bytes of JSON; at most {MAX_BYTES} are read.")
        return self.raw(start, count)


_ENDS = (("inputs", 1), ("outputs", 2))


def _end(tensor: Listed, name: str | None = None) -> dict[str, Any]:
    shape = [None if length < 0 else length for length in tensor.shape]
    return {"name": tensor.name if name is None else name, "dtype": tensor.dtype, "shape": shape}
