"""A folder that one process holds alone, for as long as it lives."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstmcore.storage.atomic import PathLike

_held: set[int] = set()


class Taken(Exception):  # noqa: N818  what it means is for the caller to say
    """Somebody else holds the folder; the text says who, where that is known."""


@contextmanager
def locked(folder: PathLike) -> Iterator[None]:
    """Holds the folder while the block runs; `Taken` where another does, in this process or another of this machine.

    Nothing is written into it. The system lets go of it when the process ends, in whatever way. Where the file system
    has no locks, a warning says so; on Windows, which cannot lock a folder, nothing is held.
    """
    if os.name != "posix":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, os.fspath(folder))
        _held.add(descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _lock(descriptor: int, folder: str) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Taken(_holder(descriptor)) from None
    except OSError as error:
        warnings.warn(
            f"{folder} cannot be locked ({error.strerror}): see to it that no other process writes there", stacklevel=5
        )


def _holder(descriptor: int) -> str:
    """Who it is, where the system tells (proc(5), /proc/locks): kind, mode, process, device and inode of each lock."""
    inode = f":{os.fstat(descriptor).st_ino}"
    told = Path("/proc/locks")
    rows = [line.split() for line in told.read_text().splitlines()] if told.exists() else []
    found = [row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5].endswith(inode)]
    return f"process {found[0]}" if found else "another process"


def _let_go() -> None:
    """A process that was forked holds nothing: it may outlive the one that does."""
    while _held:
        os.close(_held.pop())


if os.name == "posix":
    os.register_at_fork(after_in_child=_let_go)
