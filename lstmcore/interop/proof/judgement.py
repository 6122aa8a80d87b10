"""What follows from what the engines made: E by engine and by layer, the first layer that differs, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.interop.proof.alike import distance, nearest, shared_names, worst
from lstmcore.interop.proof.diagnosis import Scene, diagnose
from lstmcore.interop.proof.engines import Observed
from lstmcore.interop.proof.report import EngineRow, LayerRow, Proof
from lstmcore.interop.proof.subject import Part, Subject, Values, labels
from lstmcore.interop.proof.weights import WeightsFound
from lstmcore.program import Node
from lstmcore.runtime.compare import MOST, SHAKES, scale_error, shake
from lstmcore.runtime.compare import limit as allowed

Array = NDArray[Any]

# What an engine is known to make of files of an older generation: docs/import-keras.md.
OTHERWISE = ("hard_sigmoid of Keras 3",)


@dataclass(frozen=True)
class Judgement:
    """Everything by which what engines made is judged."""

    source: Subject
    cases: Sequence[Mapping[str, Array]]
    right: Sequence[Values]
    single: Sequence[Values]
    names: tuple[str, str]
    weights: WeightsFound | None
    strict: bool
    shaken: float = 0.0

    @cached_property
    def baseline(self) -> float:
        """The E of the reference engine itself, in float32."""
        floats = [name for name in self.source.leaving if self.source.program.values[name].kind == "float"]
        return max((self._own(name) for name in floats), default=0.0)

    @property
    def limit(self) -> float:
        """The largest E that counts as agreement, of what leaves the model."""
        return allowed(max(self.baseline, self.shaken))

    def limit_of(self, value: str) -> float:
        """The same of a value within: what makes little of rounding can follow on what makes much of it."""
        return max(self.limit, allowed(self._own(value)))

    def _own(self, value: str) -> float:
        pairs = zip(self.single, self.right, strict=True)
        return max(scale_error(one[value], exact[value], "float32") for one, exact in pairs)

    def shaken_where_doubtful(self, found: Sequence[Observed]) -> Judgement:
        """The same; where an engine is beyond what one draw of rounding allows, after more draws."""
        far = max((self.error(seen) for seen in found if not seen.status), default=0.0)
        doubtful = self.source.model.dtype == "float32" and self.limit < far <= MOST
        return replace(self, shaken=self._shaken()) if doubtful else self

    def _shaken(self) -> float:
        floats = [name for name in self.source.leaving if self.source.program.values[name].kind == "float"]
        found = 0.0
        for number in range(SHAKES):
            for case, exact in zip(self.cases, self.right, strict=True):
                moved = self.source.shaken({name: shake(name, array, number) for name, array in case.items()}, number)
                found = max([found, *(scale_error(moved[name], exact[name], "float32") for name in floats)])
        return found

    def proof(self, found: Sequence[Observed]) -> Proof:
        """The tables."""
        rows, columns, layers, notes = [], [], [], []
        silent = self._silent()
        for seen in found:
            if seen.status:
                ok = self._excused(seen, found)
                rows.append(EngineRow(seen.file, seen.engine, seen.version, None, seen.status, ok, seen.remedy))
                continue
            error = self.error(seen)
            inner = self._layers(seen, silent or error > self.limit)
            inside = self._inside(inner)
            row = self._row(seen, error, inner, inside, silent)
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
            samples=max(len(next(iter(case.values()))) for case in self.cases),
            cases=len(self.cases),
            baseline=self.baseline,
            shaken=self.shaken,
            silent=silent,
            notes=tuple(notes),
        )

    def _excused(self, seen: Observed, found: Sequence[Observed]) -> bool:
        """Whether it may be that an engine did not run: the source's need not, of the target's one must."""
        if seen.file != self.names[1] or seen.status in ("missing", "not asked"):
            return True
        others = [other for other in found if other.file == seen.file and other.judge and not other.status]
        return seen.status == "cannot run it" and (bool(others) or not self.strict)

    def _silent(self) -> bool:
        """Whether nothing that leaves the source tells one sample or step from another."""
        return all(
            float(np.ptp(values[n])) == 0 for values in self.right for n in self.source.leaving if values[n].size
        )

    def error(self, seen: Observed) -> float:
        """The largest E of what leaves the model, over all cases."""
        return max(
            _far(case[name], exact[name], seen.dtype)
            for case, exact in zip(seen.leaving, self.right, strict=True)
            for name in self.source.leaving
        )

    def _row(
        self, seen: Observed, error: float, inner: Mapping[str, float | None], inside: str, silent: bool
    ) -> EngineRow:
        if error <= self.limit and not (silent and inside):
            return EngineRow(seen.file, seen.engine, seen.version, error, "agrees", True)
        first = inside or self._unseen(inner)
        scene = Scene(self.source, self._weights64(), self.right, seen, self.limit)
        words = diagnose(scene, self._part(first), self.source.parts)
        known = seen.file != self.names[1] and any(known in line for line in words for known in OTHERWISE)
        status = "reads it otherwise, as is known of it" if known else "DIFFERS"
        return EngineRow(seen.file, seen.engine, seen.version, error, status, known, "", first, words)

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

    def _inside(self, inner: Mapping[str, float | None]) -> str:
        """The first layer that differs."""
        return next((name for name, far in inner.items() if far is not None and far > self._limits[name]), "")

    @cached_property
    def _limits(self) -> dict[str, float]:
        """The limit of what comes out of each layer."""
        return {label: self.limit_of(value) for part in self.source.parts for label, value in labels(part)}

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
        near = nearest(seen.inner, exact, self._limits[label])
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
                    rows.append(LayerRow(label, part.kind, errors, self._limits[label]))
        return tuple(rows)

    def _tells(self, part: Part, label: str, errors: Sequence[float | None]) -> bool:
        """Of a graph, only nodes with weights have rows, and those that differ."""
        if self.source.model.named_layers:
            return True
        nodes: Sequence[Node] = part.nodes
        differs = any(far is not None and far > self._limits[label] for far in errors)
        return differs or (": " not in label and any(node.weights and node.inputs for node in nodes))


def _far(y: Array, exact: Array, dtype: str) -> float:
    if y.shape != exact.shape:
        return distance(y, exact, dtype) if np.squeeze(y).shape == np.squeeze(exact).shape else math.inf
    return scale_error(y, exact, dtype)
