"""What a process does beside reading the files that it was given, as an audit hook sees it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lstmcore

AMONG = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.kill", "subprocess.Popen", "ctypes.dlopen"}
AMONG |= {"socket.connect", "socket.getaddrinfo", "pickle.find_class", "tempfile.mkdtemp", "shutil.copyfile"}
AMONG |= {f"os.{word}" for word in ("mkdir", "rename", "remove", "link", "symlink", "truncate", "chmod")}
AMONG |= {"shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
OURS = "/proc/self/clear_refs"


class _Watch:
    """A hook cannot be taken away again: there is one, which looks while it is told to."""

    def __init__(self) -> None:
        self.on = self.there = False
        self.done: list[str] = []
        self.given: set[str] = set()
        self.folders: tuple[str, ...] = ()
        self.below = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "os.mkdir" and os.path.isdir(arguments[0]):
            return
        if event in AMONG:
            self.done.append(f"{event} {arguments[0]!r}"[:300])
        elif event == "exec" and not _installed(arguments[0].co_filename):
            self.done.append(f"exec {arguments[0].co_filename}"[:300])
        elif event == "open" and isinstance(arguments[0], str) and arguments[0] != OURS:
            path = os.path.realpath(arguments[0])
            if self.below and not os.path.isabs(arguments[0]) and ".." not in arguments[0].split(os.sep):
                return  # in a folder that is open: the hook is not told which
            if path in self.given or path.startswith(self.folders):
                return
            if not _installed(path) or arguments[2] & WRITES:
                self.done.append(f"open {path}"[:300])


_WATCH = _Watch()


@contextmanager
def watched(files: Iterable[str], below: bool = False) -> Iterator[list[str]]:
    """Within it, whatever is done is written down, but that these files, or files in these folders, are read.

    With ``below``, also files of no absolute path: of a process whose own folder is empty, they are in one of those.
    """
    if not _WATCH.there:
        sys.addaudithook(_WATCH)
        _WATCH.there = True
    given = [os.path.realpath(file) for file in files]
    _WATCH.given, _WATCH.folders = set(given), tuple(file + os.sep for file in given if os.path.isdir(file)) or ("\0",)
    _WATCH.done, _WATCH.below, _WATCH.on = [], below, True
    try:
        yield _WATCH.done
    finally:
        _WATCH.on = False


INSTALLED = [sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(lstmcore.__file__)), "/proc", "<frozen"]


def _installed(path: str) -> bool:
    return path.startswith(tuple(INSTALLED))
