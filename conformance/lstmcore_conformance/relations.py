"""Checks without an oracle: what a backend computes in one way it must compute in another way too.

Each runs a case and its counterpart on the backend under examination alone, from the same weights and data, and
compares the two. They find what an oracle that errs with the backend would not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.contract import Backend
from lstmcore_conformance.cases import Case
from lstmcore_conformance.results import Judge
from lstmcore_conformance.subjects import NAME, Outcome, Sessions, Subject, subject

Array = NDArray[Any]
Run = Callable[[Subject], Outcome]
Relation = Callable[[Case, Subject, Run, Judge], None]


def _variant(case: Case, layer: str | None = None, options: Mapping[str, Any] | None = None, **changes: Any) -> Subject:
    """The case with another layer, options or settings, on the same data; an option None is left out."""
    given = {**case.options, **(options or {})}
    settings = {**case.settings, **changes}
    what = case.subject if layer is None else ("layer", layer)
    kept = {key: value for key, value in given.items() if value is not LEFT_OUT}
    return subject(replace(case, subject=what, settings=MappingProxyType(settings), options=MappingProxyType(kept)))


LEFT_OUT = object()


def _with(it: Subject, inputs: Mapping[str, Array], weights: Mapping[str, Array] | None = None) -> Subject:
    """The subject on other data, of which it takes what it has."""
    return replace(
        it,
        inputs={name: inputs[name] for name in it.program.inputs},
        weights=it.weights if weights is None else {path: weights[path] for path in it.program.weights},
    )


def _steps(it: Subject, *steps: Any) -> dict[str, Array]:
    """The inputs with those steps of time alone: of x and of the mask, not of states."""
    timed = ("inputs", "x", "mask")
    return {name: array[:, slice(*steps)] if name in timed else array for name, array in it.inputs.items()}


def _same(judge: Judge, it: Subject, given: Sequence[Array], expected: Sequence[Array], words: str) -> None:
    for name, a, b in zip(it.names, given, expected, strict=True):
        judge.values(f"{name}, {words}", a, b, None if b.dtype.kind == "f" else b.dtype.name)


def permuted(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """The samples in another order give the results in that order."""
    expected, samples = run(it), np.arange(case.settings["B"])
    for words, order in (("in reverse", samples[::-1]), ("the last first", np.roll(samples, 1))):
        other = replace(
            it,
            inputs={name: array[order] for name, array in it.inputs.items()},
            carries={name: array[order] for name, array in it.carries.items()},
        )
        given = run(other)
        _same(judge, it, given.outputs, [y[order] for y in expected.outputs], f"samples {words}")
        for name, array in expected.carries.items():
            judge.values(f"next {name}, samples {words}", given.carries[name], array[order])


def split(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """A sequence cut in pieces, the states passed on from output to input, gives what it gives in one piece."""
    states = [name for name in it.program.inputs if name not in ("inputs", "x", "mask", "previous")]
    time, pieces, passed = case.settings["T"], [], dict[str, Array]()
    for start, stop in ((0, time * 2 // 5), (time * 2 // 5, time * 2 // 5 + 1), (time * 2 // 5 + 1, time)):
        outputs = run(_with(it, {**_steps(it, start, stop), **passed})).outputs
        pieces.append(outputs[0])
        passed = dict(zip(states, outputs[1:], strict=True))
        if "previous" in it.inputs:
            passed["previous"] = outputs[0][:, -1]
    joined = [np.concatenate(pieces, 1), *(passed[name] for name in states)]
    _same(judge, it, [array.astype(case.dtype) for array in joined], run(it).outputs, "in pieces")


def padded(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """Right-padded and masked, a sequence gives what it gives alone at its own length, whatever the padding holds."""
    whole, bare = run(it).outputs, _variant(case, mask=None)
    backwards = case.options.get("go_backwards", False)
    sequences = case.options.get("return_sequences", False)
    for sample, length in enumerate(it.inputs["mask"].sum(1)):
        rows = slice(sample, sample + 1)
        alone = run(_with(bare, {name: array[rows] for name, array in _steps(it, length).items()})).outputs
        kept = slice(-length, None) if backwards else slice(length)
        cut = [y[rows][:, kept] if sequences and y.ndim == 3 else y[rows] for y in whole]
        _same(judge, it, cut, alone, f"sample {sample} padded")


def flipped(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """go_backwards is the same as turning input and mask round."""
    forwards = _variant(case, options={"go_backwards": False})
    turned = {name: array[:, ::-1] if name in ("inputs", "mask") else array for name, array in it.inputs.items()}
    _same(judge, it, run(it).outputs, run(_with(forwards, turned)).outputs, "go_backwards")


def rolled(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """unroll changes no number."""
    _same(judge, it, run(it).outputs, run(_variant(case, options={"unroll": False})).outputs, "unrolled")


def as_scan(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """LSTM, GRU, SimpleRNN are RNN with their cell: the fused op is a scan."""
    scan = _variant(case, "RNN", {"cell": f"{case.subject[1]}Cell"})
    _same(judge, it, run(it).outputs, run(_with(scan, it.inputs, it.weights)).outputs, "as a scan of its cell")


def two_runs(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """Bidirectional is a run forwards and a run backwards, put back in order of time and merged."""
    kind, sequences = case.options["wraps"], case.options.get("return_sequences", False)
    found: list[tuple[Array, ...]] = []
    count = sum(name.startswith("state_") for name in it.inputs) // 2
    for k, (direction, backwards) in enumerate((("forward", False), ("backward", True))):
        options = {"go_backwards": backwards, "zero_output_for_mask": sequences}
        options |= dict.fromkeys(("wraps", "merge_mode"), LEFT_OUT)
        alone = _variant(case, kind, options)
        own = {f"state_{n}": it.inputs[f"state_{k * count + n}"] for n in range(count)}
        start = f"{NAME}/{direction}/"
        weights = {path.replace(start, f"{NAME}/"): a for path, a in it.weights.items() if path.startswith(start)}
        found.append(run(_with(alone, {**it.inputs, **own}, weights)).outputs)
    (forward, *states), (backward, *others) = found
    merged = MERGES[case.options["merge_mode"]](forward, backward[:, ::-1] if sequences else backward)
    _same(judge, it, run(it).outputs, [*merged, *states, *others], "two runs")


MERGES: Mapping[str | None, Callable[[Array, Array], list[Array]]] = MappingProxyType(
    {
        "concat": lambda a, b: [np.concatenate([a, b], -1)],
        "sum": lambda a, b: [a + b],
        "ave": lambda a, b: [(a + b) / 2],
        "mul": lambda a, b: [a * b],
        None: lambda a, b: [a, b],
    }
)


def one_by_one(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """RNN over a list of cells is a layer for each, one upon the other."""
    inputs, states = dict(it.inputs), list[Array]()
    y: Array | None = None
    for k, cell in enumerate(case.options["cell"]):
        last = k + 1 == len(case.options["cell"])
        options = {"cell": cell, **({} if last else {"return_sequences": True})}
        if k:
            # Outputs already stand in the order of processing, and so must the mask.
            options["go_backwards"] = False
        features = case.settings["I"] if y is None else y.shape[-1]
        alone = _variant(case, None, options, I=features)
        own = {name: f"state_{len(states) + n}" for n, name in enumerate(_states(alone))}
        given = {**inputs, **{name: it.inputs[source] for name, source in own.items()}}
        start = f"{NAME}/cell_{k}/"
        weights = {path.replace(start, f"{NAME}/"): a for path, a in it.weights.items() if path.startswith(start)}
        y, *after = run(_with(alone, given, weights)).outputs
        states += after
        inputs["inputs"] = y
        if k == 0 and case.options.get("go_backwards") and "mask" in inputs:
            inputs["mask"] = inputs["mask"][:, ::-1]
    assert y is not None
    _same(judge, it, run(it).outputs, [y, *states], "one by one")


def _states(it: Subject) -> list[str]:
    return [name for name in it.program.inputs if name.startswith("state_")]


def per_step(case: Case, it: Subject, run: Run, judge: Judge) -> None:
    """TimeDistributed is its layer at each step by itself."""
    kind, options = case.options["wraps"]
    (x,) = it.inputs.values()
    alone = _variant(case, kind, {"wraps": LEFT_OUT, **options}, shape=x.shape[2:])
    steps = [run(_with(alone, {"inputs": x[:, t]}, it.weights)).outputs for t in range(x.shape[1])]
    expected = [np.stack(ys, 1) for ys in zip(*steps, strict=True)]
    _same(judge, it, run(it).outputs, expected, "step by step")


def _check(relation: Relation) -> Callable[[Case, Backend, Judge, Sessions], None]:
    def check(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
        relation(case, subject(case), lambda it: it.run(backend, case.dtype, sessions), judge)

    return check


RELATIONS: Mapping[str, Callable[[Case, Backend, Judge, Sessions], None]] = MappingProxyType(
    {
        relation.__name__: _check(relation)
        for relation in (permuted, split, padded, flipped, rolled, as_scan, two_runs, one_by_one, per_step)
    }
)
