"""Where each gate lies in a weight: from the op's pattern of axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lstmcore import axes
from lstmcore.layers.base import Layer
from lstmcore.models.base import BaseModel
from lstmcore.ops import Recurrent, Shape

ROWS = ("input", "recurrent")
"""The two rows of a bias with an axis ``part``: added to ``x @ kernel``, to ``h @ recurrent_kernel``."""


@dataclass(frozen=True)
class Part:
    """A piece of a weight: ``array[index]``."""

    label: str
    index: tuple[Any, ...]
    shape: Shape


def parts(model: BaseModel, weight: str, shape: tuple[int, ...]) -> list[Part]:
    """The gates of a weight of that name and shape, row by row where it has rows; none where it has none."""
    port = weight.rpartition("/")[2]
    owner = next((module for path, module, _ in model.owners() if path == weight), None)
    op = owner.op() if isinstance(owner, Layer) else None
    if not isinstance(op, Recurrent) or port not in op.weights or not shape:
        return []
    groups = axes.parse(op.weights[port])[-len(shape) :]
    units, left = divmod(shape[-1], len(op.gates))
    if groups[-1] != ("gate", "unit") or left:
        return []
    rows = [(f"{ROWS[r]} ", (r,)) for r in range(shape[0])] if groups[0] == ("part",) else [("", ())]
    return [
        Part(f"{row}{gate}", (*index, ..., slice(g * units, (g + 1) * units)), (*shape[len(index) : -1], units))
        for row, index in rows
        for g, gate in enumerate(op.gates)
    ]
