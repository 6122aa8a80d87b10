"""Who says what is right: paper, then Keras' goldens and the rule in plain loops, then the reference in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore_conformance import goldens, loss_rule, rule
from lstmcore_conformance.cases import Case
from lstmcore_conformance.subjects import Outcome, Sessions, Subject

Array = NDArray[Any]
_sessions = Sessions()


def reference(subject: Subject, dtype: str = "float64") -> Outcome:
    """What the reference makes of it."""
    return subject.run(plugins.get(plugins.reference()), dtype, _sessions)


def named(subject: Subject, outcome: Outcome) -> dict[str, Array]:
    """Outputs by name, and carries as ``next h``."""
    outputs = dict(zip(subject.names, outcome.outputs, strict=True))
    return {**outputs, **{f"next {name.rpartition('/')[2]}": array for name, array in outcome.carries.items()}}


def _paper(case: Case, subject: Subject) -> dict[str, Array]:
    return dict(subject.expected)


def _keras(case: Case, subject: Subject) -> dict[str, Array]:
    return dict(zip(subject.names, goldens.read(case, subject), strict=True))


def _reference(case: Case, subject: Subject) -> dict[str, Array]:
    return named(subject, reference(subject))


def _rounded(case: Case, subject: Subject) -> dict[str, Array]:
    """The reference in the dtype of the case, where that decides: of True and False alone."""
    return named(subject, reference(subject, case.dtype))


def _rule(case: Case, subject: Subject) -> dict[str, Array]:
    outputs = loss_rule.outputs if case.subject[0] == "loss" else rule.outputs
    return outputs(case, subject)


ORACLES: Mapping[str, Callable[[Case, Subject], dict[str, Array]]] = MappingProxyType(
    {"paper": _paper, "keras": _keras, "rule": _rule, "reference": _reference, "rounded": _rounded}
)


def expected(case: Case, subject: Subject) -> dict[str, Array]:
    """The values that must come out, by name."""
    return ORACLES[case.oracle](case, subject)
