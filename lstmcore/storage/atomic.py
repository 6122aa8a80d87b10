"""Files that are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from lstmcore.errors import FileError

PathLike = str | os.PathLike[str]


@contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """A new file to write, which takes the place of ``path`` when the block ends without an error.

    Whoever opens ``path`` finds the old file or the new one, whole, at any instant: the new one is
    written beside it, flushed to the disk and renamed over it. After an error nothing is left behind.
    A process killed while it writes leaves ``.NAME.*.tmp`` next to ``path``; it may be deleted once no
    writer runs. A symbolic link stays, and what it points to is replaced; a hard link is cut off. The
    mode is that of the file replaced; that of any new file where there was none.

    Raises FileError where ``path`` is something else than a file, and OSError, with the reason and
    after clearing up, where it cannot be written: no space, no such directory, no permission.
    """
    target = os.path.realpath(path)
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f".{name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        with _create(temporary, _mode(target)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:
            reason = f"{error.strerror}; nothing was written, and what was there before is unchanged"
            raise OSError(error.errno, reason, os.fspath(path)) from error
        raise
    sync(directory)


def _mode(target: str) -> int | None:
    """The permissions of the file to be replaced, None where there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise FileError(f"{os.path.basename(target)} is not a file but {kind(mode)}; give another path.")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "The file is read-only", target)
    return stat.S_IMODE(mode)


def _create(temporary: str, mode: int | None) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666 if mode is None else mode)
    if mode is not None and os.name == "posix":
        os.fchmod(descriptor, mode)
    return open(descriptor, "w+b")


def sync(directory: str) -> None:
    """Makes a rename last; Windows has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind(mode: int) -> str:
    """What a thing of that ``st_mode`` is, other than a file."""
    return next((text for test, text in _KINDS if test(mode)), "something else")
