"""Level *gradient*: what a case runs becomes one number, and every gradient of it is asked for.

Only weights have gradients, so inputs and initial states become weights. The float outputs, the states that are left
among them, are multiplied by random numbers, no two alike, and added up. Masks, ids and noise enter as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops, plugins
from lstmcore.contract import Backend, choose
from lstmcore.program import Builder, Node, Program, Value
from lstmcore_conformance import data
from lstmcore_conformance.cases import Case
from lstmcore_conformance.likeness import likeness
from lstmcore_conformance.results import Judge
from lstmcore_conformance.subjects import Sessions, Subject, subject

Array = NDArray[Any]
UNTRAINED = ("moving_mean", "moving_variance")  # statistics: no gradient is taken of them
SMALL = 0.1
STEP, SLOPE_LIMIT = 1e-6, 1e-5
_sessions = Sessions()


@dataclass(frozen=True)
class Question:
    """A program whose first output is the number; the gradients of it are wanted for ``wrt``."""

    program: Program
    weights: Mapping[str, Array]
    values: Mapping[str, Array]
    wrt: tuple[str, ...]

    def called(self, name: str) -> str:
        """A gradient as messages name it, with the ops that the weight, input or state goes into."""
        users = [
            n for n in self.program.nodes if name in n.inputs or (name in n.weights.values() and n.outputs != (name,))
        ]
        kinds = dict.fromkeys(type(node.op).__name__ for node in users)
        return f"d {name} (of {', '.join(kinds)})" if kinds else f"d {name}"


class Answer(NamedTuple):
    """The number, what the subject gives, and the gradients by name."""

    outputs: Mapping[str, Array]
    gradients: Mapping[str, Array]


def question(key: str, it: Subject) -> Question:
    """What is asked about a subject."""
    build, weights, values = Builder(), dict(it.weights), dict[str, Array]()
    for name, array in _entering(it).items():
        if it.program.values[name].kind == "float" and name not in (*it.noise, *it.fixed):
            build.add(Node(name, ops.Parameter(array.shape), (), (name,), {"value": name}))
            weights[name] = array
        else:
            build.input(name, array.shape, it.program.values[name].kind)
            values[name] = array
    for node in it.program.nodes:
        build.add(node)
    given = dict.fromkeys((*it.program.outputs, *(carry.after for carry in it.program.carries)))
    floats = [build.values[name] for name in given if build.values[name].kind == "float"]
    if not floats:
        raise ValueError("no output is a float: there is nothing to take a gradient of")
    total, *others = [_weighed(build, key, value, values) for value in floats]
    for term in others:
        (total,) = build.op(ops.Binary("add"), total, term, name="number")
    wrt = tuple(path for path in weights if path.rpartition("/")[2] not in UNTRAINED)
    return Question(build.finish([total.name, *given]), weights, values, wrt)


def _entering(it: Subject) -> Mapping[str, Array]:
    """All that comes from outside, by name; states that are not given start at zero."""
    program = it.program
    states = {
        carry.before: it.carries[carry.name]
        if carry.name in it.carries
        else np.zeros((it.samples, *(int(n or 0) for n in program.values[carry.before].shape[1:])))
        for carry in program.carries
    }
    return {**it.inputs, **states, **it.noise}


def _weighed(build: Builder, key: str, value: Value, values: dict[str, Array]) -> Value:
    """The sum of all its numbers, each times one of its own."""
    name = f"direction of {value.name}"
    values[name] = data.direction(key, name, tuple(int(n or 0) for n in value.shape))  # all are known here
    direction = build.input(name, value.shape)
    (weighed,) = build.op(ops.Binary("multiply"), value, direction, name=f"weighed {value.name}")
    return build.op(ops.Total("sum"), weighed, name=f"sum of {value.name}")[0]


def answer(asked: Question, backend: Backend, dtype: str, sessions: Sessions | None = None) -> Answer:
    """What a backend answers. UnsupportedOp where it has no gradient of an op."""
    ready = (sessions or Sessions()).kept(
        asked.program, backend, dtype, "gradients", lambda: _ready(asked, backend, dtype)
    )
    outputs, _, gradients = ready(_tensors(backend, asked.weights, dtype), _tensors(backend, asked.values, dtype))
    return Answer(
        {name: np.array(backend.numpy(tensor)) for name, tensor in outputs.items()},
        {name: np.array(backend.numpy(gradients[name])) for name in asked.wrt},
    )


def _ready(asked: Question, backend: Backend, dtype: str) -> Callable[..., Any]:
    program = asked.program
    choices = choose(backend, program, dtype, training=True)
    function = backend.differentiate(program, choices, program.outputs[0], asked.wrt)
    return backend.compile(function, (program.weight_tensors, program.entering_tensors), dtype)


def gradient(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """Every gradient, and what the forward pass of it gives, is that of the reference in float64."""
    it = subject(case)
    asked = question(case.key, it)
    right = answer(asked, reference(), "float64", _sessions)
    judge_answer(asked, answer(asked, backend, case.dtype, sessions), right, judge, it.inputs.get("mask"))
    if case.dtype != "float64":
        own = Judge(case.dtype)
        judge_answer(asked, answer(asked, reference(), case.dtype, _sessions), right, own)
        judge.headroom = own.error
    elif case.settings["values"] in data.AWAY_FROM_KINKS:
        judge.check(
            not (problem := bent(case.key, asked, lambda one: answer(one, backend, "float64", sessions))), problem
        )


def bent(key: str, asked: Question, ask: Callable[[Question], Answer]) -> str:
    """What is wrong with the gradients beside differences of the number itself, in a random direction; "" if nothing.

    It asks no reference and no ``pull``: what judges gradients is judged by it too. At a kink, where the number has
    another slope before than behind, and where it is not finite, nothing can be said.
    """
    along = {name: data.direction(key, f"along {name}", asked.weights[name].shape) for name in asked.wrt}

    def at(step: float) -> Answer:
        moved = {name: np.asarray(asked.weights[name] + step * d) for name, d in along.items()}
        return ask(replace(asked, weights={**asked.weights, **moved}))

    here, number = at(0), asked.program.outputs[0]
    low, middle, high = (float(one.outputs[number]) for one in (at(-STEP), here, at(STEP)))
    terms = [here.gradients[name] * direction for name, direction in along.items()]
    told, most = (sum(float(np.sum(f(term))) for term in terms) for f in (np.positive, np.abs))
    limit = SLOPE_LIMIT * max(most, 1.0)
    kink = not abs((high - middle) - (middle - low)) <= limit * STEP
    if kink or abs((high - low) / (2 * STEP) - told) <= limit:
        return ""
    slope = (high - low) / (2 * STEP)
    return f"the number itself has the slope {slope:.9g} in a random direction; its gradients say {told:.9g}"


def judge_answer(asked: Question, given: Answer, right: Answer, judge: Judge, mask: Array | None = None) -> None:
    """Each gradient by itself; one that is small, or zero but for rounding, by a tenth of the largest.

    The number itself is a sum in which much cancels, and is not judged.
    """
    for name in asked.program.outputs[1:]:
        array = right.outputs[name]
        judge.values(name, given.outputs[name], array, None if array.dtype.kind == "f" else array.dtype.name)
    least = SMALL * max((float(np.abs(g).max(initial=0)) for g in right.gradients.values()), default=0.0)
    for name, array in right.gradients.items():
        judge.values(asked.called(name), given.gradients[name], array, least=least, hint=partial(likeness, mask=mask))


def reference() -> Backend:
    """The backend that judges the others."""
    return plugins.get(plugins.reference())


def _tensors(backend: Backend, arrays: Mapping[str, Array], dtype: str) -> dict[str, Any]:
    return {name: backend.tensor(a.astype(dtype if a.dtype.kind == "f" else a.dtype)) for name, a in arrays.items()}
