"""``lstmcore inspect`` of files of other programs: their headers, and the weights of the model in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lstmcore.cli.failures import CommandFailed
from lstmcore.cli.output import printable, say, show_json, show_table
from lstmcore.cli.weighttable import show_weights, weight_facts
from lstmcore.errors import FileError, ForeignFileError, MissingLibraryError, UnsupportedFileError
from lstmcore.interop import formats
from lstmcore.interop.listing import Listing

SMALL = 32 << 20
"""The numbers of files up to this size are read without being asked for."""


def inspect_foreign(file: Path, values: bool | None, as_json: bool) -> None:
    """Prints what is in a file of another program. CommandFailed, after the rest, where its model cannot be used."""
    row = formats.row_of(file)
    parts = [part for part in file.rglob("*") if part.is_file()] if file.is_dir() else [file]
    size = sum(os.path.getsize(part) for part in parts)
    listing = None if row.lists is None else formats.function(row.lists)(file)
    facts: dict[str, Any] = {"file": file.name, "format": row.name, "bytes": size}
    facts |= {} if listing is None else _listed(listing)
    wanted = values if values is not None else size <= SMALL
    fault = ""
    if wanted and row.reads is not None:
        found, fault = _weights(file, listing is not None)
        facts |= found
    if as_json:
        show_json(facts)
    else:
        _show(facts, wanted or row.reads is None)
    if fault:
        raise CommandFailed(fault)


def _listed(listing: Listing) -> dict[str, Any]:
    arrays = [{"name": entry.name, "shape": entry.shape, "dtype": entry.dtype} for entry in listing.arrays]
    return {"about": dict(listing.about), "arrays": arrays}


def _weights(file: Path, listed: bool) -> tuple[dict[str, Any], str]:
    """The weights of the model, or why there are none; and what is wrong with the file.

    Nothing is, where its headers could be ``listed`` and only somebody else wrote it, or what reads it is missing.
    """
    try:
        model = formats.import_model(file)
        rows = [
            weight_facts(name, array.shape, array.dtype.name, model, array) for name, array in model.weights.items()
        ]
    except (UnsupportedFileError, MissingLibraryError) as error:
        return {"note": str(error)}, ""
    except ForeignFileError as error:
        return ({"note": str(error)}, "") if listed else ({}, str(error))
    except FileError as error:
        return {}, str(error)
    return {"model": model.name, "weights": rows}, ""


def _show(facts: dict[str, Any], wanted: bool) -> None:
    about = facts.get("about", {})
    arrays = facts.get("arrays", ())
    count = f", {len(arrays)} arrays" if arrays else ""
    say(printable(f"{facts['file']}: {facts['format']}, {facts['bytes']:,} bytes{count}"))
    plain = [f"{key} {value}" for key, value in about.items() if isinstance(value, (str, int, float, bool)) and value]
    if plain:
        say(printable("; ".join(plain)))
    for key in ("opset", "ops"):
        if key in about:
            say(printable(f"{key}: {', '.join(f'{name} {number}' for name, number in about[key].items())}"))
    for key in ("inputs", "outputs"):
        for end in about.get(key, ()):
            shape = ", ".join("?" if n is None else str(n) for n in end["shape"] or ())
            say(printable(f"{key[:-1]} {end['name']}: {end['dtype']} ({shape})"))
    if about.get("layers"):
        say()
        show_table(("layer", "class"), [(layer["name"], layer["class"]) for layer in about["layers"]])
    if "weights" in facts:
        say()
        show_weights(facts["weights"])
    elif arrays:
        say()
        show_table(("array", "shape", "dtype"), [_cells(array) for array in arrays])
    if "note" in facts:
        say()
        for line in f"Its numbers are not shown: {facts['note']}".splitlines():
            say(printable(line))
    elif not wanted:
        say()
        say("From its headers. --values reads the numbers.")


def _cells(array: dict[str, Any]) -> tuple[str, str, str]:
    return array["name"], f"({', '.join(map(str, array['shape']))})", array["dtype"]
