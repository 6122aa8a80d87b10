"""Lengths of axes: known, or sums of products of lengths that are open, such as the batch and time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from lstmcore.errors import SpecError

Terms = tuple[tuple[tuple[str, ...], int], ...]
MOST_TERMS, LARGEST, LONGEST = 32, 1 << 62, 120


@dataclass(frozen=True)
class Open:
    """A length that is not known: a polynomial of names, as ``time - 1`` and ``batch*time``.

    ``of`` are the open lengths of the inputs that it depends on. Each of these is at least 1.
    """

    terms: Terms
    of: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def name(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        parts = []
        for names, count in sorted(self.terms, key=lambda term: (not term[0], term)):
            sign = "-" if count < 0 else "+"
            number = [] if abs(count) == 1 and names else [str(abs(count))]
            parts.append(f" {sign} " + "*".join([*number, *names]))
        text = "".join(parts)
        return text[3:] if text.startswith(" + ") else f"-{text[3:]}"


Length = int | Open


def opened(name: str, of: Iterable[str] | None = None) -> Open:
    """A length of that name; by itself the only one that it depends on."""
    return Open((((name,), 1),), frozenset([name] if of is None else of))


def roots(*lengths: Length) -> frozenset[str]:
    """The open lengths of the inputs that these depend on."""
    return frozenset().union(*(n.of for n in lengths if isinstance(n, Open)))


def _terms(n: Length) -> dict[tuple[str, ...], int]:
    return dict(n.terms) if isinstance(n, Open) else {(): n}


def _made(terms: dict[tuple[str, ...], int], of: frozenset[str]) -> Length:
    kept = {names: count for names, count in terms.items() if count}
    if len(kept) > MOST_TERMS or any(len(names) > MOST_TERMS or abs(count) >= LARGEST for names, count in kept.items()):
        raise SpecError("the lengths that it computes are too long to be said")
    if not set(kept) - {()}:
        return kept.get((), 0)
    return Open(tuple(sorted(kept.items())), of)


def plus(a: Length, b: Length, sign: int = 1) -> Length:
    """a + b, or with ``sign`` -1 a - b."""
    found = _terms(a)
    for names, count in _terms(b).items():
        found[names] = found.get(names, 0) + sign * count
    return _made(found, roots(a, b))


def minus(a: Length, b: Length) -> Length:
    return plus(a, b, -1)


def times(*lengths: Length) -> Length:
    """The product."""
    found: dict[tuple[str, ...], int] = {(): 1}
    for n in lengths:
        wider: dict[tuple[str, ...], int] = {}
        _made(found, frozenset())  # none too large in between
        for names, count in found.items():
            for more, other in _terms(n).items():
                key = tuple(sorted((*names, *more)))
                wider[key] = wider.get(key, 0) + count * other
        found = wider
    return _made(found, roots(*lengths))


def quotient(a: Length, b: Length) -> Length | None:
    """a / b where b is one product and nothing is left over; else None."""
    below = _terms(b)
    if len(below) != 1:
        return 1 if a == b else None
    ((names, count),) = below.items()
    found: dict[tuple[str, ...], int] = {}
    for own, number in _terms(a).items():
        left = list(own)
        for name in names:
            if name not in left:
                return None
            left.remove(name)
        if count == 0 or number % count:
            return None
        found[tuple(left)] = number // count
    return _made(found, roots(a, b))


def divided(a: Length, b: Length) -> Length:
    """a // b, a length of its own where it cannot be said otherwise."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b else 0
    exact = quotient(a, b)
    if exact is not None:
        return exact
    name = f"({a!r} // {b!r})" if len(_terms(a)) == 1 else f"(({a!r}) // {b!r})"
    if len(name) > LONGEST:
        name = f"(length {hashlib.sha256(name.encode()).hexdigest()[:12]})"
    return opened(name, roots(a, b))


def least(n: Length) -> int | None:
    """The least that a length can be; None where that is not known."""
    if not isinstance(n, Open):
        return n
    return None if any(count < 0 and names for names, count in n.terms) else sum(count for _, count in n.terms)


def order(a: Length, b: Length) -> str | None:
    """How two lengths compare for whatever the open ones are: '<', '=' or '>'; None where that differs."""
    difference = minus(a, b)
    if isinstance(difference, int):
        return "=" if difference == 0 else "<" if difference < 0 else ">"
    low = least(difference)
    if low is not None and low > 0:
        return ">"
    high = least(minus(b, a))
    return "<" if high is not None and high > 0 else None


@dataclass(frozen=True)
class Asked:
    """A condition of a loop: that for each of these pairs the first length is less than the second."""

    pairs: tuple[tuple[Length, Length], ...]


STEP = "step"
"""The steps of a loop are counted by this length, from 1."""


def counts_steps(n: Length) -> bool:
    """Whether a length depends on the step of a loop."""
    return isinstance(n, Open) and any(name.startswith(STEP + " of ") for names, _ in n.terms for name in names)
