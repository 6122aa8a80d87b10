"""How a case is checked: one function per kind, by the name that families use."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.contract import Backend
from lstmcore.errors import BackendError
from lstmcore.models import load_model
from lstmcore.runtime.compare import scale_error
from lstmcore_conformance import oracles
from lstmcore_conformance.cases import Case
from lstmcore_conformance.gradients import gradient, reference
from lstmcore_conformance.relations import RELATIONS
from lstmcore_conformance.results import Judge
from lstmcore_conformance.subjects import Outcome, Sessions, Subject, chain, subject
from lstmcore_conformance.training import fit, optimizer

Array = NDArray[Any]


def values(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """Every output and every carry is what the oracle says; inputs and weights are left alone."""
    it = subject(case)
    expected = oracles.expected(case, it)
    outcome = it.run(backend, case.dtype, sessions)
    given = oracles.named(it, outcome)
    for name, array in expected.items():
        judge.values(name, given[name], array, None if array.dtype.kind == "f" else array.dtype.name)
    if case.dtype != "float64":
        judge.headroom = _worst(oracles.named(it, oracles.reference(it, case.dtype)), expected, case.dtype)


def _worst(given: Mapping[str, Array], expected: Mapping[str, Array], dtype: str) -> float:
    """The largest E."""
    floats = (name for name, array in expected.items() if array.dtype.kind == "f")
    return max((scale_error(given[name], expected[name], dtype) for name in floats), default=0.0)


def nan(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """NaN in one sample passes through it, and reaches no other."""
    values(case, backend, judge, sessions)
    it = subject(case)
    (x,) = (array for array in it.inputs.values() if array.dtype.kind == "f" and np.isnan(array).any())
    touched = np.isnan(x.reshape(len(x), -1)).any(1)
    for name, array in zip(it.names, it.run(backend, case.dtype, sessions).outputs, strict=True):
        spread = np.isnan(array.reshape(len(array), -1)).any(1)
        judge.check(not spread[~touched].any(), f"{name}: NaN of samples {_rows(touched)} is in {_rows(spread)}")
        judge.check(bool(spread[touched].all()), f"{name}: NaN of samples {_rows(touched)} was lost")


def _rows(flags: Array) -> list[int]:
    return [int(k) for k in np.flatnonzero(flags)]


def repeat(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """The same call gives the same bytes, also with another call in between."""
    it = subject(case)
    first = it.run(backend, case.dtype, sessions)
    _slice(it, slice(0, 1)).run(backend, case.dtype, sessions)
    again = it.run(backend, case.dtype, sessions)
    for name, array in oracles.named(it, first).items():
        judge.same(name, oracles.named(it, again)[name], array, "the same call gave other bytes")


def batch(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """Each sample alone gives what it gives within the batch."""
    it = subject(case)
    whole = oracles.named(it, it.run(backend, case.dtype, sessions))
    for k in range(case.settings["B"]):
        alone = oracles.named(it, _slice(it, slice(k, k + 1)).run(backend, case.dtype, sessions))
        for name, array in whole.items():
            judge.values(f"sample {k} alone, {name}", alone[name], array[k : k + 1])


def _slice(it: Subject, rows: slice) -> Subject:
    return replace(
        it,
        inputs={name: array[rows] for name, array in it.inputs.items()},
        carries={name: array[rows] for name, array in it.carries.items()},
    )


def resume(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """A sequence cut in two, the carries passed on, gives what it gives in one piece; carries are the states."""
    it = subject(case)
    whole = it.run(backend, case.dtype, sessions)
    cut = case.settings["T"] * 2 // 5
    parts: list[Outcome] = []
    for steps in (slice(0, cut), slice(cut, None)):
        carries = parts[-1].carries if parts else it.carries
        inputs = {name: array[:, steps] for name, array in it.inputs.items()}
        parts.append(replace(it, inputs=inputs, carries=carries).run(backend, case.dtype, sessions))
    joined = np.concatenate([part.outputs[0] for part in parts], 1)
    expected = oracles.expected(case, it)
    judge.values("y in two pieces", joined, expected["y"])
    for name, array in whole.carries.items():
        short = name.rpartition("/")[2]
        judge.values(f"next {short} after two pieces", parts[1].carries[name], expected[f"next {short}"])
        if short in it.names:
            judge.same(f"state {short}", whole.outputs[it.names.index(short)], array, "is not the carry returned")


def count(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """The model has that many weights, as Keras counts them, and runs with them."""
    model = chain(case)
    given = model.count_params()
    judge.check(given == case.options["count"], f"{given} weights; expected {case.options['count']}")
    values(case, backend, judge, sessions)


def files(case: Case, backend: Backend, judge: Judge, sessions: Sessions) -> None:
    """A model saved while on one backend gives the same on every other one that loads it, both ways."""
    it = subject(case)
    expected = oracles.expected(case, it)["y"]
    x = _given(it, case.dtype)
    for other in _others(case, backend):
        for source, target in ((backend, other), (other, backend)):
            model = chain(case)
            try:
                judge.values(f"on {source.name}", model.predict(x, backend=source), expected)
                loaded = _through_file(model)
                judge.values(f"from {source.name} to {target.name}", loaded.predict(x, backend=target), expected)
            except BackendError:
                if source is backend or target is reference():
                    raise
                continue  # what another engine lacks is told when that engine is examined
            for name, array in model.weights.items():
                judge.same(f"weight {name}", loaded.weights[name], array, "changed on its way through the file")


def _given(it: Subject, dtype: str) -> Array:
    (x,) = it.inputs.values()
    return x.astype(dtype) if x.dtype.kind == "f" else x


def _through_file(model: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        return load_model(path)


def _others(case: Case, backend: Backend) -> Iterator[Backend]:
    """The reference; with ``"with": "all"`` every other backend that is available."""
    if case.options["with"] == "reference":
        yield reference()
        return
    for info in plugins.backends():
        if info.status == "available" and info.name != backend.name:
            yield plugins.get(info.name)


Check = Callable[[Case, Backend, Judge, Sessions], None]
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        **{f.__name__: f for f in (values, nan, repeat, batch, resume, count, files, gradient, fit, optimizer)},
        **RELATIONS,
    }
)
