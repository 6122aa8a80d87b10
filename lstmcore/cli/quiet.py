"""Keeps what engines print from native code off the terminal while they load and run."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TextIO

from lstmcore.cli.failures import debugging

STDERR = 2


@contextmanager
def quiet_engines(message: str = "") -> Iterator[None]:
    """Within it, file descriptor 2 is a temporary file, and ``message`` is shown on a terminal.

    Frameworks write notes there that no logging setting reaches. Python's own ``sys.stderr`` still
    writes where it did: warnings, logging and progress are seen. After an exception the notes are
    replayed; with LSTMCORE_DEBUG=1 they are never held back.
    """
    with ExitStack() as stack:
        if not debugging() and _is_open(STDERR):
            stack.enter_context(_held_back())
        if message:
            stack.enter_context(_spinner(message))
        yield


@contextmanager
def _held_back() -> Iterator[None]:
    with tempfile.TemporaryFile() as notes, ExitStack() as stack:
        stderr = sys.stderr
        if _writes_to(stderr, STDERR):
            stderr.flush()
            sys.stderr = _own_stderr()
            stack.callback(setattr, sys, "stderr", stderr)
        kept = os.dup(STDERR)
        stack.callback(os.close, kept)
        os.dup2(notes.fileno(), STDERR)
        try:
            yield
        except Exception:
            os.dup2(kept, STDERR)
            notes.seek(0)
            with open(STDERR, "wb", closefd=False) as out:
                shutil.copyfileobj(notes, out)
            raise
        finally:
            os.dup2(kept, STDERR)


@lru_cache(maxsize=1)
def _own_stderr() -> TextIO:
    """A stream to where stderr led at first; never closed, because loggers made meanwhile keep it."""
    return open(os.dup(STDERR), "w", buffering=1, errors="backslashreplace", closefd=False)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _writes_to(stream: TextIO | None, descriptor: int) -> bool:
    try:
        return stream is not None and stream.fileno() == descriptor
    except (OSError, ValueError, io.UnsupportedOperation):
        return False


@contextmanager
def _spinner(message: str) -> Iterator[None]:
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(message):
        yield
