"""Results for people: a table per family, the failures in full, one line that sums up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lstmcore.tables import table
from lstmcore_conformance.results import Result, Status, worst

ORDER: tuple[Status, ...] = ("passed", "failed", "unsupported")


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many of each status."""
    return {status: sum(r.status == status for r in results) for status in ORDER}


def summary(backend: str, results: Sequence[Result], seconds: float) -> str:
    """``NAME: 99 passed, 0 failed, 0 unsupported; worst E 3.1 of 16; 2.0 s``, with a line for each level of several."""
    told = ", ".join(f"{n} {status}" for status, n in counts(results).items())
    levels = dict.fromkeys(r.level for r in results)
    if len(levels) == 1:
        return f"{backend}: {told}{_worst(results)}; {seconds:.1f} s"
    lines = []
    for level in levels:
        own = [r for r in results if r.level == level]
        lines.append(f"  {level}: {', '.join(f'{n} {status}' for status, n in counts(own).items())}{_worst(own)}")
    return "\n".join([*lines, f"{backend}: {told}; {seconds:.1f} s"])


def _worst(results: Sequence[Result]) -> str:
    """The worst E of those that passed; where they have several limits, that which comes nearest to its own."""
    measured = [r for r in results if r.status == "passed" and r.error is not None]
    if not measured:
        return ""
    nearest = max(measured, key=lambda r: (r.error or 0) / r.limit)
    return f"; worst E {_number(nearest.error)} of {nearest.limit:g}"


def by_family(results: Sequence[Result]) -> str:
    """A row per family."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.family, []).append(result)
    rows = [
        (
            name,
            *(number or "" for number in counts(group).values()),
            _number(worst(group, "error")),
            _number(worst(group, "headroom")),
        )
        for name, group in groups.items()
    ]
    return table(("family", *ORDER, "worst E", "reference's"), rows, right=(1, 2, 3, 4, 5))


def details(results: Sequence[Result]) -> Iterator[str]:
    """What failed, in full, and what is unsupported, reason by reason."""
    for result in results:
        if result.status == "failed":
            yield f"FAILED {result.id}\n    {result.message}"
    reasons: dict[str, list[str]] = {}
    for result in results:
        if result.status == "unsupported":
            reasons.setdefault(result.message, []).append(result.id)
    for reason, ids in reasons.items():
        yield f"UNSUPPORTED in {len(ids)} cases, {ids[0]} the first\n    {reason}"


def to_dict(backend: str, profile: str, results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """As JSON values."""
    return {
        "backend": backend,
        "profile": profile,
        "seconds": round(seconds, 3),
        **counts(results),
        "cases": [result.to_dict() for result in results],
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value >= 1000 else f"{value:.2f}"
