"""Where a wrong gradient comes from: once a case has failed, each of its ops by itself, on the numbers it meets there.

Nothing here decides whether a case passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.contract import Backend, choose
from lstmcore.program import Builder, Node, interpret
from lstmcore_conformance import gradients
from lstmcore_conformance.cases import Case
from lstmcore_conformance.gradients import Question
from lstmcore_conformance.results import Judge
from lstmcore_conformance.subjects import Subject, subject

Array = NDArray[Any]


def diagnose(case: Case, backend: Backend) -> str:
    """``"; by itself, Lstm 'it' has ..."``, or "" where nothing can be said."""
    try:
        asked = gradients.question(case.key, subject(case))
        found = list(_culprits(case, asked, backend))
    except Exception:  # a guess that cannot be computed explains nothing
        return ""
    if found:
        return f"; by itself, {'; and '.join(found[:2])}"
    return "; each op by itself is right, so it is how their gradients are put together" if asked.program.nodes else ""


def _culprits(case: Case, asked: Question, backend: Backend) -> Iterator[str]:
    """The ops of the subject whose gradients are wrong by themselves, and which of them."""
    known = _values(asked)
    for node in asked.program.nodes:
        alone = _alone(asked, node, known)
        if alone is None:
            continue
        one = gradients.question(f"{case.key} {node.name}", alone)
        right = gradients.answer(one, gradients.reference(), "float64")
        judge = Judge(case.dtype, case.limit)
        gradients.judge_answer(one, gradients.answer(one, backend, case.dtype), right, judge)
        if judge.problems:
            wrong = [
                problem.partition(" ")[2].partition(" (of")[0] for problem in judge.problems if problem.startswith("d ")
            ]
            what = (
                f"has a wrong gradient of {', '.join(wrong)}"
                if len(wrong) == len(judge.problems)
                else "is wrong forwards"
            )
            yield f"{type(node.op).__name__} {node.name!r} {what}"


def _values(asked: Question) -> Mapping[str, Array]:
    """All values of the program, by the reference in float64."""
    program = replace(asked.program, outputs=tuple(asked.program.values))
    backend = gradients.reference()
    runs = [choice.run for choice in choose(backend, program, "float64", training=True)]
    weights, values = ({n: backend.tensor(a) for n, a in d.items()} for d in (asked.weights, asked.values))
    with np.errstate(all="ignore"):
        outputs, _ = interpret(program, runs, weights, values)
    return {name: np.array(backend.numpy(tensor)) for name, tensor in outputs.items()}


def _alone(asked: Question, node: Node, known: Mapping[str, Array]) -> Subject | None:
    """The node as a subject; None where it has nothing to take a gradient of."""
    build = Builder()
    names = dict.fromkeys(name for name in node.inputs if name is not None)
    for name in names:
        build.input(name, known[name].shape, asked.program.values[name].kind)
    build.add(node)
    floats = [name for name in node.outputs if build.values[name].kind == "float"]
    if not names or not floats:
        return None
    weights = {path: asked.weights[path] for path in node.weights.values()}
    return Subject(build.finish(floats), weights, {name: known[name] for name in names})
