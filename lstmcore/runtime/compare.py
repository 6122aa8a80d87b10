"""Every engine against the float64 reference, as one table."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.contract import Choice
from lstmcore.errors import BackendError
from lstmcore.ops import Recurrent, Scan
from lstmcore.random import Stream
from lstmcore.runtime.feed import feed
from lstmcore.runtime.session import Session
from lstmcore.tables import table

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel

Array = NDArray[Any]

LIMIT = 16.0
AMPLIFIED = 3.0
MOST = 1000.0  # beyond it, engines that agree to no digit would agree
SHAKES = 8
HEADER = ("engine", "version", "device", "kernels", "E", "time", "")
NUMBERS = (4, 5)  # the columns of numbers


def scale_error(y: Array, reference: Array, dtype: str) -> float:
    """``E = max|y - reference| / (eps(dtype) max|reference|)``: errors in units of the last place of the largest.

    0 where both are equal everywhere; infinite where the shapes, the NaN or the infinities differ. A
    few units are rounding; the limit is 16 (float32 LSTMs on three engines, measured worst: 5.4).
    """
    y, reference = np.asarray(y, np.float64), np.asarray(reference, np.float64)
    if y.shape != reference.shape:
        return math.inf
    finite = np.isfinite(reference)
    if not np.array_equal(y[~finite], reference[~finite], equal_nan=True) or not np.isfinite(y[finite]).all():
        return math.inf
    if not finite.any():
        return 0.0
    difference = float(np.abs(y[finite] - reference[finite]).max())
    scale = float(np.abs(reference[finite]).max())
    if difference == 0:
        return 0.0
    return difference / (float(np.finfo(dtype).eps) * scale) if scale else math.inf


@dataclass(frozen=True)
class Row:
    """One engine: what ran, how far from the reference (E), and how long; or why it did not."""

    backend: str
    version: str
    device: str
    kernels: str
    error: float | None
    seconds: float | None
    status: str
    remedy: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row as text, under `HEADER`."""
        return (
            self.backend,
            self.version,
            self.device,
            self.kernels,
            "" if self.error is None else f"{self.error:.2f}",
            "" if self.seconds is None else f"{self.seconds * 1000:.1f} ms",
            f"{self.status}: {self.remedy}" if self.remedy else self.status,
        )

    @property
    def ok(self) -> bool:
        """False where it ran and differs, or should have run and failed."""
        return self.status in ("agrees", "missing")


@dataclass(frozen=True)
class Comparison:
    """The rows of `compare`; prints as a table. ``ok`` if every engine that ran agrees.

    ``baseline`` is the E of the reference engine itself, computing in float32: what this model makes of
    rounding. ``limit`` is 16, or three times the baseline where that is more, at most 1,000. The baseline is one draw
    of rounding. Where an engine is beyond what it allows, eight more are taken: ``shaken`` is the largest E of the
    reference in float64 with every weight and input moved by half a unit of float32, up or down; it then counts where
    it is more than the baseline.
    """

    rows: tuple[Row, ...]
    reference: str
    samples: int
    dtype: str
    baseline: float
    shaken: float = 0.0

    @property
    def limit(self) -> float:
        """The largest E that counts as agreement."""
        return limit(max(self.baseline, self.shaken))

    def amplifies(self) -> str:
        """What this model makes of rounding, in words; "" where that is nothing out of the ordinary."""
        if self.limit <= LIMIT:
            return ""
        return amplifies(self.reference, self.baseline, self.shaken)

    @property
    def ok(self) -> bool:
        """True if every engine that ran agrees with the reference."""
        return all(row.ok for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **asdict(self),
            "rows": [{**asdict(row), "ok": row.ok} for row in self.rows],
            "limit": self.limit,
            "ok": self.ok,
        }

    def __str__(self) -> str:
        title = (
            f"{self.samples} samples in {self.dtype} against {self.reference} in float64; "
            f"E = max|y - ref| / (eps max|ref|), limit {self.limit:.3g}"
        )
        title += f"\n{self.amplifies()}" if self.amplifies() else ""
        return f"{title}\n{table(HEADER, [row.cells() for row in self.rows], NUMBERS)}"

    __repr__ = __str__


def limit(baseline: float) -> float:
    """The largest E that counts as agreement for a model whose own rounding makes ``baseline``.

    A recurrence can amplify rounding step by step (a trained relu SimpleRNN over 28 steps: 15, measured),
    and then every engine is as far off as the reference engine is in the same precision. A wrong engine is
    off by 1e4 and more.
    """
    return min(max(LIMIT, AMPLIFIED * baseline), MOST) if math.isfinite(baseline) else LIMIT


