"""What a value of an ONNX graph is while the graph is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.interop.onnx.lengths import Asked, Length, Open
from lstmcore.ops import Kind
from lstmcore.program import Value

Array = NDArray[Any]


@dataclass(frozen=True)
class Known:
    """Numbers that are there before the model runs: a weight, a constant, or lengths (dtype object, some `Open`)."""

    array: Array
    name: str = ""
    floats: bool = False  # lengths that are floats in ONNX

    def __post_init__(self) -> None:
        if not isinstance(self.array, np.ndarray):  # NumPy hands out the only entry of an array of lengths by itself
            alone = np.empty((), object if isinstance(self.array, (Open, Asked)) else np.asarray(self.array).dtype)
            alone[()] = self.array
            object.__setattr__(self, "array", alone)
        if self.array.dtype == object and not any(isinstance(n, (Open, Asked)) for n in self.array.flat):
            plain = np.bool_ if all(isinstance(entry, (bool, np.bool_)) for entry in self.array.flat) else np.int64
            object.__setattr__(self, "array", self.array.astype(plain if self.array.size else np.int64))

    @property
    def rank(self) -> int:
        return self.array.ndim

    @property
    def whole(self) -> bool:
        """Whether all of it are numbers."""
        return self.array.dtype != object

    def lengths(self) -> list[Length]:
        """The entries of a list of lengths."""
        return [entry if isinstance(entry, Open) else int(entry) for entry in self.array.reshape(-1).tolist()]


@dataclass(frozen=True)
class Filled:
    """One number all over, in a shape of which some lengths are open."""

    number: Any
    shape: tuple[Length, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class Ramp:
    """offset, offset + scale, ... along one axis of an open length; the others have length 1."""

    shape: tuple[Length, ...]
    axis: int
    offset: int = 0
    scale: Length = 1

    @property
    def rank(self) -> int:
        return len(self.shape)

    def at(self, axis: int, rank: int) -> Ramp:
        """The same along another axis of so many."""
        shape: list[Length] = [1] * rank
        shape[axis] = self.shape[self.axis]
        return replace(self, shape=tuple(shape), axis=axis)


@dataclass(frozen=True)
class Flow:
    """A value of the program. It has the batch first; ONNX has it at ``batch``, and the other axes in order.

    ``batch`` None: no axis of ONNX's is the batch; the program's first axis is the call, which has all of ONNX's.
    """

    value: Value
    batch: int | None
    lengths: tuple[Length, ...] = field(default=())  # of ONNX's axes
    counts: bool = False  # floats here that are whole numbers in ONNX
    rows: Length | None = None  # to each sample's number comes how many samples are before it, times this

    @property
    def rank(self) -> int:
        """How many axes it has in ONNX."""
        return len(self.value.shape) - (self.batch is None)

    @property
    def kind(self) -> Kind:
        return self.value.kind

    def axis(self, k: int) -> int:
        """The program's axis for one of ONNX's."""
        k %= max(self.rank, 1)
        if self.batch is None or k < self.batch:
            return k + 1
        return 0 if k == self.batch else k

    def others(self) -> list[int]:
        """ONNX's axes in the order of the program's, without the batch."""
        return [k for k in range(self.rank) if k != self.batch]


class Steps(Flow):
    """In place of how many steps count: which of them, bool (batch, time)."""


class Fit(Flow):
    """A value before it is padded so that windows fit."""


Given = Known | Filled | Ramp | Flow


def as_known(entries: Sequence[Length]) -> Known:
    """A list of lengths."""
    if all(isinstance(entry, int) for entry in entries):
        return Known(np.array(entries, np.int64))
    array = np.empty(len(entries), object)
    array[:] = list(entries)
    return Known(array)
