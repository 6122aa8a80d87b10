"""The rows of a `Comparison`, and the engines that are not installed, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from lstmcore.cli.output import say, show_table
from lstmcore.runtime.compare import HEADER, NUMBERS, Comparison, Row


def show(comparison: Comparison) -> None:
    """The whole comparison."""
    say(f"{comparison.samples:,} samples in {comparison.dtype} against {comparison.reference} in float64.")
    say(f"E = max|y - ref| / (eps max|ref|), in units of rounding; up to {comparison.limit:.3g} is agreement.")
    if comparison.amplifies():
        say(comparison.amplifies())
    say()
    show_table(HEADER, [row.cells() for row in comparison.rows if row.status != "missing"], NUMBERS)
    show_missing(comparison.rows)


def show_missing(rows: Iterable[Row]) -> None:
    """The engines that are not installed, with the command that adds each."""
    missing = {row.backend: row.remedy for row in rows if row.status == "missing"}
    if missing:
        say()
        say("Not installed here:")
        width = max(map(len, missing))
        for name, command in missing.items():
            say(f"  {name.ljust(width)}  {command}")