def amplifies(reference: str, baseline: float, shaken: float) -> str:
    """What a model makes of rounding, in words."""
    told = f"{reference} itself, in float32, has E {baseline:.1f}"
    if shaken > baseline:
        told = f"moving every weight and input by half a unit of float32 moves its outputs by E {shaken:.1f}"
    return f"This model amplifies rounding: {told}; the limit is {AMPLIFIED:g} times that."


def shake(name: str, array: Array, number: int) -> Array:
    """An array of floats with every number moved by half a unit in the last place of float32, up or down by a seed."""
    if array.dtype.kind != "f":
        return array
    up = Stream(number).child(name).uniform(array.shape) < 0.5
    half = float(np.finfo(np.float32).eps) / 2
    moved: Array = array.astype(np.float64) * np.where(up, 1 + half, 1 - half)
    return moved


def _shaken(model: BaseModel, inputs: dict[str, Array], exact: Sequence[Array]) -> float:
    session = Session(model.program, plugins.get(plugins.reference()), "float64")
    found = 0.0
    for number in range(SHAKES):
        session.load({path: shake(path, array, number) for path, array in model.every_path().items()}, number)
        outputs, _ = session.run({name: shake(name, array, number) for name, array in inputs.items()})
        found = max(found, _worst(outputs, exact, "float32"))
    return found


def compare(model: BaseModel, x: Any, backends: Sequence[str] | None = None) -> Comparison:
    """Runs ``model`` on ``x`` on every installed backend, or those named, against the float64 reference.

    The reference is the backend of that role, computing in float64 from the same weights. Times are
    of one run of the whole of ``x`` after a first one that compiles.
    """
    model._build_for(x)
    reference = plugins.reference()
    inputs = feed(model.program, model._by_input(x), model.dtype)
    samples = next(iter(inputs.values())).shape[0]
    model._batch_size(samples, samples)  # refuses what is not one batch of a model built for batches
    precise = feed(model.program, model._by_input(x), "float64")
    exact, _ = model.session(reference, "float64").run(precise)
    # In float32 also for a model in float64, where the reference itself shows no rounding to measure.
    single = {name: array.astype("float32") if array.dtype.kind == "f" else array for name, array in inputs.items()}
    own, _ = model.session(reference, "float32").run(single)
    baseline = _worst(own, exact, "float32")
    infos = {info.name: info for info in reversed(plugins.backends())}
    names = sorted(infos) if backends is None else list(backends)
    rows = [_row(model, name, infos, inputs, exact) for name in names]
    far = max((row.error for row in rows if row.error is not None), default=0.0)
    doubtful = model.dtype == "float32" and limit(baseline) < far <= MOST
    shaken = _shaken(model, precise, exact) if doubtful else 0.0
    allowed = limit(max(baseline, shaken))
    judged = tuple(row if row.error is None or row.error <= allowed else replace(row, status="DIFFERS") for row in rows)
    return Comparison(judged, reference, samples, model.dtype, baseline, shaken)


def _worst(outputs: Sequence[Array], exact: Sequence[Array], dtype: str) -> float:
    return max(scale_error(y, ref, dtype) for y, ref in zip(outputs, exact, strict=True))


def _row(model: BaseModel, name: str, infos: dict[str, Any], inputs: dict[str, Array], exact: list[Array]) -> Row:
    info = infos.get(name.partition(":")[0])
    if info is not None and info.status != "available":
        remedy = info.install if info.status == "missing" else info.error
        return Row(name, info.version, "", "", None, None, info.status, remedy)
    version = info.version if info else ""
    try:
        session = model.session(name)
        outputs, _ = session.run(inputs)
        start = time.perf_counter()
        session.run(inputs)
        seconds = time.perf_counter() - start
    except BackendError as refusal:
        return Row(name, version, "", "", None, None, "cannot run it", str(refusal))
    except Exception as failure:  # an engine may fail in any way; the others still have their rows
        return Row(name, version, "", "", None, None, "failed", f"{type(failure).__name__}: {failure}")
    error = _worst(outputs, exact, model.dtype)
    return Row(name, version, session.backend.device, _kernels(session), error, seconds, "agrees")


def _kernels(session: Session) -> str:
    """The kernels that carry the time: the recurrent ones, or all where there are none."""

    def words(choices: Sequence[Choice]) -> Iterator[str]:
        for choice in choices:
            yield f"{type(choice.node.op).__name__} {choice.kernel.name}"

    recurrent = [choice for choice in session.choices if isinstance(choice.node.op, (Recurrent, Scan))]
    return ", ".join(dict.fromkeys(words(recurrent or session.choices)))
