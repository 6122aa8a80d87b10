"""The proof that a model arrived: the target, as its own engine and we ourselves read it, against the source."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lstmcore
from lstmcore.interop.proof.alike import distance, nearest, shared_names, worst
from lstmcore.interop.proof.diagnosis import Scene, diagnose
from lstmcore.interop.proof.engines import Observed, judged, read_by_us
from lstmcore.interop.proof.inputs import cases as generated
from lstmcore.interop.proof.reading import File, read_back
from lstmcore.interop.proof.report import EngineRow, LayerRow, Proof
from lstmcore.interop.proof.signature import Pairing, pairing
from lstmcore.interop.proof.subject import Part, Subject, Values, labels
from lstmcore.interop.proof.weights import WeightsFound, compare_weights
from lstmcore.models.base import BaseModel
from lstmcore.program import Node
from lstmcore.runtime.compare import limit as allowed
from lstmcore.runtime.compare import scale_error
from lstmcore.storage.atomic import PathLike

Array = NDArray[Any]

# What an engine is known to make of files of an older generation: docs/import-keras.md.
OTHERWISE = ("hard_sigmoid of Keras 3",)


def prove(
    model: BaseModel,
    path: PathLike,
    *,
    format: str | None = None,
    source: PathLike | None = None,
    source_format: str | None = None,
    streaming: bool = False,
    inputs: Any = None,
) -> Proof:
    """Whether the file at ``path`` computes what ``model`` does in float64.

    The file is read back, and run by the engines of its format that are installed (`formats.judges`); so is
    ``source``, the file that the model came from. The inputs are generated, unless given as `BaseModel.predict` takes
    them. ``streaming``: the file was written with it.

    Raises:
        FileError: the file cannot be read back.
        SpecError: it takes or gives other things than the model.
    """
    file = File.at(path, format)
    back = read_back(file, model)
    origin = None if source is None or streaming else File.at(source, source_format)
    ours = Subject.of(model, streaming)
    theirs = None if back is None else Subject.of(back, streaming and _as_many(model, back))
    return against(ours, theirs, origin, file, inputs)


def compare_models(
    first: BaseModel, second: BaseModel, files: tuple[PathLike, PathLike], *, inputs: Any = None
) -> Proof:
    """Whether two files, of which these are the models, compute the same; the first is the reference.

    Where one of them was written to be streamed, both are compared as such.
    """
    one, other = (File.at(path) for path in files)
    streaming = one.streams or other.streams
    return against(Subject.of(first, streaming), Subject.of(second, streaming), one, other, inputs)


def made_up(model: BaseModel) -> dict[str, Array]:
    """Inputs of the right shapes and kinds for a model, by name, as `BaseModel.predict` takes them; from a seed."""
    subject = Subject.of(model)
    case = _cases(subject, pairing(subject, subject, ("", "")))[-1]
    return {name: subject.outward(name, case[name]) for name in subject.program.inputs}


def against(source: Subject, target: Subject | None, origin: File | None, file: File, inputs: Any = None) -> Proof:
    """The proof. ``origin`` is the file of the source, where that has engines to run it."""
    names = _names(origin, file, source)
    pair = pairing(source, target or source, names)
    cases = [_given(source, inputs)] if inputs is not None else _cases(source, pair)
    right = [source.run(case, "float64") for case in cases]
    baseline = _baseline(source, cases, right)
    theirs = [pair.given(case) for case in cases]
    found: list[tuple[Observed, Pairing]] = []
    if target is not None:
        seen, _ = read_by_us(target, theirs, names[1], "lstmcore")
        found.append((replace(seen, version=lstmcore.__version__), pair))
    if origin is None or file.streams or not origin.streams:
        found += [(replace(seen, file=names[1]), pair) for seen in judged(file.path, file.format, pair.target, theirs)]
    if origin is not None and origin.streams == file.streams:
        own = pairing(source, source, (names[0], names[0]))
        found += [(replace(seen, file=names[0]), own) for seen in judged(origin.path, origin.format, source, cases)]
    weights = None if target is None else compare_weights(source, target)
    return _Judgement(source, right, baseline, names, weights).proof(found, cases)


def _as_many(model: BaseModel, back: BaseModel) -> bool:
    """Whether what was read back is the model itself, not its graph with states as inputs."""
    return len(back.program.inputs) == len(model.program.inputs)


def _names(origin: File | None, file: File, source: Subject) -> tuple[str, str]:
    """What the two are called: by their last names, unless these are the same."""
    if origin is None:
        return str(source.model.name), file.name
    if origin.name == file.name:
        return os.fspath(origin.path), os.fspath(file.path)
    return origin.name, file.name


def _cases(source: Subject, pair: Pairing) -> list[Mapping[str, Array]]:
    return [case.values for case in generated(source, pair.shapes(), pair.limits())]


def _given(source: Subject, inputs: Any) -> Mapping[str, Array]:
    """The user's inputs, the states zero."""
    from lstmcore.runtime.feed import feed

    model = source.model
    fed = feed(source.program, model._by_input(inputs), "float64")
    samples = len(next(iter(fed.values())))
    model._batch_size(samples, samples)
    states = {
        name: np.zeros((samples, *(n or 0 for n in source.program.values[name].shape[1:])))
        for name in source.entering
        if name not in fed
    }
    single = {
        name: array.astype(np.float32).astype(np.float64) for name, array in fed.items() if array.dtype.kind == "f"
    }
    return {**fed, **(single if model.dtype == "float32" else {}), **states}


