"""What is in an ONNX file, told from its headers: the bytes of the weights are passed over, not read."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lstmcore.errors import ForeignFileError, UnsafeFileError
from lstmcore.interop.listing import Listed, Listing
from lstmcore.interop.onnx.loading import DTYPES
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.messages import MOST_TEXT, Field, Messages
from lstmcore.storage.opening import open_regular

_NAMES: Mapping[str, str] = {"f": "float", "i": "int", "u": "uint", "?": "bool"}


def list_onnx(path: PathLike) -> Listing:
    """The initializers of the graph, its inputs, outputs and ops, and who wrote the file.

    Raises ForeignFileError, DamagedFileError, and UnsafeFileError where it says more than a model has to say.
    """
    name = os.path.basename(os.fspath(path))
    with io.BufferedReader(open_regular(path)) as file:
        return _Lister(file, name, os.fstat(file.fileno()).st_size).model()


class _Lister(Messages):
    what = "ONNX file"

    def model(self) -> Listing:
        about: dict[str, Any] = {}
        graph: Field | None = None
        metadata: dict[str, str] = {}
        for number, value, begin in self.fields(0, self.size):
            if number == 7:
                graph = (number, value, begin)
            elif number in (2, 3) and begin >= 0:
                about[("producer", "producer_version")[number - 2]] = self.text(begin, value)
            elif number == 8 and begin >= 0:
                domain, version = self.opset(begin, value)
                about.setdefault("opset", {})[domain or "ai.onnx"] = version
            elif number == 14 and begin >= 0:
                metadata |= self.property(begin, value)
        if graph is None or graph[2] < 0:
            raise ForeignFileError(f"{self.name} is no ONNX file: it has no graph")
        if metadata.get("lstmcore.format"):
            about["streaming"] = metadata.get("lstmcore.streaming") == "true"
        arrays, found = self.graph(graph[2], graph[1])
        return Listing(tuple(arrays), {**about, **found, "metadata": sorted(metadata)})

    def opset(self, begin: int, size: int) -> tuple[str, int]:
        domain, version = "", 0
        for number, value, at in self.fields(begin, size):
            if number == 1:
                domain = self.text(at, value)
            elif number == 2:
                version = value
        return domain, version

    def property(self, begin: int, size: int) -> dict[str, str]:
        """A key of the metadata, and its value where that is short."""
        key, text = "", ""
        for number, value, at in self.fields(begin, size):
            if number == 1:
                key = self.text(at, value)
            elif number == 2:
                text = self.text(at, value) if value <= 64 else ""
        return {key: text}

    def graph(self, begin: int, size: int) -> tuple[list[Listed], dict[str, Any]]:
        arrays: list[Listed] = []
        ops: Counter[str] = Counter()
        ends: dict[int, list[dict[str, Any]]] = {11: [], 12: []}
        for number, value, at in self.fields(begin, size):
            if at < 0:
                continue
            if number == 5:
                arrays.append(self.tensor(at, value))
            elif number == 1:
                ops[self.op(at, value)] += 1
            elif number in ends:
                ends[number].append(self.end(at, value))
        held = {array.name for array in arrays}
        inputs = [entry for entry in ends[11] if entry["name"] not in held]
        return arrays, {"inputs": inputs, "outputs": ends[12], "ops": dict(sorted(ops.items()))}

    def op(self, begin: int, size: int) -> str:
        for number, value, at in self.fields(begin, size):
            if number == 4:
                return self.text(at, value)
        return ""

    def tensor(self, begin: int, size: int) -> Listed:
        name, code, shape = "", 0, []
        for number, value, at in self.fields(begin, size):
            if number == 1:
                shape += [value] if at < 0 else self.packed(at, value)
            elif number == 2:
                code = value
            elif number == 8:
                name = self.text(at, value)
        return Listed(name, tuple(shape), _dtype(code))

    def packed(self, begin: int, size: int) -> list[int]:
        if size > MOST_TEXT:
            raise UnsafeFileError(f"{self.name} has an array of more than {MOST_TEXT} axes")
        found = []
        self.file.seek(begin)
        while self.file.tell() < begin + size:
            found.append(self.varint())
        return found

    def end(self, begin: int, size: int) -> dict[str, Any]:
        """An input or output: its name, dtype and shape, where open lengths are names, or None."""
        found: dict[str, Any] = {"name": "", "dtype": "", "shape": None}
        for number, value, at in self.fields(begin, size):
            if number == 1:
                found["name"] = self.text(at, value)
            elif number == 2 and at >= 0:
                for inner, length, place in self.fields(at, value):
                    if inner == 1 and place >= 0:
                        found |= self.kind(place, length)
        return found

    def kind(self, begin: int, size: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, value, at in self.fields(begin, size):
            if number == 1:
                found["dtype"] = _dtype(value)
            elif number == 2 and at >= 0:
                found["shape"] = [
                    self.length(place, length) for inner, length, place in self.fields(at, value) if inner == 1
                ]
        return found

    def length(self, begin: int, size: int) -> int | str | None:
        for number, value, at in self.fields(begin, size):
            if number == 1:
                return value
            if number == 2:
                return self.text(at, value)
        return None


def _dtype(code: int) -> str:
    short = DTYPES.get(code)
    if short is None:
        return f"type {code}"
    return _NAMES[short[0]] + (str(8 * int(short[1:])) if short[1:] else "")
