"""A file that one process holds alone, for as long as it lives."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lstmcore.storage.atomic import PathLike

_held: set[str] = set()
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class Taken(Exception):  # noqa: N818  what it means is for the caller to say
    """Somebody else holds the file; the text says who, where that is known."""


@contextmanager
def locked(path: PathLike) -> Iterator[None]:
    """Holds the file, which is made if need be and stays, while the block runs. `Taken` where another does.

    The system lets go of it when the process ends, in whatever way: a file that is left behind locks nobody out. Where
    the file system has no locks, a warning says so.
    """
    place = os.path.realpath(path)
    if place in _held:
        raise Taken("this very process")
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
    _held.add(place)
    try:
        _lock(descriptor, place)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()}".encode())
        yield
    finally:
        _held.discard(place)
        with suppress(OSError):
            os.close(descriptor)


def _lock(descriptor: int, place: str) -> None:
    try:
        _take(descriptor)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise Taken(os.read(descriptor, 64).decode("ascii", "replace").strip() or "another process") from None
        warnings.warn(
            f"{os.path.dirname(place)} is on a file system without locks: see to it that no other process writes there",
            stacklevel=5,
        )


def _take(descriptor: int) -> None:
    """Locks the file for this process and none that it starts; OSError where another has it."""
    if os.name == "posix":
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # behind the text, which others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # there is one on Windows alone
        os.lseek(descriptor, 0, os.SEEK_SET)
