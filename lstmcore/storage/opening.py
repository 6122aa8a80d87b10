"""Files opened for reading: regular ones only, through one descriptor, and parts of them."""

from __future__ import annotations

import io
import os
import stat

from lstmcore.errors import FileError
from lstmcore.storage.atomic import PathLike, kind


def open_regular(path: PathLike, directory: int | None = None) -> io.FileIO:
    """Opens a regular file, unbuffered. FileError for a directory, a pipe or a device; OSError as ``open``.

    With the descriptor of a ``directory``, the path is a name in there, and a symbolic link is not followed.
    """
    # without O_NONBLOCK, a pipe would wait for a writer for ever
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= 0 if directory is None else os.O_NOFOLLOW
    descriptor = os.open(path, flags, dir_fd=directory)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise FileError(f"{os.path.basename(os.fspath(path))} is not a file but {kind(mode)}; give the path of a file.")
    return io.FileIO(descriptor, "rb")


def read_all(file: io.FileIO, most: int) -> bytes | None:
    """Everything from where the file stands to its end; None where that is more than ``most`` bytes."""
    data = b""
    while more := file.read(most + 1 - len(data)):
        data = data + more if data else more
        if len(data) > most:
            return None
    return data


class Window(io.RawIOBase):
    """The bytes ``start`` to ``start + size`` of a file, as a file of their own that is only read.

    A library that reads through it can be kept from long reads: those of more than ``most`` bytes are an OSError.
    """

    most: int | None = None

    def __init__(self, file: io.FileIO | io.BytesIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer would do
        view = memoryview(buffer).cast("B")
        if self.most is not None and len(view) > self.most:
            raise OSError(f"{len(view)} bytes in one piece, where at most {self.most} are expected")
        view = view[: max(self._size - self._position, 0)]
        if not view:
            return 0
        self._file.seek(self._start + self._position)
        count = self._file.readinto(view) or 0
        self._position += count
        return count
