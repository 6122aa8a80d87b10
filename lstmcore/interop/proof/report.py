"""What a proof found, as data and as text."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from lstmcore.interop.proof.weights import WeightsFound
from lstmcore.runtime.compare import LIMIT, amplifies, limit
from lstmcore.tables import table

ENGINES = ("file", "engine", "version", "E", "")
NUMBERS = (3,)
SHOWN = 60  # rows of the table of layers, before and after what matters


@dataclass(frozen=True)
class EngineRow:
    """One engine with one file: how far from the reference (E), or why it did not run.

    ``ok`` is False where it ran and differs, or should have run the target and did not. ``first`` names the first
    layer that diverges, where that can be told; ``diagnosis`` says what it looks like.
    """

    file: str
    engine: str
    version: str
    error: float | None
    status: str
    ok: bool
    remedy: str = ""
    first: str = ""
    diagnosis: tuple[str, ...] = ()

    @property
    def ran(self) -> bool:
        """Whether there are numbers."""
        return self.error is not None

    def cells(self) -> tuple[str, ...]:
        """The row as text, under `ENGINES`."""
        return self.file, self.engine, self.version, number(self.error), self.status


@dataclass(frozen=True)
class LayerRow:
    """One layer: E of what comes out of it, by column; None where an engine shows nothing that it could be."""

    name: str
    kind: str
    errors: tuple[float | None, ...]
    limit: float

    @property
    def differs(self) -> bool:
        """Whether an engine's numbers are others."""
        return any(far is not None and far > self.limit for far in self.errors)


@dataclass(frozen=True)
class Proof:
    """Whether two models compute the same; prints as tables.

    ``ok`` if every engine that ran agrees with the float64 reference of the source; ``proved`` if any did that runs
    the target. ``columns`` are the engines that show layers. ``baseline``, ``shaken`` and ``limit`` are those of
    `lc.compare`.
    """

    source: str
    target: str
    rows: tuple[EngineRow, ...]
    columns: tuple[str, ...]
    layers: tuple[LayerRow, ...]
    weights: WeightsFound | None
    samples: int
    cases: int
    baseline: float
    shaken: float = 0.0
    silent: bool = False
    notes: tuple[str, ...] = ()

    @property
    def limit(self) -> float:
        """The largest E that counts as agreement."""
        return limit(max(self.baseline, self.shaken))

    @property
    def ok(self) -> bool:
        """True if every engine that ran agrees with the reference."""
        return all(row.ok for row in self.rows)

    @property
    def proved(self) -> bool:
        """True if it is ok, and an engine has run the target."""
        return self.ok and any(row.ran and row.file == self.target for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **asdict(self),
            "limit": self.limit,
            "ok": self.ok,
            "proved": self.proved,
        }

    def layer_cells(self) -> list[tuple[str, ...]]:
        """The rows of the layers as text: all, or where there are many those around the first that differs."""
        rows = self.layers
        firsts = [k for k, row in enumerate(rows) if row.differs]
        if len(rows) > SHOWN:
            centre = firsts[0] if firsts else 0
            start = max(min(centre - SHOWN // 2, len(rows) - SHOWN), 0)
            rows = rows[start : start + SHOWN]
        return [
            (row.name, row.kind, *(number(e) for e in row.errors), "DIFFERS" if row.differs else "") for row in rows
        ]

    def layer_header(self) -> tuple[str, ...]:
        """Above `layer_cells`."""
        return ("layer", "kind", *self.columns, "")

    def opening(self) -> list[str]:
        """What is compared with what."""
        lines = [
            f"{self.target} against {self.source} in float64: {self.cases} inputs of {self.samples} samples, "
            f"E up to {self.limit:.3g} agrees"
        ]
        if self.limit > LIMIT:
            lines.append(amplifies("the reference", self.baseline, self.shaken))
        return lines

    def closing(self) -> list[str]:
        """What follows from the tables."""
        told = [row for row in self.rows if row.remedy and row.status != "missing"]
        lines = [r.engine + (f": {r.remedy}" if r.file in r.remedy else f" on {r.file}: {r.remedy}") for r in told]
        wrong = [row for row in self.rows if row.error is not None and row.status != "agrees"]
        for file, first, diagnosis in dict.fromkeys((row.file, row.first, row.diagnosis) for row in wrong):
            found = [r.engine for r in wrong if (r.file, r.first, r.diagnosis) == (file, first, diagnosis)]
            what = f"first differs in layer {first}" if first else "differs"
            known = "; ".join(diagnosis) or "no known mistake explains it"
            lines.append(f"{file} on {' and '.join(found)} {what}: {known}.")
        lines += self.notes
        if self.weights is not None:
            lines += self._weights_told(self.weights)
        if self.silent:
            lines.append(
                "Every output of the source is constant on these inputs: they prove little. Give some: --input."
            )
        if self.ok and not self.proved:
            lines.append(f"NOT PROVED: nothing here runs {self.target}.")
        return lines

    def _weights_told(self, weights: WeightsFound) -> list[str]:
        if not weights.compared:
            return []
        if not weights.different:
            some = "all" if weights.compared == weights.total else f"{weights.compared} of"
            return [f"Weights: {some} {weights.total} are the same to the bit."]
        most = 10
        told = [f"Weight {row}." for row in weights.different[:most]]
        left = len(weights.different) - most
        return told + ([f"... and {left} more weights."] if left > 0 else [])

    def __str__(self) -> str:
        parts = ["\n".join(self.opening()), table(ENGINES, [row.cells() for row in self.rows], NUMBERS)]
        if self.layers and self.columns:
            parts.append(table(self.layer_header(), self.layer_cells(), range(2, 2 + len(self.columns))))
        closing = self.closing()
        return "\n\n".join([*parts, *(["\n".join(closing)] if closing else [])])

    __repr__ = __str__


def number(error: float | None) -> str:
    """E as text."""
    if error is None:
        return "-"
    return "other shape or NaN" if math.isinf(error) else f"{error:.2f}" if error < 1e5 else f"{error:.2g}"
