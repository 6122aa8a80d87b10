"""``lstmcore inspect``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lstmcore.cli.failures import CommandFailed
from lstmcore.cli.foreign import SMALL, inspect_foreign
from lstmcore.cli.modelfile import described
from lstmcore.cli.options import json_option, model_file
from lstmcore.cli.output import printable, say, show_json
from lstmcore.cli.weighttable import show_weights, weight_facts
from lstmcore.errors import SpecError
from lstmcore.interop.reading import OWN, format_of
from lstmcore.models.base import BaseModel
from lstmcore.weights import Header, WeightFile


@click.command()
@model_file
@click.option(
    "--values/--no-values",
    default=None,
    help="Whether the numbers are read; without them it is quick for a file of any size.",
)
@json_option
def inspect(file: Path, values: bool | None, as_json: bool) -> None:
    """List the weights in FILE: name, shape, dtype, min, mean, max; gate by gate for recurrent layers.

    FILE may be of any format that is read: its headers say who wrote it, which layers and which arrays it has. The
    numbers are read where the file has at most 32 MB, or with --values.

    The gates are those of the op: i f c o for LSTM, z r h for GRU. NaN and infinities are counted, and
    left out of min, mean and max. The exit status is 1 if the file is damaged, or its description and its
    weights do not go together.

    \b
    Examples:
      lstmcore inspect model.safetensors
      lstmcore inspect model.safetensors --no-values --json
      lstmcore inspect model.h5
    """
    if format_of(file) != OWN:
        inspect_foreign(file, values, as_json)
        return
    with WeightFile.open(file) as opened:
        header = opened.header
        wanted = values if values is not None else header.size <= SMALL
        arrays = opened.read() if wanted else None
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
    return weight_facts(name, entry.shape, entry.dtype, model, None if arrays is None else arrays[name])


def _show(facts: dict[str, Any]) -> None:
    say(f"{printable(facts['file'])}: {facts['bytes']:,} bytes, {facts['tensors']} tensors")
    model = printable(facts["model"]) if facts["model"] else "unknown"
    say(f"model {model}; format version {facts['format_version']}, written by lstmcore {facts['lstmcore_version']}")
    say()
    show_weights(facts["weights"])
