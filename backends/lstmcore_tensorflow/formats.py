"""The formats of files that this engine writes and runs. Importing this module does not import tensorflow."""

from __future__ import annotations

from collections.abc import Sequence

from lstmcore.hookspecs import Format, Judge, hookimpl


@hookimpl
def lstmcore_formats() -> Sequence[Format]:
    return ()


@hookimpl
def lstmcore_judges() -> Sequence[Judge]:
    return ()
