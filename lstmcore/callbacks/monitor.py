"""Watching one of the logs for its best value."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

from lstmcore.callbacks.base import Callback, read
from lstmcore.errors import SpecError
from lstmcore.metrics import METRICS
from lstmcore.optimizers.checks import NUMBER, WORD, Kind


def _mode(value: Any) -> str:
    if value not in ("auto", "min", "max"):
        raise ValueError
    return str(value)


MODE = Kind("'auto', 'min' or 'max'", _mode)


class Monitor(Callback):
    """Base of the callbacks that watch one of the logs.

    A value is an improvement on another where it is better by more than ``min_delta``, in float64 (Keras 3.15 compares
    in float32). NaN never is; in Keras 3.15 a NaN that comes first stays the best for ever.

    Args:
        monitor: the log's name.
        mode: whether the least is best, "min", or the greatest, "max". "auto": as the metric of that name has it.
        min_delta: by how much a value must be better; the sign does not count.

    Raises:
        SpecError: an argument is not as above; as training begins, "auto" does not know.
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0) -> None:
        self.monitor: str = read(self, "monitor", WORD, monitor)
        self.mode: str = read(self, "mode", MODE, mode)
        self.min_delta = abs(read(self, "min_delta", NUMBER, min_delta))
        self.best: float | None = None
        self._sign = 0

    def find_direction(self) -> None:
        """Settles whether more is better; SpecError where nothing says so."""
        found = self.mode if self.mode != "auto" else direction(self.monitor, self.model)
        if found is None:
            raise SpecError(
                f"{type(self).__name__}: nothing says whether {self.monitor!r} should be large or small; "
                "give mode='max' or mode='min'"
            )
        self._sign = {"min": -1, "max": 1}[found]

    def improves(self, value: float, on: float | None) -> bool:
        """Whether a value is better than another, or the first."""
        if math.isnan(value):
            return False
        return on is None or self._sign * value - self.min_delta > self._sign * on

    def monitored(self, epoch: int, logs: Mapping[str, Any], then: str) -> float | None:
        """The value in these logs, or None after a warning that says what follows from it."""
        if self.monitor in logs:
            return float(logs[self.monitor])
        warnings.warn(
            f"{type(self).__name__}: the logs of epoch {epoch + 1} have no {self.monitor!r} (available: "
            f"{', '.join(sorted(logs)) or 'none'}), so {then}; give another monitor, or validation data",
            stacklevel=2,
        )
        return None


def direction(monitor: str, model: Any) -> str | None:
    """ "min" or "max", as the loss or metric of that name has it; None where there is none, or it does not say."""
    name = monitor.removeprefix("val_")
    outputs = [f"{output}_" for output in getattr(model, "output_names", None) or ()]
    names = [name, *(name.removeprefix(output) for output in outputs if name.startswith(output))]
    own = {metric.name: metric.direction for metric in getattr(model, "metrics", None) or () if metric.direction}
    known = {"acc": "up", "loss": "down", **{key: metric.direction for key, metric in METRICS.items()}, **own}
    for candidate in (*names, *(re.sub(r"_\d+$", "", one) for one in names)):
        if known.get(candidate):
            return {"up": "max", "down": "min"}[str(known[candidate])]
    return None
