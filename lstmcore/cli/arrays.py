"""Arrays from .npy and .npz files, and to them."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import click
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lstmcore.errors import DamagedFileError, ForeignFileError, LstmcoreError
from lstmcore.storage.atomic import replacing
from lstmcore.storage.magic import HEAD, looks_like

Array = NDArray[Any]

_NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_array(path: Path, key: str | None) -> Array:
    """The array in a .npy file, or the one called ``key`` in a .npz file (its only one for None).

    Never unpickles. FileError for a file that is damaged or of another format, click.UsageError where
    ``key`` and the file do not go together.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(0)
        if head.startswith(_NPY):
            if key is not None:
                raise click.UsageError(f"--key is for .npz files; {path.name} is a .npy file and holds one array.")
            with _blaming(path.name):
                return _read(file, os.fstat(file.fileno()).st_size, path.name)
        if head.startswith(_ZIP):
            return _read_zip(file, path.name, key)
    looks = looks_like(head)
    told = "is empty" if not head else f"looks like {looks[0]}" if looks else "is of a format unknown here"
    raise ForeignFileError(f"{path.name} is not a .npy or .npz file; it {told}. Write it with np.save.")


def held_arrays(path: Path) -> list[str]:
    """What the arrays in a .npz file are called; FileError where it is none."""
    with path.open("rb") as file:
        if not file.read(HEAD).startswith(_ZIP):
            raise ForeignFileError(f"{path.name} is not a .npz file. Write it with np.savez.")
        file.seek(0)
        with _blaming(path.name), zipfile.ZipFile(file) as archive:
            return [info.filename.removesuffix(".npy") for info in archive.infolist()]


def read_inputs(path: Path, key: str | None, names: Sequence[str]) -> Any:
    """The array for a model's one input, or for several a dict of those of a .npz file that have their names."""
    if len(names) == 1:
        return read_array(path, key)
    if key is not None:
        raise click.UsageError(f"--key names one array, and the model takes {len(names)}: {', '.join(names)}.")
    with path.open("rb") as file:
        if not file.read(HEAD).startswith(_ZIP):
            raise click.UsageError(
                f"The model takes {len(names)} inputs: give a .npz file with arrays called {', '.join(names)}."
            )
    return {name: read_array(path, name) for name in names}


def _read_zip(file: IO[bytes], name: str, key: str | None) -> Array:
    with _blaming(name), zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        held = ", ".join(sorted(members)) or "none"
        if key is None and len(members) != 1:
            raise click.UsageError(f"{name} holds {len(members)} arrays: choose one with --key. It has: {held}.")
        if key is not None and key not in members:
            raise click.UsageError(f"{name} holds no array {key!r}. It has: {held}.")
        info = members[next(iter(members)) if key is None else key]
        with archive.open(info) as member:
            return _read(member, info.file_size, f"{name}: {info.filename}")


def _read(stream: IO[bytes], size: int, where: str) -> Array:
    version = npy.read_magic(cast(Any, stream))
    if version not in _HEADERS:
        raise ForeignFileError(f"{where} is of .npy version {version}; expected (1, 0) or (2, 0).")
    shape, _, dtype = _HEADERS[version](cast(Any, stream))
    if dtype.hasobject:
        raise ForeignFileError(f"{where} holds pickled Python objects, which are not read; expected numbers.")
    present, expected = size - stream.tell(), math.prod(shape) * dtype.itemsize
    if present != expected:
        raise DamagedFileError(f"{where} has {present} bytes of data; its header, {dtype} of {shape}, says {expected}.")
    stream.seek(0)
    return npy.read_array(cast(Any, stream), allow_pickle=False)


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Whatever a parser raises on a bad file becomes a DamagedFileError that names it."""
    try:
        yield
    except (LstmcoreError, click.UsageError, OSError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and numpy's header parser raise a dozen unrelated types
        raise DamagedFileError(f"{name} is damaged: {type(error).__name__}: {error}. Write it again.") from error


def check_output(path: Path, arrays: int, *inputs: Path) -> None:
    """click.UsageError where ``arrays`` cannot be written to ``path``, or that would replace an input."""
    if path.suffix not in (".npy", ".npz"):
        raise click.UsageError(f"--output {path.name!r}: expected a name that ends in .npy or .npz.")
    if arrays > 1 and path.suffix == ".npy":
        raise click.UsageError(f"the model has {arrays} outputs and a .npy file holds one; end --output in .npz.")
    if not path.resolve().parent.is_dir():
        raise click.UsageError(f"--output: there is no directory {path.parent}.")
    for given in inputs:
        if path.exists() and path.samefile(given):
            raise click.UsageError(f"--output {path} is the file that is read; give another name.")


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """One array to a .npy file, or all to a .npz file, by name; atomically."""
    with replacing(path) as file:
        if path.suffix == ".npy":
            (array,) = arrays.values()
            npy.write_array(file, array, allow_pickle=False)
        else:
            np.savez(file, **cast(Any, arrays))
