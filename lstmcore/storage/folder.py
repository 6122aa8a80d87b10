"""Folders that are replaced whole: written beside the old one, then put in its place."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lstmcore.errors import FileError
from lstmcore.storage.atomic import PathLike, kind, sync

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)


@contextmanager
def replacing_folder(path: PathLike, is_old: Callable[[str], str]) -> Iterator[str]:
    """A new, empty folder to write into, which takes the place of ``path`` when the block ends without an error.

    ``is_old(folder)`` says why a folder that is there may not be replaced, "" if it may. On Linux the two change names
    at one instant, and the old one is deleted: a reader finds one of them whole. Where the system, or the file system,
    has no such call, the old one is moved aside first, and for that moment there is none. A process killed in it leaves
    both whole, as ``.NAME.*.old`` and ``.NAME.*.tmp``; one killed while it writes leaves an unfinished ``.NAME.*.tmp``
    beside the old one. After an error nothing has changed.

    Raises FileError where ``path`` is something else than such a folder, OSError where it cannot be written.
    """
    target = os.path.realpath(path)
    directory, name = os.path.split(target)
    beside = os.path.join(directory, f".{name[:40]}.{secrets.token_hex(8)}")
    fresh, old = f"{beside}.tmp", f"{beside}.old"
    there = _check(target, name, is_old)
    os.mkdir(fresh)
    try:
        yield fresh
        _flush(fresh)
        if there:
            take_place(fresh, target, old)
        else:
            os.rename(fresh, target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    sync(directory)
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)


def take_place(fresh: str, target: str, old: str) -> None:
    """Puts a folder in the place of another, which is at ``fresh`` or ``old`` then; see `replacing_folder`."""
    if _exchange(fresh, target):
        return
    os.rename(target, old)
    try:
        os.rename(fresh, target)
    except OSError:
        os.rename(old, target)
        raise


def _exchange(one: str, other: str) -> bool:
    """Lets two folders change names at one instant; False where the system, or the file system, has no such call."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if call is None:
        return False
    return bool(call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def _check(target: str, name: str, is_old: Callable[[str], str]) -> bool:
    """Whether something is there; FileError where it must stay."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        what = "a file" if stat.S_ISREG(mode) else kind(mode)
        raise FileError(f"{name} is not a folder but {what}; give another path.")
    if os.listdir(target) and (why := is_old(target)):
        raise FileError(f"{name} is a folder that {why}; it is not replaced. Give another path, or delete it.")
    return True


def _flush(folder: str) -> None:
    """Brings all files to the disk."""
    for inner, _, files in os.walk(folder):
        for file in files:
            descriptor = os.open(os.path.join(inner, file), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
