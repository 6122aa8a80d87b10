"""The ``state_dict`` of a model: what each entry is called in PyTorch, and where its numbers are here. Both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import layouts
from lstmcore.errors import WeightsMismatchError
from lstmcore.ops import Recurrent

Array = NDArray[Any]
FORM = "pytorch"


@dataclass(frozen=True)
class Entry:
    """One entry of the state_dict.

    ``path`` is that of our weight, "" where there is none: ``fill`` is then its number. ``layout`` is a row of
    `LAYOUTS`; with "gates" the weight is ``port`` of the recurrent ``op``, and ``part`` says which bias it is.
    ``dtype`` is that of the file, "" for the model's.
    """

    key: str
    shape: tuple[int, ...]
    path: str = ""
    layout: str = "plain"
    op: Recurrent | None = None
    port: str = ""
    part: int = 0
    fill: float = 0.0
    dtype: str = ""
    numbers: tuple[float, ...] = ()

    @property
    def gates(self) -> tuple[int, ...]:
        """Which of their gates each of ours is, where the weight is a matrix that lies transposed; else none."""
        if self.op is None:
            return (0,) if self.layout == "reversed" and len(self.shape) == 2 else ()
        theirs = layouts.LAYOUTS[FORM][type(self.op)].gates
        return () if self.port == "bias" else tuple(map(theirs.index, self.op.gates))


def _reversed(array: Array) -> Array:
    return np.transpose(array)


# How PyTorch stores a weight that is ours but for the order of its axes: there and back are one.
LAYOUTS: Mapping[str, Callable[[Array], Array]] = MappingProxyType({"plain": np.asarray, "reversed": _reversed})


def to_state(entries: Sequence[Entry], weights: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    """The state_dict as arrays; views of ours where they can be."""
    return {entry.key: _to_torch(entry, weights, dtype) for entry in entries}


def _to_torch(entry: Entry, weights: Mapping[str, Array], dtype: str) -> Array:
    if entry.numbers:
        return np.asarray(entry.numbers, dtype).reshape(entry.shape)
    if not entry.path:
        return np.full(entry.shape, entry.fill, entry.dtype or dtype)
    array = weights[entry.path]
    if entry.op is None:
        return LAYOUTS[entry.layout](array)
    if entry.port == "bias":
        return np.asarray(layouts.to_foreign(FORM, entry.op, "bias", array)[entry.part])
    return layouts.to_foreign(FORM, entry.op, entry.port, array)


def from_state(entries: Sequence[Entry], state: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    """Our weights by path, of a state_dict with just these entries; views of theirs where they can be.

    WeightsMismatchError where one is missing, one is left over, or a shape is another.
    """
    wanted = {entry.key: entry.shape for entry in entries}
    for key in (*wanted, *state):
        given = tuple(state[key].shape) if key in state else None
        if given != wanted.get(key):
            raise WeightsMismatchError(
                f"state_dict entry {key!r}: {_told(given)} in the file; the model has {_told(wanted.get(key))}"
            )
    found: dict[str, Array] = {}
    for entry in entries:
        if entry.path and entry.path not in found:
            found[entry.path] = np.asarray(_from_torch(entry, entries, state), dtype)
    return found


def _told(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else f"shape {shape}"


def _from_torch(entry: Entry, entries: Sequence[Entry], state: Mapping[str, Array]) -> Array:
    if entry.op is None:
        return LAYOUTS[entry.layout](state[entry.key])
    array = state[entry.key]
    if entry.port == "bias":
        prefix = entry.key.rpartition(".")[0]
        parts = [e for e in entries if e.path == entry.path and e.key.rpartition(".")[0] == prefix]
        array = np.stack([state[e.key] for e in sorted(parts, key=lambda e: e.part)])
    elif layouts.LAYOUTS[FORM][type(entry.op)].gates == entry.op.gates:
        return np.transpose(array)
    return layouts.from_foreign(FORM, entry.op, entry.port, array)
