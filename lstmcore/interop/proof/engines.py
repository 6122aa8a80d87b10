"""What came out of running a file: on the reference, read by us, or on the engine that its format belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.errors import ExportError, FileError, LstmcoreError, MissingLibraryError
from lstmcore.hookspecs import Judge
from lstmcore.interop import formats
from lstmcore.interop.proof.subject import Subject, Values, named
from lstmcore.interop.reading import File

Array = NDArray[Any]
Given = Sequence[Mapping[str, Array]]


@dataclass(frozen=True)
class Observed:
    """What one engine made of the cases: leaving values by the subject's names, and what else it showed.

    ``inner`` are values by layer's name, of each case; empty where the engine shows none. ``status`` is "" where it
    ran, or says why not. ``judge``: it is an engine that the format belongs to.
    """

    engine: str
    file: str
    version: str = ""
    dtype: str = "float32"
    leaving: Given = ()
    inner: Given = ()
    status: str = ""
    remedy: str = ""
    judge: bool = True


def read_by_us(subject: Subject, cases: Given, file: str) -> Observed:
    """The subject on the reference engine, in float64."""
    whole = [subject.run(case, "float64") for case in cases]
    leaving = [{name: values[name] for name in subject.leaving} for values in whole]
    inner = named(subject, whole)
    return Observed("lstmcore", file, dtype=subject.model.dtype, leaving=leaving, inner=inner, judge=False)


def judged(file: File, subject: Subject, cases: Given) -> list[Observed]:
    """What the engines of a file's format make of it; a row also for those that are not installed, or fail."""
    return [_judged(judge, file, subject, cases) for judge in formats.judges() if judge.format == file.format]


def _judged(judge: Judge, file: File, subject: Subject, cases: Given) -> Observed:
    name = file.name
    if plugins.lacks(judge):
        return Observed(judge.name, name, status="missing", remedy=judge.install)
    version = _version(judge)
    if subject.states and not judge.states:
        return Observed(judge.name, name, version, status="not asked", remedy="it cannot be given states")
    try:
        run = formats.function(judge.run)
        leaving, inner = zip(*(_case(run, file, subject, case) for case in cases), strict=True)
    except MissingLibraryError as missing:
        return Observed(judge.name, name, version, status="missing", remedy=str(missing))
    except (FileError, ExportError) as refusal:
        return Observed(judge.name, name, version, status="cannot run it", remedy=_line(refusal))
    except Exception as failure:  # an engine may fail in any way; what the others say is still told
        return Observed(
            judge.name, name, version, status="failed", remedy=f"{type(failure).__name__}: {_line(failure)}"
        )
    return Observed(judge.name, name, version, subject.model.dtype, leaving, inner if all(inner) else ())


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else ""


def _version(judge: Judge) -> str:
    try:
        return metadata.version(judge.requires[-1]) if judge.requires else ""
    except metadata.PackageNotFoundError:
        return ""


def _case(run: Any, file: File, subject: Subject, case: Mapping[str, Array]) -> tuple[Values, Values]:
    """One case: in one piece, or sample by sample where the file has no batch."""
    if not subject.one_call or file.ours:
        return _call(run, file, subject, case)
    samples = len(next(iter(case.values())))
    calls = [_call(run, file, subject, {n: a[k : k + 1] for n, a in case.items()}) for k in range(samples)]
    leaving, inner = (
        {name: np.concatenate([call[side][name] for call in calls]) for name in calls[0][side]} for side in (0, 1)
    )
    return leaving, inner


def _call(run: Any, file: File, subject: Subject, case: Mapping[str, Array]) -> tuple[Values, Values]:
    kinds = {"float": subject.model.dtype, "int": "int32", "bool": "bool"}
    laid_out = {v: case[v] if file.ours else subject.outward(_name(subject, v), case[v]) for v in subject.entering}
    given = [np.ascontiguousarray(laid_out[v], kinds[subject.program.values[v].kind]) for v in subject.entering]
    outputs, layers = run(file.path, given)
    if len(outputs) != len(subject.leaving):
        raise LstmcoreError(f"it gives {len(outputs)} outputs; the model has {len(subject.leaving)}")
    ends = zip(subject.leaving, outputs, strict=True)
    leaving = {v: np.asarray(y) if file.ours else subject.inward(v, y) for v, y in ends}
    alone = subject.one_call and not file.ours
    return leaving, {name: np.asarray(y)[None] if alone else np.asarray(y) for name, y in dict(layers).items()}


def _name(subject: Subject, value: str) -> str:
    return subject.called.get(value, value)
