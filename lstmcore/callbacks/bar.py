"""A progress bar on a terminal, drawn with rich."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

INTERVAL = 0.1  # seconds from one drawing to the next
WIDTH = 20


class Bar:
    """One bar: a title, how far it is, the time left, and a text. It is gone once it is stopped.

    What is printed meanwhile appears above it. It draws only when it is shown something, in the caller's thread.
    """

    def __init__(self, title: str, total: int | None) -> None:
        self._total = total
        self._drawn = -INTERVAL
        plain = Column(no_wrap=True)
        columns = [TextColumn("{task.description}", markup=False, table_column=plain)]
        if total is not None:
            columns.append(BarColumn(WIDTH))  # type: ignore[arg-type]  # a list of columns, whichever
        rest = Column(no_wrap=True, overflow="ellipsis")
        columns.append(TextColumn("{task.fields[text]}", markup=False, table_column=rest))
        self._progress = Progress(*columns, console=Console(highlight=False), auto_refresh=False, transient=True)
        self._progress.start()
        self._task = self._progress.add_task(title, total=total, text=self._count(0))
        self._progress.refresh()

    def is_due(self, now: float) -> bool:
        """Whether it is time to draw again."""
        if now - self._drawn < INTERVAL:
            return False
        self._drawn = now
        return True

    def show(self, done: int, seconds: float, text: str) -> None:
        """So many steps are done, each takes so many seconds, and the text says what they gave."""
        from lstmcore.callbacks.progress import pace

        parts = [self._count(done), pace(seconds)]
        if self._total is not None:
            parts.append(f"ETA {clock(seconds * max(self._total - done, 0))}")
        self._draw(done, " - ".join([*parts, *filter(None, [text])]))

    def note(self, text: str) -> None:
        """All steps are done, and this is what happens now."""
        self._draw(self._total, text)

    def _draw(self, done: int | None, text: str) -> None:
        self._progress.update(self._task, completed=done, text=text, refresh=True)

    def _count(self, done: int) -> str:
        if self._total is None:
            return f"{done} steps"
        return f"{done:>{len(str(self._total))}}/{self._total}"

    def stop(self) -> None:
        """Takes it off the terminal."""
        self._progress.stop()


def clock(seconds: float) -> str:
    """A time as hours, minutes and seconds: ``0:07``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
