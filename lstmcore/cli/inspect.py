"""``lstmcore inspect``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lstmcore.cli.failures import CommandFailed
from lstmcore.cli.gates import parts
from lstmcore.cli.modelfile import described
from lstmcore.cli.options import json_option, model_file
from lstmcore.cli.output import printable, say, show_json, show_table
from lstmcore.cli.statistics import statistics
from lstmcore.errors import SpecError
from lstmcore.models.base import BaseModel
from lstmcore.weights import Header, WeightFile

VALUES = ("min", "mean", "max")
FAULTS = ("nan", "inf")


@click.command()
@model_file
@click.option("--no-values", is_flag=True, help="Names, shapes and dtypes only, from the header; quick for any size.")
@json_option
def inspect(file: Path, no_values: bool, as_json: bool) -> None:
    """List the weights in FILE: name, shape, dtype, min, mean, max; gate by gate for recurrent layers.

    The gates are those of the op: i f c o for LSTM, z r h for GRU. NaN and infinities are counted, and
    left out of min, mean and max. The exit status is 1 if the file is damaged, or its description and its
    weights do not go together.

    \b
    Examples:
      lstmcore inspect model.safetensors
      lstmcore inspect model.safetensors --no-values --json
    """
    with WeightFile.open(file) as opened:
        header = opened.header
        arrays = None if no_values else opened.read()
    model, fault = _model(header)
    weights = [_weight(name, header, model, arrays) for name in _in_order(header, model)]
    facts = {**_about(header, model), "weights": weights}
    if as_json:
        show_json(facts)
    else:
        _show(facts)
    if fault:
        raise CommandFailed(f"{header.name}: {fault}")


def _model(header: Header) -> tuple[BaseModel | None, str]:
    """The model that the file describes, and what is wrong with it."""
    try:
        model = described(header.model)
        wanted = {name: (array.shape, array.dtype.name) for name, array in model.weights.items()}
    except SpecError as error:
        return None, f"its description of the model cannot be used: {error}"
    found = {name: (entry.shape, entry.dtype) for name, entry in header.tensors.items()}
    wrong = sorted(name for name in {**wanted, **found} if wanted.get(name) != found.get(name))
    return model, f"its weights are not those of its model: {', '.join(wrong)}." if wrong else ""


def _in_order(header: Header, model: BaseModel | None) -> list[str]:
    """The model's order first, then what it does not know."""
    known = [name for name in (model.weights if model else ()) if name in header.tensors]
    return [*known, *(name for name in header.tensors if name not in known)]


def _about(header: Header, model: BaseModel | None) -> dict[str, Any]:
    return {
        "file": header.name,
        "format_version": int(header.metadata["format_version"]),
        "lstmcore_version": header.metadata["lstmcore_version"],
        "opset": int(header.metadata["opset"]),
        "model": model.name if model else None,
        "tensors": len(header.tensors),
        "bytes": header.size,
    }


def _weight(name: str, header: Header, model: BaseModel | None, arrays: Mapping[str, Any] | None) -> dict[str, Any]:
    entry = header.tensors[name]
    split = parts(model, name, entry.shape) if model else []
    array = None if arrays is None else arrays[name]
    row: dict[str, Any] = {"name": name, "shape": entry.shape, "dtype": entry.dtype, **statistics(array)}
    row["gates"] = [
        {"name": part.label, "shape": part.shape, **statistics(None if array is None else array[part.index])}
        for part in split
    ]
    return row


def _show(facts: dict[str, Any]) -> None:
    say(f"{printable(facts['file'])}: {facts['bytes']:,} bytes, {facts['tensors']} tensors")
    model = printable(facts["model"]) if facts["model"] else "unknown"
    say(f"model {model}; format version {facts['format_version']}, written by lstmcore {facts['lstmcore_version']}")
    say()
    weights = facts["weights"]
    rows = [row for weight in weights for row in (weight, *weight["gates"])]
    values = [key for key in VALUES if any(key in row for row in rows)]
    counts = [key for key in FAULTS if any(row.get(key) for row in rows)]
    header = ["name", "shape", "dtype", *values, *counts]
    show_table(header, [_cells(row, values, counts) for row in rows], right=range(3, len(header)))


def _cells(row: dict[str, Any], values: list[str], counts: list[str]) -> list[str]:
    gate = "gates" not in row
    shape = f"({', '.join(map(str, row['shape']))})"
    numbers = ["" if row[key] is None else f"{row[key]:.4g}" for key in values]
    return [f"  {row['name']}" if gate else row["name"], shape, row.get("dtype", ""), *numbers] + [
        str(row[key] or "") for key in counts
    ]
