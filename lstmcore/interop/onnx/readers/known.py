"""Two operands that are there before the model runs: numbers, lengths, one number all over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from lstmcore.errors import SpecError
from lstmcore.interop.onnx import lengths
from lstmcore.interop.onnx.lengths import Length, Open
from lstmcore.interop.onnx.reader import Reader, give
from lstmcore.interop.onnx.values import Filled, Flow, Given, Known, Ramp

Folded = Callable[..., Any]


def filled(name: str, fold: Folded, a: Known | Filled, b: Known | Filled) -> Filled:
    """A number all over, and another."""
    numbers = []
    for entry in (a, b):
        if isinstance(entry, Known) and (not entry.whole or entry.array.size != 1):
            raise SpecError("it computes with numbers of an open shape alone")
        numbers.append(entry.number if isinstance(entry, Filled) else entry.array.reshape(-1)[0])
    filled = [entry for entry in (a, b) if isinstance(entry, Filled)]
    if len({len(entry.shape) for entry in filled}) > 1:
        raise SpecError("it computes with numbers of open shapes alone")
    shape = filled[0].shape
    for other in filled[1:]:
        shape = tuple(q if p == 1 else p for p, q in zip(shape, other.shape, strict=True))
    return Filled(np.asarray(fold(*numbers)).item(), shape)


def two(r: Reader, name: str, fold: Folded, a: Known, b: Known) -> Known:
    r.budget.limit(*np.broadcast_shapes(a.array.shape, b.array.shape))
    if a.whole and b.whole:
        with np.errstate(all="ignore"):
            return Known(np.asarray(fold(a.array, b.array)))
    pairs = np.broadcast(a.array.astype(object), b.array.astype(object))
    made = np.empty(pairs.shape, object)
    made.reshape(-1)[:] = [_lengths(name, fold, p, q) for p, q in pairs]
    return Known(made, floats=a.floats or b.floats)


def exact(name: str, a: Known, b: Known) -> bool:
    """Whether what comes of two is known, or a length: of lengths that are floats not all is."""
    if a.whole and b.whole:
        return True
    if a.array.size != 1 or b.array.size != 1:
        return True
    p, q = (entry.array.reshape(-1)[0] for entry in (a, b))
    known = [n for n in (p, q) if not isinstance(n, (Open, lengths.Asked))]
    whole = all(float(n).is_integer() for n in known)
    floats = a.floats or b.floats or any(not isinstance(n, (int, np.integer, np.bool_)) for n in known)
    if not floats or name not in ("divide", "power"):
        return whole and name != "power"
    return name == "divide" and whole and quotient_of(p, q) is not None


def quotient_of(p: Any, q: Any) -> Length | None:
    return lengths.quotient(*(n if isinstance(n, Open) else int(n) for n in (p, q)))


def ramp(r: Reader, name: str, a: Given, b: Given) -> Given | None:
    """Numbers one by one with a number added to each, or times it; None where that is no such thing."""
    for one, other in ((a, b), (b, a)):
        if not isinstance(one, Ramp):
            continue
        if isinstance(other, Flow):
            samples = one.shape[one.axis] == r.batch and name == "add" and other.counts and one.offset == 0
            return replace(other, rows=one.scale) if samples and other.rank == one.rank == 1 else None
        if not isinstance(other, Known) or other.array.size != 1 or other.array.dtype.kind not in "iuO":
            return None
        number = other.lengths()[0]
        if name == "multiply" and (one.offset == 0 or isinstance(number, int)):
            offset = one.offset * number if isinstance(number, int) else 0
            return replace(one, offset=offset, scale=lengths.times(one.scale, number))
        if isinstance(number, int) and (name == "add" or (name == "subtract" and one is a)):
            return replace(one, offset=one.offset + (number if name == "add" else -number))
    return None


def _lengths(name: str, fold: Folded, p: Any, q: Any) -> Any:
    """A number from two lengths, of which one may be open."""
    if not isinstance(p, (Open, lengths.Asked)) and not isinstance(q, (Open, lengths.Asked)):
        return fold(p, q)
    if name in _SUMS:
        return _SUMS[name](*(n if isinstance(n, Open) else int(n) for n in (p, q)))
    if name == "and" and all(isinstance(n, (lengths.Asked, bool, np.bool_)) for n in (p, q)):
        return _both(p, q)
    if name == "less" and any(lengths.counts_steps(n) for n in (p, q)):
        return lengths.Asked(((p, q),))
    told = lengths.order(*(n if isinstance(n, Open) else int(n) for n in (p, q)))
    if told is not None and name in _ORDERS:
        return told in _ORDERS[name]
    if told is not None and name in ("maximum", "minimum"):
        return p if (told == ">") == (name == "maximum") else q
    raise SpecError(f"it asks whether {p!r} and {q!r} are {name}, and one is open; {give(p, q)}")


def _both(p: Any, q: Any) -> Any:
    """Two conditions, of which one may be known."""
    asked = [n for n in (p, q) if isinstance(n, lengths.Asked)]
    if len(asked) == 2:
        return lengths.Asked((*asked[0].pairs, *asked[1].pairs))
    return asked[0] if (q if p is asked[0] else p) else False


_SUMS: Mapping[str, Callable[[Length, Length], Length]] = MappingProxyType(
    {"multiply": lengths.times, "divide": lengths.divided, "add": lengths.plus, "subtract": lengths.minus}
)
_ORDERS = {"equal": "=", "less": "<", "less_equal": "<="}
