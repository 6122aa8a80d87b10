"""The extremes and the mean of an array, whatever it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def statistics(array: NDArray[Any] | None) -> dict[str, Any]:
    """``min``, ``mean``, ``max`` of the finite numbers (None where there are none), and ``nan``, ``inf``: counts.

    ``{}`` for None.
    """
    if array is None:
        return {}
    finite = np.isfinite(array)
    nan = int(np.isnan(array).sum())
    faults = {"nan": nan, "inf": array.size - int(finite.sum()) - nan}
    numbers = array if finite.all() else array[finite]
    if not numbers.size:
        return {"min": None, "mean": None, "max": None, **faults}
    return {
        "min": float(numbers.min()),
        "mean": float(numbers.mean(dtype=np.float64)),
        "max": float(numbers.max()),
        **faults,
    }
