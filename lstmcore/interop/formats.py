"""The formats that models come in: how each is recognised, what reads and writes it, and which engine judges it.

A new format is a row, here or in a plugin (`hookspecs.Format`). Modules that read and write one are imported when it
is needed.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lstmcore import plugins
from lstmcore.errors import (
    DamagedFileError,
    FileError,
    ForeignFileError,
    LstmcoreError,
    SpecError,
    UnsupportedFileError,
    near,
    shortened,
)
from lstmcore.hookspecs import Format, Judge
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.magic import HEAD, kind_of, looks_like
from lstmcore.storage.opening import open_regular
from lstmcore.weights import is_own

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel


FORMATS: tuple[Format, ...] = (
    Format(
        "lstmcore",
        (".safetensors",),
        ("lstmcore",),
        reads="lstmcore.interop.own:read",
        writes="lstmcore.interop.own:write",
        lists="lstmcore.interop.own:lists",
    ),
    Format(
        "keras",
        (".keras",),
        ("keras", "zip"),
        reads="lstmcore.interop.keras.files:read_archive",
        writes="lstmcore.interop.keras.write:write_archive",
        lists="lstmcore.interop.keras.listing:list_archive",
    ),
    Format(
        "hdf5",
        (".h5", ".hdf5", ".keras"),
        ("hdf5",),
        reads="lstmcore.interop.keras.files:read_hdf5",
        writes="lstmcore.interop.keras.write:write_hdf5_file",
        lists="lstmcore.interop.keras.listing:list_hdf5",
    ),
    Format(
        "json",
        (".json",),
        ("json", "text"),
        reads="lstmcore.interop.keras.files:read_json",
        lists="lstmcore.interop.keras.listing:list_json",
    ),
    Format(
        "onnx",
        (".onnx",),
        ("onnx",),
        reads="lstmcore.interop.formats:read_onnx",
        writes="lstmcore.interop.onnx.write:write",
        lists="lstmcore.interop.onnx.listing:list_onnx",
    ),
    Format(
        "pytorch",
        (".pt", ".pth", ".safetensors"),
        ("pt", "pytorch", "safetensors"),
        reads="lstmcore.interop.pytorch.files:read",
        writes="lstmcore.interop.pytorch.write:write",
        lists="lstmcore.interop.pytorch.files:lists",
    ),
    Format(
        "npz",
        (".npz",),
        ("npz", "zip"),
        reads="lstmcore.interop.npz.files:read",
        writes="lstmcore.interop.npz.files:write",
        lists="lstmcore.interop.npz.files:lists",
    ),
    Format(
        "c",
        (".h",),
        ("text",),
        reads="lstmcore.interop.c.reading:read",
        writes="lstmcore.interop.c.files:write",
        lists="lstmcore.interop.c.reading:lists",
    ),
)

JUDGES: tuple[Judge, ...] = (
    Judge(
        "onnx",
        "ONNX Runtime",
        "lstmcore.interop.onnx.verify:run",
        requires=("onnxruntime",),
        states=True,
        install="pip install 'lstmcore[onnx]'",
    ),
    Judge("c", "C compiler", "lstmcore.interop.c.judge:run", install="apt install gcc"),
)


def formats() -> tuple[Format, ...]:
    """All formats: those known here, then those of plugins."""
    return FORMATS + plugins.files().formats


def judges() -> tuple[Judge, ...]:
    """The engines that run files themselves, installed or not: `plugins.lacks` tells."""
    return JUDGES + plugins.files().judges


def import_model(
    path: PathLike, weights: PathLike | None = None, format: str | None = None, spec: Any = None, **options: Any
) -> BaseModel:
    """The model in a file of another program, with its weights; nothing in the file is run.

    ::

        model = lc.import_model("model.h5")  # or .keras: architecture and weights
        model = lc.import_model("model.json", weights="weights.h5")
        model = lc.import_model("weights.h5", spec=model)  # or spec="model.json", or the JSON itself

    Args:
        path: the file.
        weights: where ``path`` holds the architecture alone: the file with the weights.
        format: its name, such as "keras" or "hdf5"; otherwise told from the content, then from the suffix.
        spec: where ``path`` holds weights alone: the model they are for. A model is given the weights and returned.
        options: the format's own.

    Raises:
        FileError: every file that cannot be imported; its subclasses say whether it is damaged, unsafe, of another
            format, for another model, or needs what lstmcore lacks. There is then no model, and none is changed.
        OSError: there is no such file, or no permission.
        ImportError: what reads this format is not installed; the message says how to install it.
    """
    name = os.path.basename(os.path.abspath(path))
    row = _row(path, name, format)
    if row.reads is None:
        raise UnsupportedFileError(f"{name}: {row.name} files are written, not read. Give the file it was made from.")
    reader = _taking(row, function(row.reads), options)
    try:
        model: BaseModel = reader(path, weights, spec, **options)
    except FileError as error:
        if shortened(str(error)) != str(error):
            raise type(error)(shortened(str(error))) from None
        raise
    except LstmcoreError as error:
        raise UnsupportedFileError(shortened(f"{name}: {error}")) from None
    return model


def export_model(model: BaseModel, path: PathLike, format: str | None = None, **options: Any) -> None:
    """Writes the model to a file of another program, told by its suffix or by ``format``.

    ::

        lc.export_model(model, "model.onnx")
        lc.export_model(model, "stream.onnx", streaming=True)  # a piece of a sequence at a time

    ``options`` are the format's own; see `lstmcore.interop.onnx.write`. Nothing is lost: what the format cannot hold
    is refused.

    Raises:
        FileError: no such format is written, or it cannot hold the model.
        OSError: the file cannot be written; what was there is unchanged.
        ImportError: what writes this format is not installed; the message says how to install it.
    """
    row = row_written(path, format)
    _taking(row, function(str(row.writes)), options)(model, path, **options)


def read_onnx(
    path: PathLike,
    weights: PathLike | None,
    spec: Any,
    lengths: Mapping[str, int] | None = None,
    batch: Any = None,
) -> BaseModel:
    """The model in an ONNX file, which holds architecture and weights; ``lengths`` and ``batch`` as `onnx.read`."""
    from lstmcore.interop.onnx import read

    for what, given in (("weights", weights), ("spec", spec)):
        if given is not None:
            raise UnsupportedFileError(f"{what}= is given; an ONNX file holds architecture and weights itself.")
    return read(path, lengths=lengths, batch=batch)


def function(place: str) -> Callable[..., Any]:
    """The function that a row names."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def row_of(path: PathLike, format: str | None = None) -> Format:
    """The row of a file: that of the name, or told from its content and suffix. FileError where there is none."""
    return _row(path, os.path.basename(os.fspath(path)), format)


