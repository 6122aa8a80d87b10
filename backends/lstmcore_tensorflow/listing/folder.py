"""The files of a SavedModel's folder, none of which may be a link."""

from __future__ import annotations

import io
import os
import stat

from lstmcore.errors import DamagedFileError, ForeignFileError, UnsafeFileError
from lstmcore.storage.atomic import PathLike
from lstmcore.storage.container import show
from lstmcore.storage.opening import open_regular, read_all

FORMAT = "lstmcore.saved_model"
VERSION = 1
EXTRA = "assets.extra"
ABOUT, MODEL = f"{EXTRA}/lstmcore.json", f"{EXTRA}/lstmcore.model.json"
GRAPH = "saved_model.pb"
INDEX, NUMBERS = "variables/variables.index", "variables/variables.data-00000-of-00001"
_MOST_FILES = 64


def called(path: PathLike) -> str:
    """The folder's name for messages."""
    return os.path.basename(os.path.abspath(os.fspath(path)))


def check_folder(path: PathLike) -> None:
    """ForeignFileError where it is none."""
    if not os.path.isdir(path):
        raise ForeignFileError(f"{called(path)} is no folder, and so no SavedModel.")


def opened(path: PathLike, inner: str) -> io.FileIO:
    """A file of the folder."""
    try:
        return open_regular(os.path.join(os.fspath(path), inner))
    except FileNotFoundError:
        raise DamagedFileError(f"{called(path)} has no {inner}; use another copy.") from None


def content(path: PathLike, inner: str, most: int) -> bytes:
    """All bytes of a file of the folder; UnsafeFileError where they are more than ``most``."""
    with opened(path, inner) as file:
        raw = read_all(file, most)
    if raw is None:
        raise UnsafeFileError(f"{called(path)}: {inner} has more than {most} bytes.")
    return raw


def sizes(folder: str, name: str) -> dict[str, int]:
    """The size of each file, by its path within; UnsafeFileError for links, and for more than there can be."""
    found: dict[str, int] = {}
    count = 0
    for inner, folders, files in os.walk(folder):
        for entry in (*folders, *files):
            whole = os.path.join(inner, entry)
            told, count = os.lstat(whole), count + 1
            if not (stat.S_ISREG(told.st_mode) or stat.S_ISDIR(told.st_mode)) or count > _MOST_FILES:
                raise UnsafeFileError(f"{name} holds {show(entry)}, which is no file of a SavedModel.")
            if stat.S_ISREG(told.st_mode):
                found[os.path.relpath(whole, folder).replace(os.sep, "/")] = told.st_size
    return dict(sorted(found.items()))
