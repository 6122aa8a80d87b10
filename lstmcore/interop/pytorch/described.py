"""What a pickle of PyTorch describes: tensors and where their numbers lie. Nothing here is an object of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

DTYPES: Mapping[str, tuple[str, int]] = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
    "ComplexFloatStorage": ("complex64", 8),
    "ComplexDoubleStorage": ("complex128", 16),
}
"""PyTorch's class of a storage -> its dtype, and the bytes of a number."""

FLOATS = ("float64", "float32", "float16", "bfloat16")
MOST = 1 << 62


@dataclass(frozen=True)
class Storage:
    """Numbers in a row, ``size`` of them, under a key of the file; several tensors may look at them."""

    key: str
    dtype: str
    itemsize: int
    size: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: the place of its first number, its shape, and how far apart its neighbours are."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return self.storage.dtype

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def within(self) -> bool:
        """Whether all of it lies in its storage."""
        if not self.size:
            return True
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        return last < self.storage.size


@dataclass(frozen=True, eq=False)
class Opaque:
    """Something beside the tensors, of which only its kind is known: it was neither built nor looked at."""

    what: str


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor that lies row by row."""
    return tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))