def _baseline(source: Subject, cases: Sequence[Mapping[str, Array]], right: Sequence[Values]) -> float:
    """The E of the reference engine itself, in float32."""
    found = 0.0
    for case, exact in zip(cases, right, strict=True):
        own = source.run(case, "float32")
        found = max([found, *(scale_error(own[n], exact[n], "float32") for n in source.leaving if _float(source, n))])
    return found


def _float(subject: Subject, name: str) -> bool:
    return subject.program.values[name].kind == "float"


@dataclass(frozen=True)
class _Judgement:
    """Everything by which what engines made is judged."""

    source: Subject
    right: Sequence[Values]
    baseline: float
    names: tuple[str, str]
    weights: WeightsFound | None

    @property
    def limit(self) -> float:
        return allowed(self.baseline)

    def proof(self, found: Sequence[tuple[Observed, Pairing]], cases: Sequence[Mapping[str, Array]]) -> Proof:
        """The tables."""
        rows, columns, layers, notes = [], [], [], []
        silent = self._silent()
        for seen, pair in found:
            if seen.status:
                rows.append(EngineRow(seen.file, seen.engine, seen.version, None, seen.status, seen.remedy))
                continue
            seen = replace(seen, leaving=[pair.made(case) for case in seen.leaving])
            error = self._error(seen)
            inner = self._layers(seen, error > self.limit)
            row = self._row(seen, error, inner, silent)
            inside = self._inside(row, inner)
            if inside and row.status == "agrees":
                notes.append(
                    f"{row.file} on {row.engine}: the outputs agree; what comes out of layer {inside} does not."
                )
            rows.append(row)
            if seen.inner:
                columns.append(f"{row.engine}" if row.file == self.names[1] else f"{row.engine}, {row.file}")
                layers.append(inner)
        return Proof(
            source=self.names[0],
            target=self.names[1],
            rows=tuple(rows),
            columns=tuple(columns),
            layers=self._table(layers),
            weights=self.weights,
            samples=max(len(next(iter(case.values()))) for case in cases),
            cases=len(cases),
            baseline=self.baseline,
            silent=silent,
            notes=tuple(notes),
        )

    def _silent(self) -> bool:
        """Whether nothing that leaves the source tells one sample or step from another."""
        return all(
            float(np.ptp(values[n])) == 0 for values in self.right for n in self.source.leaving if values[n].size
        )

    def _error(self, seen: Observed) -> float:
        return max(
            _far(case[name], exact[name], seen.dtype)
            for case, exact in zip(seen.leaving, self.right, strict=True)
            for name in self.source.leaving
        )

    def _row(self, seen: Observed, error: float, inner: Mapping[str, float | None], silent: bool) -> EngineRow:
        inside = next((name for name, far in inner.items() if far is not None and far > self.limit), "")
        if error <= self.limit and not (silent and inside):
            return EngineRow(seen.file, seen.engine, seen.version, error, "agrees")
        first = inside or self._unseen(inner)
        scene = Scene(self.source, self._weights64(), self.right, seen, self.limit)
        words = diagnose(scene, self._part(first), self.source.parts)
        status = "DIFFERS"
        if seen.file != self.names[1] and any(known in line for line in words for known in OTHERWISE):
            status = "reads it otherwise, as is known of it"
        return EngineRow(seen.file, seen.engine, seen.version, error, status, "", first, words)

    def _weights64(self) -> Mapping[str, Array]:
        return {path: array.astype(np.float64) for path, array in self.source.model.every_path().items()}

    def _part(self, label: str) -> Part | None:
        return next((part for part in self.source.parts for name, _ in labels(part) if name == label), None)

    def _unseen(self, inner: Mapping[str, float | None]) -> str:
        """The first layer whose numbers are nowhere, if none after it is seen."""
        names = list(inner)
        seen = [k for k, name in enumerate(names) if inner[name] is not None]
        after = seen[-1] + 1 if seen else 0
        return names[after] if seen and after < len(names) else ""

    def _inside(self, row: EngineRow, inner: Mapping[str, float | None]) -> str:
        return next((name for name, far in inner.items() if far is not None and far > self.limit), "")

    def _layers(self, seen: Observed, differs: bool) -> dict[str, float | None]:
        """E of what comes out of each layer, None where it is not to be seen."""
        if not seen.inner:
            return {}
        names = shared_names(seen.inner)
        found: dict[str, float | None] = {}
        for part in self.source.parts:
            for label, value in labels(part):
                exact = [values[value] for values in self.right]
                found[label] = self._layer(seen, names, label, exact, differs)
        return found

    def _layer(
        self, seen: Observed, names: Sequence[str], label: str, exact: Sequence[Array], differs: bool
    ) -> float | None:
        if label in names and (far := worst(label, seen.inner, exact)) < math.inf:
            return far
        near = nearest(seen.inner, exact, self.limit)
        if near is not None:
            return near[1]
        below = [name for name in names if name.startswith((f"{label}/", f"{label}."))] if differs else []
        far = min((worst(name, seen.inner, exact) for name in below), default=math.inf)
        return far if far < math.inf or label in names else None

    def _table(self, columns: Sequence[Mapping[str, float | None]]) -> tuple[LayerRow, ...]:
        rows = []
        for part in self.source.parts:
            for label, _ in labels(part):
                errors = tuple(column.get(label) for column in columns)
                if self._tells(part, label, errors):
                    rows.append(LayerRow(label, part.kind, errors))
        return tuple(rows)

    def _tells(self, part: Part, label: str, errors: Sequence[float | None]) -> bool:
        """Of a graph, only nodes with weights have rows, and those that differ."""
        if self.source.model.named_layers:
            return True
        nodes: Sequence[Node] = part.nodes
        differs = any(far is not None and far > self.limit for far in errors)
        return differs or (": " not in label and any(node.weights and node.inputs for node in nodes))


def _far(y: Array, exact: Array, dtype: str) -> float:
    if y.shape != exact.shape:
        return distance(y, exact, dtype) if np.squeeze(y).shape == np.squeeze(exact).shape else math.inf
    return scale_error(y, exact, dtype)
