"""Runs cases on a backend::

from lstmcore_conformance import suite
results = list(suite.run(NAME, suite.cases("smoke")))
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from lstmcore import plugins
from lstmcore.contract import Backend
from lstmcore.errors import UnsupportedOp
from lstmcore_conformance.cases import PROFILES, Case, load
from lstmcore_conformance.checks import CHECKS
from lstmcore_conformance.diagnosis import diagnose
from lstmcore_conformance.results import Judge, Result, Status
from lstmcore_conformance.subjects import Sessions

__all__ = ["PROFILES", "Case", "Result", "cases", "examine", "run"]


def cases(profile: str = "standard", containing: str = "", families: Collection[str] = ()) -> tuple[Case, ...]:
    """The cases of a profile whose id contains a text, of those families, or of all where none is named."""
    return tuple(c for c in load(profile) if containing in c.id and (not families or c.family in families))


def run(backend: str | Backend, selected: Iterable[Case]) -> Iterator[Result]:
    """The results, one by one. A BackendError says that there is no such backend, or that it does not load."""
    engine, sessions = plugins.get(backend), Sessions()
    for case in selected:
        yield examine(case, engine, sessions)


def examine(case: Case, backend: Backend, sessions: Sessions | None = None) -> Result:
    """The result of one case. A crash of the backend fails the case; a missing op makes it unsupported."""
    judge = Judge(case.dtype)
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
        message += diagnose(case, backend)
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
