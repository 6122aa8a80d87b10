"""What is in a SavedModel folder, of anybody: its variables, from their index; its signature and ops, from the graph.

The graph is a protocol buffer, tensorflow/core/protobuf/saved_model.proto and meta_graph.proto. It is not run.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lstmcore.errors import DamagedFileError
from lstmcore.interop.listing import Listed, Listing
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.description import MAX_BYTES, read_description
from lstmcore.storage.messages import Messages
from lstmcore_tensorflow.listing.folder import (
    ABOUT,
    FORMAT,
    GRAPH,
    INDEX,
    MODEL,
    called,
    check_folder,
    content,
    opened,
    sizes,
)
from lstmcore_tensorflow.listing.folder import VERSION as FORMAT_VERSION
from lstmcore_tensorflow.listing.variables import DTYPES, MOST_BYTES, VALUE, read_index

SIGNATURE = "serving_default"
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


def lists(path: PathLike) -> Listing:
    """The variables, the signature that serves, how often each op is in the graph, and who wrote the folder.

    Raises ForeignFileError, DamagedFileError, UnsafeFileError.
    """
    check_folder(path)
    name, held = called(path), sizes(os.fspath(path), called(path))
    with io.BufferedReader(opened(path, GRAPH)) as file:
        about = _Graph(file, f"{name}, {GRAPH}", held[GRAPH]).told()
    if ABOUT in held:
        about = {**_ours(path, name), **about}
    # a model without variables has no index
    entries = read_index(content(path, INDEX, MOST_BYTES), f"{name}, {INDEX}") if INDEX in held else {}
    arrays = [Listed(_name(key), entry.shape, entry.dtype) for key, entry in entries.items() if key != _OBJECTS]
    return Listing(tuple(arrays), about)


def _name(key: str) -> str:
    """A variable's name, without what TensorFlow writes for the slashes and dots in the name of an attribute."""
    return re.sub(r"\.([S.])", lambda found: "/" if found[1] == "S" else ".", key.removesuffix(VALUE))


def _ours(path: PathLike, name: str) -> dict[str, Any]:
    """What lstmcore wrote beside the graph."""
    about = said(content(path, ABOUT, MAX_BYTES), name)
    model = read_description(content(path, MODEL, MAX_BYTES), f"{name}, {MODEL}")
    config = model.get("config") if isinstance(model, dict) else None
    found = {"written by": f"lstmcore {about.get('lstmcore')}", "streaming": about.get("streaming") is True}
    return {**found, **({"model": str(config.get("name"))} if isinstance(config, dict) else {})}


def said(raw: bytes, name: str) -> dict[str, Any]:
    """The parsed text of `ABOUT`; DamagedFileError where it is of another format or version."""
    about = read_description(raw, f"{name}, {ABOUT}")
    if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("version") != FORMAT_VERSION:
        raise DamagedFileError(f"{name}: its {ABOUT} is not of format {FORMAT}, version {FORMAT_VERSION}.")
    return about


class _Graph(Messages):
    what = "graph of TensorFlow"

    def told(self) -> dict[str, Any]:
        """Of the first graph of the folder; there is one."""
        graph = next(self.inside(0, self.size, 2), None)
        if graph is None:
            raise self.damaged()
        ops: Counter[str] = Counter()
        signatures: dict[str, tuple[int, int]] = {}
        version = ""
        for number, size, at in self.fields(*graph):
            if at < 0:
                continue
            if number == 1:
                version = next((self.text(*place) for place in self.inside(at, size, 5)), "")
            elif number == 2:
                self._count(at, size, ops)
            elif number == 5:
                key, place = self._entry(at, size)
                signatures[key] = place
        about = {"TensorFlow": version, **self._signature(signatures), "ops": dict(sorted(ops.items()))}
        return {key: value for key, value in about.items() if value}

    def _count(self, begin: int, size: int, ops: Counter[str]) -> None:
        """The ops of a graph, and of its functions."""
        for number, length, at in self.fields(begin, size):
            if number == 1 and at >= 0:
                self._op(at, length, ops)
            elif number == 2 and at >= 0:
                for function in self.inside(at, length, 1):
                    for node in self.inside(*function, 3):
                        self._op(*node, ops)

    def _op(self, begin: int, size: int, ops: Counter[str]) -> None:
        for place in self.inside(begin, size, 2):
            ops[self.text(*place)] += 1

    def _entry(self, begin: int, size: int) -> tuple[str, tuple[int, int]]:
        """A key of a map, and where its value is."""
        key, place = "", (begin, 0)
        for number, length, at in self.fields(begin, size):
            if number == 1:
                key = self.text(at, length)
            elif number == 2 and at >= 0:
                place = (at, length)
        return key, place

    def _signature(self, signatures: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        if SIGNATURE not in signatures:
            return {"signatures": ", ".join(sorted(signatures))}
        ends: dict[str, list[dict[str, Any]]] = {"inputs": [], "outputs": []}
        for number, length, at in self.fields(*signatures[SIGNATURE]):
            if number in (1, 2) and at >= 0:
                name, place = self._entry(at, length)
                ends["inputs" if number == 1 else "outputs"].append({"name": name, **self._tensor(*place)})
        return {key: sorted(found, key=lambda end: str(end["name"])) for key, found in ends.items()}

    def _tensor(self, begin: int, size: int) -> dict[str, Any]:
        found: dict[str, Any] = {"dtype": "", "shape": None}
        for number, value, at in self.fields(begin, size):
            if number == 2:
                found["dtype"] = DTYPES.get(value, f"type {value}")
            elif number == 3 and at >= 0:
                found["shape"] = [self._length(*place) for place in self.inside(at, value, 2)]
        return found

    def _length(self, begin: int, size: int) -> int | None:
        """An open one is -1, which is a number of 64 bits here; 0 is not written down."""
        length = next((value for number, value, at in self.fields(begin, size) if number == 1 and at < 0), 0)
        return length if length < 1 << 63 else None
