"""The header of the weight file: what it must say, in writing and in reading. See docs/weight-file.md."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.errors import DamagedFileError, FileVersionError, ForeignFileError, WeightsError
from lstmcore.storage.container import (
    FILE_DTYPES,
    MAX_HEADER,
    METADATA,
    Entry,
    is_text,
    read_container,
    show,
    strict_json,
)

FORMAT = "lstmcore"
FORMAT_VERSION = 1
GATES = ops.Lstm.gates

_RESERVED = ("format", "format_version", "model", "gates", "opset", "lstmcore_version", "digests")


@dataclass(frozen=True)
class Header:
    """What a weight file says about itself. ``metadata`` is without the digests."""

    name: str
    size: int
    metadata: Mapping[str, str]
    tensors: Mapping[str, Entry]
    digests: Mapping[str, str]

    @property
    def model(self) -> str:
        """The description of the model, as it was given to ``write``."""
        return self.metadata["model"]


def make_metadata(model: str, extra: Mapping[str, str]) -> dict[str, str]:
    """All but the digests. WeightsError if something given cannot be stored."""
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": model,
        "gates": GATES,
        "opset": str(ops.OPSET),
        "lstmcore_version": _version(),
    }
    taken = sorted(set(extra) & set(_RESERVED))
    if taken:
        raise WeightsError(f"extra metadata {', '.join(taken)} would replace the format's own; rename them.")
    for key, value in {**metadata, **extra}.items():
        if not (isinstance(key, str) and isinstance(value, str) and is_text(key) and is_text(value)):
            raise WeightsError(f"metadata {show(key)} are {show(value)}; expected text without NUL.")
    return {**metadata, **extra}


def _version() -> str:
    try:
        return importlib.metadata.version("lstmcore")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def metadata_digest(metadata: Mapping[str, str]) -> str:
    """SHA-256 over each key and its text, both followed by NUL, in the order of the keys; without digests."""
    lines = (f"{key}\0{metadata[key]}\0" for key in sorted(metadata) if key != "digests")
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def make_header(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str], digests: Mapping[str, str]) -> bytes:
    """The bytes before the tensors, which follow in the order of ``arrays``. WeightsError if too many."""
    fields: dict[str, Any] = {METADATA: {**metadata, "digests": _json(digests)}}
    position = 0
    for name, array in arrays.items():
        start, position = position, position + array.nbytes
        dtype = FILE_DTYPES[array.dtype.name]
        fields[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [start, position]}
    raw = _json(fields).encode()
    raw += b" " * (-len(raw) % 8)
    if len(raw) > MAX_HEADER:
        raise WeightsError(
            f"the header would have {len(raw)} bytes, at most {MAX_HEADER} are allowed; the description "
            f"of the model has {len(metadata['model'])} characters. Does a layer's config hold an array?"
        )
    return len(raw).to_bytes(8, "little") + raw


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def read_header(file: io.FileIO, name: str) -> Header:
    """The header of an open file, whose name is for messages. Raises as ``WeightFile.open``."""
    container = read_container(file, name)
    metadata = container.metadata()
    _check_format(metadata, name)
    for key in _RESERVED:
        if key not in metadata:
            raise DamagedFileError(f"{name}: its metadata lack {key!r}.")
    tensors = container.entries()
    digests = _read_digests(metadata["digests"], tensors, name)
    del metadata["digests"]
    if metadata_digest(metadata) != digests[METADATA]:
        raise DamagedFileError(f"{name}: its metadata are not those that were written; use another copy.")
    _check_content(metadata, name)
    return Header(name, container.size, metadata, tensors, digests)


def is_own(file: io.FileIO) -> bool:
    """Whether the header of an open ``.safetensors`` file, sound or not, says that it is a weight file of lstmcore."""
    file.seek(0)
    length = int.from_bytes(file.read(8) or b"", "little")
    return re.search(rb'"format"\s*:\s*"lstmcore"', file.read(min(length, MAX_HEADER)) or b"") is not None


def _check_format(metadata: Mapping[str, str], name: str) -> None:
    if metadata.get("format") != FORMAT:
        given = show(metadata["format"]) if "format" in metadata else "missing"
        raise ForeignFileError(
            f"{name} is a safetensors file, but not a weight file of lstmcore: its metadata 'format' is "
            f"{given}, expected {FORMAT!r}. Give it to lc.import_model, with the model whose weights it holds: "
            "spec=model."
        )
    version = _number(metadata, "format_version", name)
    if version > FORMAT_VERSION:
        writer = show(metadata.get("lstmcore_version"))
        raise FileVersionError(
            f"{name} is of format version {version}, written by lstmcore {writer}; "
            f"this lstmcore reads version {FORMAT_VERSION}. Upgrade it."
        )


def _check_content(metadata: Mapping[str, str], name: str) -> None:
    if metadata["gates"] != GATES:
        raise ForeignFileError(
            f"{name} has its gates in the order {show(metadata['gates'])}; expected {GATES!r}. "
            f"It was not written by lstmcore: reorder them where it was."
        )
    opset = _number(metadata, "opset", name)
    if opset > ops.OPSET:
        raise FileVersionError(
            f"{name} needs opset {opset}, written by lstmcore {show(metadata['lstmcore_version'])}; "
            f"this lstmcore has opset {ops.OPSET}. Upgrade it."
        )


def _number(metadata: Mapping[str, str], key: str, name: str) -> int:
    text = metadata.get(key)
    if text is None or not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise DamagedFileError(f"{name}: its metadata {key!r} is {show(text)}; expected 1, 2, 3 ...")
    return int(text)


def _read_digests(text: str, tensors: Iterable[str], name: str) -> dict[str, str]:
    try:
        digests = strict_json(text)
    except ValueError as error:
        raise DamagedFileError(f"{name}: its digests are damaged: {error}.") from None
    wanted = {METADATA, *tensors}
    if not isinstance(digests, dict) or set(digests) != wanted:
        raise DamagedFileError(f"{name}: its digests are not one for each tensor and one for its metadata.")
    for key, digest in digests.items():
        if not (isinstance(digest, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", digest)):
            raise DamagedFileError(f"{name}: the digest of {show(key)} is {show(digest)}; expected sha256:...")
    return digests
