"""Progress on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lstmcore.errors import InputError


@contextmanager
def progress(verbose: int | str, title: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yields ``told(done, total)`` that draws a bar for ``verbose=1`` on a terminal, or None."""
    if verbose not in ("auto", 0, 1, 2):
        raise InputError(f"verbose is {verbose!r}; expected 'auto', 0, 1 or 2")
    if verbose in ("auto", 0) or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=verbose == 1) as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)
