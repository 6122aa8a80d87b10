"""How far two arrays are apart that may lie along other axes: files differ in where batch, time and units stand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.runtime.compare import scale_error

Array = NDArray[Any]
MOST_AXES = 5


def distance(y: Array, reference: Array, dtype: str = "float32") -> float:
    """E of y, its axes in the order in which it comes closest; axes of length 1 count for nothing."""
    return min(
        (scale_error(one, np.squeeze(reference), dtype) for one in laid_out(y, reference.shape)), default=math.inf
    )


def laid_out(y: Array, shape: Sequence[int]) -> Iterator[Array]:
    """y with its axes in every order that has this shape, without axes of length 1."""
    flat = np.squeeze(np.asarray(y))
    wanted = tuple(n for n in shape if n != 1)
    if flat.ndim > MOST_AXES or sorted(flat.shape) != sorted(wanted):
        return
    for order in itertools.permutations(range(flat.ndim)):
        if tuple(flat.shape[k] for k in order) == wanted:
            yield flat.transpose(order)


def shared_names(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names that every case has."""
    maps = list(cases)
    return [name for name in maps[0] if all(name in case for case in maps)] if maps else []


def worst(name: str, found: Sequence[Mapping[str, Array]], references: Sequence[Array]) -> float:
    """The largest E of one value over all cases."""
    pairs = zip(found, references, strict=True)
    return max((distance(case[name], reference) for case, reference in pairs), default=math.inf)


def nearest(
    found: Sequence[Mapping[str, Array]], references: Sequence[Array], limit: float
) -> tuple[str, float] | None:
    """The value that is within the limit of these references in every case, and how far; None if there is none."""
    for name in shared_names(found):
        if _fits(found[0][name], references[0]) and (far := worst(name, found, references)) <= limit:
            return name, far
    return None


def _fits(y: Array, reference: Array) -> bool:
    return y.size == reference.size and sorted(np.squeeze(y).shape) == sorted(np.squeeze(reference).shape)
