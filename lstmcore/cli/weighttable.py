"""Weights as rows, gate by gate, for the terminal."""

from __future__ import annotations

from typing import Any

from lstmcore.cli.gates import parts
from lstmcore.cli.output import show_table
from lstmcore.cli.statistics import statistics
from lstmcore.models.base import BaseModel

VALUES = ("min", "mean", "max")
FAULTS = ("nan", "inf")


def weight_facts(name: str, shape: tuple[int, ...], dtype: str, model: BaseModel | None, array: Any) -> dict[str, Any]:
    """A weight and its gates, with statistics where there is an array."""
    split = parts(model, name, shape) if model else []
    row: dict[str, Any] = {"name": name, "shape": shape, "dtype": dtype, **statistics(array)}
    row["gates"] = [
        {"name": part.label, "shape": part.shape, **statistics(None if array is None else array[part.index])}
        for part in split
    ]
    return row


def show_weights(weights: list[dict[str, Any]]) -> None:
    """The table."""
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
