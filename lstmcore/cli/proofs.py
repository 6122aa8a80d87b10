"""A `Proof` for the terminal."""

from __future__ import annotations

from lstmcore.cli.output import printable, say, show_table
from lstmcore.interop.proof import Proof
from lstmcore.interop.proof.report import ENGINES, NUMBERS


def show(proof: Proof) -> None:
    """The whole proof."""
    for line in proof.opening():
        say(printable(line))
    say()
    ran = [row for row in proof.rows if row.status != "missing"]
    show_table(ENGINES, [row.cells() for row in ran], NUMBERS)
    if proof.layers and proof.columns:
        say()
        show_table(proof.layer_header(), proof.layer_cells(), range(2, 2 + len(proof.columns)))
    missing = {row.engine: row.remedy for row in proof.rows if row.status == "missing"}
    if missing:
        say()
        say("Not installed here:")
        for name, command in missing.items():
            say(f"  {name}  {command}")
    closing = proof.closing()
    if closing:
        say()
    for line in closing:
        say(printable(line))
