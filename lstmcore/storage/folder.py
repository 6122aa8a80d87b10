"""Folders that are replaced whole: written beside the old one, then put in its place."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lstmcore.errors import FileError
from lstmcore.storage.atomic import PathLike, kind


@contextmanager
def replacing_folder(path: PathLike, is_old: Callable[[str], str]) -> Iterator[str]:
    """A new, empty folder to write into, which takes the place of ``path`` when the block ends without an error.

    ``is_old(folder)`` says why a folder that is there may not be replaced, "" if it may. The old one is moved aside,
    the new one put in its place, and the old one deleted: a reader finds one of them whole or, between the two moves,
    none. After an error nothing has changed; a process killed while it writes leaves ``.NAME.*.tmp`` behind.

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
            os.rename(target, old)
        try:
            os.rename(fresh, target)
        except OSError:
            if there:
                os.rename(old, target)
            raise
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


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