def row_written(path: PathLike, format: str | None = None) -> Format:
    """The row that writes files of that name; FileError where there is none."""
    given = os.fspath(path)
    name = os.path.basename(given.rstrip(os.sep))
    written = {row.name: row for row in formats() if row.writes is not None}
    if format is not None and format not in written:
        raise UnsupportedFileError(f"no format {format!r} is written.{near(format, written)}")
    found = [row for row in written.values() if row.name == format or given.lower().endswith(row.suffixes)]
    if not found:
        known = dict.fromkeys(suffix for row in written.values() for suffix in row.suffixes)
        suffixes = ", ".join("NAME/ (a folder)" if suffix == "/" else suffix for suffix in known)
        folders = [row.name for row in written.values() if "/" in row.suffixes]
        # a Path has lost the slash at the end that says that it is one
        told = f" For a folder, say which format: format={folders[0]!r}." if folders and "." not in name else ""
        raise UnsupportedFileError(f"{name}: no format with this suffix is written; expected one of {suffixes}.{told}")
    return next((row for row in found if row.name == format), found[0])


def _taking(row: Format, called: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """The function itself; SpecError where it has no such option."""
    known = set(inspect.signature(called).parameters) - {"path", "weights", "spec", "model"}
    for name in options:
        if name not in known:
            raise SpecError(f"{row.name} files have no option {name!r}.{near(name, known)}")
    return called


def _row(path: PathLike, name: str, format: str | None) -> Format:
    """The row of a file: that asked for, or that of its content, or of its suffix."""
    known = formats()
    named = {row.name: row for row in known}
    if format is not None:
        if format not in named:
            raise UnsupportedFileError(f"no format is called {format!r}.{near(format, named)}")
        return named[format]
    folders = [row for row in known if "/" in row.suffixes and os.path.isdir(path)]
    for row in folders:
        if any(os.path.lexists(os.path.join(path, kind)) for kind in row.kinds):
            return row
    with open_regular(path) as file:
        head = file.read(HEAD) or b""
        if not head:
            raise DamagedFileError(f"{name} is empty.")
        kind = "lstmcore" if (kind := kind_of(head)) == "safetensors" and is_own(file) else kind
    found = [row for row in known if kind in row.kinds]
    telling = [row for row in known if row in found or not row.kinds] if found else known
    by_suffix = [row for row in telling if name.lower().endswith(row.suffixes)]
    if kind == "text":  # which could be anything: its suffix tells
        found = by_suffix
    if (kind is None or found) and (by_suffix or found):
        return (by_suffix or found)[0]
    looks = looks_like(head)
    told = f"it looks like {looks[0]}" if looks else "its content and suffix are none of them"
    raise ForeignFileError(f"{name} is of no format that is read here: {told}. Known: {', '.join(named)}.")
