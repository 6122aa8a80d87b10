"""Runs cases on a backend::

from lstmcore_conformance import suite
results = list(suite.run(NAME, suite.cases("smoke")))
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from lstmcore import plugins
from lstmcore.contract import Backend, why_untrained
from lstmcore.errors import UnsupportedOp
from lstmcore_conformance import backward
from lstmcore_conformance.cases import LEVELS, PROFILES, Case, load
from lstmcore_conformance.checks import CHECKS
from lstmcore_conformance.diagnosis import diagnose
from lstmcore_conformance.results import Judge, Result, Status
from lstmcore_conformance.subjects import Sessions

__all__ = ["LEVELS", "PROFILES", "Case", "Result", "cases", "examine", "run"]


def cases(
    profile: str = "standard", containing: str = "", families: Collection[str] = (), levels: Collection[str] = LEVELS
) -> tuple[Case, ...]:
    """The cases of a profile at those levels whose id contains a text, of those families (none named: of all)."""
    chosen = (c for c in load(profile) if c.level in levels and (not families or c.family in families))
    return tuple(c for c in chosen if containing in c.id)


def run(backend: str | Backend, selected: Iterable[Case]) -> Iterator[Result]:
    """The results, one by one. A BackendError says that there is no such backend, or that it does not load."""
    engine, sessions = plugins.get(backend), Sessions()
    for case in selected:
        yield examine(case, engine, sessions)


def examine(case: Case, backend: Backend, sessions: Sessions | None = None) -> Result:
    """The result of one case. A crash of the backend fails the case; a missing op makes it unsupported.

    So are the levels that a backend does not have, as it does not train.
    """
    if case.level != "forward" and (reason := why_untrained(backend)):
        return Result(
            case.id, case.family, case.level, "unsupported", limit=case.limit, message=untrained(backend, reason)
        )
    judge = Judge(case.dtype, case.limit)
    status: Status = "failed"
    message = ""
    try:
        CHECKS[case.check](case, backend, judge, sessions or Sessions())
        message = "; ".join(judge.problems)
        status = "failed" if message else "passed"
    except UnsupportedOp as error:
        status, message = "unsupported", str(error)
    except Exception as error:  # whatever an engine raises is a finding about it
        message = f"{type(error).__name__}: {error}"
    measured = bool(judge.error) or status == "passed"
    if status == "failed" and judge.problems:
        message += backward.diagnose(case, backend) if case.check == "gradient" else diagnose(case, backend)
    return Result(
        case.id,
        case.family,
        case.level,
        status,
        error=judge.error if measured else None,
        limit=judge.limit,
        headroom=judge.headroom,
        message=message,
    )


def untrained(backend: Backend, reason: str) -> str:
    """How the report says that a backend does not train."""
    return f"backend {backend.name!r} does not train: {reason}. To run models it need not; see --level forward"
