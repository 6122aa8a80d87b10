"""What came out of a case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lstmcore.runtime.compare import LIMIT, scale_error

Array = NDArray[Any]
Status = Literal["passed", "failed", "unsupported"]


@dataclass(frozen=True)
class Result:
    """A case on a backend.

    error     E = max|y - expected| / (eps max|expected|), the worst of its outputs, gradients or weights; None where
              nothing was measured
    headroom  the same for the reference computing in the case's dtype, where that is float32
    message   what differed and where, or which op or option is missing
    """

    id: str
    family: str
    level: str
    status: Status
    error: float | None = None
    limit: float = LIMIT
    headroom: float | None = None
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: an infinite E is the string "inf"."""
        return {k: "inf" if v == float("inf") else v for k, v in asdict(self).items()}


class Judge:
    """Collects what is measured in one case, each output by itself, and what is wrong."""

    def __init__(self, dtype: str, limit: float = LIMIT) -> None:
        self.dtype = dtype
        self.limit = limit
        self.error = 0.0
        self.headroom: float | None = None
        self.problems: list[str] = []

    def values(
        self,
        name: str,
        given: Array,
        expected: Array,
        dtype: str | None = None,
        least: float = 0.0,
        hint: Callable[[Array, Array], str] = lambda given, expected: "",
    ) -> None:
        """``given`` has the dtype asked for, the shape of ``expected``, and its numbers within the limit.

        E is measured by the largest number expected, or by ``least`` where that is more. ``hint`` says in words what
        the difference looks like.
        """
        wanted = dtype or self.dtype
        if given.dtype != np.dtype(wanted):
            self.problems.append(f"{name}: dtype is {given.dtype}; expected {wanted}")
        if given.shape != expected.shape:
            self.problems.append(f"{name}: shape is {given.shape}; expected {expected.shape}")
            return
        if np.dtype(wanted).kind != "f":
            self.same(name, given, expected)
            return
        error = measured(given, expected, self.dtype, least)
        self.error = max(self.error, error)
        if not error <= self.limit:
            first = _first(given, expected, self.dtype, self.limit, least)
            self.problems.append(f"{name}: {first}; E = {error:.3g}{hint(given, expected)}")

    def same(self, name: str, given: Array, expected: Array, what: str = "differs") -> None:
        """Both hold the same bytes."""
        if given.tobytes() != expected.tobytes() or given.shape != expected.shape:
            self.problems.append(f"{name}: {what}; {_first(given, expected, self.dtype, 0)}")

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def all(self, given: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
        """Every expected value, by name."""
        for name, array in expected.items():
            self.values(name, given[name], array)


def measured(given: Array, expected: Array, dtype: str, least: float = 0.0) -> float:
    """E, where ``expected`` is taken to have a number as large as ``least``."""
    if not least or given.shape != expected.shape:
        return scale_error(given, expected, dtype)
    return scale_error(np.append(given, least), np.append(expected, least), dtype)


def _first(given: Array, expected: Array, dtype: str, limit: float, least: float = 0.0) -> str:
    """The first place beyond the limit, with both values, and how many there are."""
    if given.shape != expected.shape:
        return f"shape {given.shape}, expected {expected.shape}"
    a, b = np.asarray(given, np.float64), np.asarray(expected, np.float64)
    finite = np.isfinite(b)
    scale = max(float(np.abs(b[finite]).max()) if finite.any() else 0.0, least)
    with np.errstate(all="ignore"):
        close = np.abs(a - b) <= limit * float(np.finfo(dtype).eps) * scale
    wrong = np.argwhere(~(close | (a == b) | (np.isnan(a) & np.isnan(b))))
    if not len(wrong):
        return "only the sign of zeros or the payload of NaNs"
    index = tuple(int(k) for k in wrong[0])
    count = f", {len(wrong)} of {a.size} wrong" if len(wrong) > 1 else ""
    return f"at {list(index)} given {given[index]:.9g}, expected {expected[index]:.9g}{count}, shape {a.shape}"


def worst(results: Iterable[Result], field: str) -> float | None:
    """The largest of a field over results that have it."""
    return max((v for r in results if (v := getattr(r, field)) is not None), default=None)
