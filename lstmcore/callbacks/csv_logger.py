"""The logs of each epoch as a row of a CSV file."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from lstmcore.callbacks.base import COUNT, Callback, Logs, State, check_state, read
from lstmcore.errors import FileError
from lstmcore.optimizers.checks import FLAG, Kind, optional
from lstmcore.storage.atomic import replacing


def _separator(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or value in '"\r\n':
        raise ValueError
    return value


SEPARATOR = Kind("one character", _separator)


class CSVLogger(Callback):
    """Writes a row for each epoch: its number, counted from 0, and its logs in the order of their names; as Keras 3.15.

    A row is written whole and at once, so that a killed run leaves whole rows. A resumed run drops what the
    interrupted one wrote of the epochs that come again, and goes on.

    Args:
        filename: the file.
        separator: what stands between the values.
        append: go on in a file that exists, under its header. Otherwise it is replaced.

    Raises:
        SpecError: an argument is not as above.
        FileError: as training begins: the file to go on in was not written by a CSVLogger.
        OSError: it cannot be written.
    """

    reads_weights = False

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.filename = os.fspath(filename)
        self.separator: str = read(self, "separator", SEPARATOR, separator)
        self.append: bool = read(self, "append", FLAG, append)
        self._start: int | None = None  # where this run's rows begin in the file, in bytes
        self._columns: list[str] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.resumed and self._start is not None:
            before = self._before(self._start, self.params.get("initial_epoch", 0))
        else:
            before = self._earlier()
            self._start = len(before)
        self._columns = self._header(before)
        with replacing(self.filename) as file:
            file.write(before)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        text = ""
        if self._columns is None:
            self._columns = _columns(logs)
            text = self._row(["epoch", *self._columns])
        left = sorted(set(logs) - set(self._columns))
        if left:
            warnings.warn(
                f"CSVLogger: the header of {self.filename} has no column for {', '.join(left)}, which are not written",
                stacklevel=2,
            )
        text += self._row([epoch, *(logs.get(name, "NA") for name in self._columns)])
        with open(self.filename, "ab", buffering=0) as file:
            file.write(text.encode("utf-8"))

    def state(self) -> State:
        return {"start": len(self._earlier()) if self._start is None else self._start}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_state(self, state, {"start": optional(COUNT)})
        self._start = state["start"]

    def _row(self, values: Sequence[Any]) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=self.separator).writerow(values)
        return line.getvalue()

    def _rows(self, data: bytes) -> list[list[str]]:
        return list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=self.separator))

    def _header(self, data: bytes) -> list[str] | None:
        rows = self._rows(data.partition(b"\n")[0])
        if not rows:
            return None
        if rows[0][:1] != ["epoch"]:
            raise FileError(
                f"{self.filename} begins with {', '.join(rows[0])!r}; expected the header of a CSVLogger with "
                f"separator {self.separator!r}, which begins with 'epoch'; give another file, or append=False"
            )
        return rows[0][1:]

    def _earlier(self) -> bytes:
        """What the file holds of earlier runs, in whole lines, before this one begins."""
        if not self.append or not os.path.exists(self.filename):
            return b""
        with open(self.filename, "rb") as file:
            data = file.read()
        return data if not data or data.endswith(b"\n") else data + b"\r\n"

    def _before(self, start: int, epoch: int) -> bytes:
        """What the file holds of earlier runs, and this run's whole rows of the epochs before that one."""
        if not os.path.exists(self.filename):
            return b""
        with open(self.filename, "rb") as file:
            earlier, own = file.read(start), file.read()
        rows = self._rows(own[: own.rfind(b"\n") + 1])
        kept = [row for row in rows if row[:1] == ["epoch"] or (row and row[0].isdigit() and int(row[0]) < epoch)]
        return earlier + "".join(map(self._row, kept)).encode("utf-8")


def _columns(logs: Mapping[str, Any]) -> list[str]:
    """Keras' columns: where the first epoch had no validation, later ones may."""
    names = sorted(logs)
    validated = any(name.startswith("val_") for name in names)
    return names if validated else [*names, *(f"val_{name}" for name in names)]
