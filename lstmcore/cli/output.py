"""What the commands print: plain text in a pipe, the same with a little colour on a terminal."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from lstmcore.tables import table

WIDTH = 100

STYLES: Mapping[str, str] = {
    "agrees": "green",
    "available": "green",
    "missing": "dim",
    "broken": "red",
    "DIFFERS": "bold red",
    "cannot": "red",
    "failed": "red",
}
"""Colours of cells, by their first word."""


def on_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def say(text: str = "") -> None:
    """A line on stdout."""
    click.echo(text)


def heading(text: str) -> None:
    """A section begins."""
    say()
    say(click.style(text, bold=True) if on_terminal() else f"{text}\n{'-' * len(text)}")


def show_table(header: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> None:
    """A table; ``right`` lists the right-aligned columns."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if on_terminal():
        _show_rich(header, cells, right)
    else:
        say(table(header, cells, right))


def _show_rich(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), header_style="bold")
    for k, title in enumerate(header):
        drawn.add_column(title, justify="right" if k in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, STYLES.get(cell.partition(" ")[0].rstrip(":"), "")) for cell in row))
    console.print(drawn)


def show_json(data: Any) -> None:
    """Data on stdout; numbers that JSON does not have (infinity, NaN) become null."""
    say(json.dumps(_finite(data), indent=2, allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def printable(text: str) -> str:
    """``text`` from a file without what would steer the terminal; several lines become one."""
    return "".join(c if c.isprintable() else " " if c.isspace() else repr(c)[1:-1] for c in text)


def can_show(text: str) -> bool:
    """Whether stdout's encoding has these characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
