"""The command line: ``lstmcore``, or ``python -m lstmcore``.

Exit status: 0 it went well; 1 it failed, or found a difference; 2 it was called wrongly; 130 it was
interrupted. What is asked for goes to stdout, everything else to stderr. LSTMCORE_DEBUG=1 shows
tracebacks, and what the engines print while they load.

`commands` has the table of commands; each is in the module of its name and loaded when it is invoked.
"""

from __future__ import annotations

import sys

from lstmcore.cli.commands import cli

__all__ = ["cli", "main"]


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a character is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    cli()
