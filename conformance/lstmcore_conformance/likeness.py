"""What a wrong array looks like beside the right one, in words."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NEAR = 1e-3  # of the largest number


def likeness(given: Array, expected: Array, mask: Array | None = None) -> str:
    """``"; every entry is 1/2 of what it should be"``, or "" where nothing fits. The mask is (batch, time)."""
    a, b = np.asarray(given, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        return ""
    found = next((words for look in LOOKS if (words := look(a, b, mask))), "")
    return f"; {found}" if found else ""


def _close(a: Array, b: Array) -> bool:
    return bool(np.abs(a - b).max(initial=0) <= NEAR * np.abs(b).max(initial=0))


def _infinite(a: Array, b: Array, mask: Array | None) -> str:
    wrong = ~np.isfinite(a) & np.isfinite(b)
    if not wrong.any():
        return ""
    if mask is not None and a.shape[:2] == mask.shape and not wrong[mask].any():
        return "it is not finite at masked steps, which should have no influence"
    return "it is not finite"


def _zero(a: Array, b: Array, mask: Array | None) -> str:
    return "it is zero, as if nothing depended on it" if b.any() and not a.any() else ""


def _scaled(a: Array, b: Array, mask: Array | None) -> str:
    large = np.abs(b) > NEAR * np.abs(b).max(initial=0)
    if not large.any():
        return ""
    ratio = float(np.median(a[large] / b[large]))
    if ratio == 0 or abs(ratio - 1) <= NEAR or not _close(a, ratio * b):
        return ""
    if abs(ratio + 1) <= NEAR:
        return "its sign is wrong"
    simple = Fraction(ratio).limit_denominator(30)
    told = str(simple) if abs(simple - ratio) <= NEAR / 10 * abs(ratio) else f"{ratio:.4g}"
    return f"every entry is {told} times what it should be"


def _transposed(a: Array, b: Array, mask: Array | None) -> str:
    return "it is transposed" if b.ndim == 2 and b.shape[0] == b.shape[1] and _close(a, b.T) else ""


def _reversed(a: Array, b: Array, mask: Array | None) -> str:
    return "it is reversed in time" if b.ndim > 2 and _close(a, b[:, ::-1]) else ""


def _beyond_the_mask(a: Array, b: Array, mask: Array | None) -> str:
    if mask is None or a.shape[:2] != mask.shape or b[~mask].any() or not a[~mask].any():
        return ""
    return "it is not zero at masked steps"


def _one_step(a: Array, b: Array, mask: Array | None) -> str:
    steps = [t for t in range(b.shape[1]) if a[:, t].any()] if b.ndim > 2 else []
    if len(steps) != 1 or not np.delete(b, steps[0], 1).any():
        return ""
    return f"it is zero but at step {steps[0]}, as if nothing went from step to step"


def _one_sample(a: Array, b: Array, mask: Array | None) -> str:
    rows = [k for k in range(len(b)) if not _close(a[k], b[k])] if b.ndim > 1 else []
    return f"only the sample or row {rows[0]} of {len(b)} differs" if len(rows) == 1 < len(b) else ""


LOOKS: tuple[Callable[[Array, Array, Array | None], str], ...] = (
    _infinite,
    _zero,
    _scaled,
    _transposed,
    _reversed,
    _beyond_the_mask,
    _one_step,
    _one_sample,
)
