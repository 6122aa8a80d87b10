"""The area under a curve of decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lstmcore.configs import Config
from lstmcore.errors import InputError, near
from lstmcore.metrics.base import Array, Floats, Metric, aligned, joined, quotient
from lstmcore.metrics.confusion import COUNTS, decisions, evenly_spaced, spread

CURVES = ("ROC", "PR", "PRGAIN")
SUMMATIONS = ("interpolation", "majoring", "minoring")


class AUC(Metric):
    """The area under the ROC, the precision-recall or the precision-recall-gain curve, by a sum over thresholds.

    Args:
        num_thresholds: how many; the first and the last lie just outside [0, 1].
        curve: "ROC", "PR" or "PRGAIN".
        summation_method: "interpolation": trapezia, for PR as Davis and Goadrich (2006); "majoring" or "minoring": the
            higher or the lower side of each step.
        name: how it is called in logs.
        dtype: for configs only.
        thresholds: those in between, instead of evenly spaced ones.
        multi_label: the mean of the areas of the columns of predictions (batch, labels).
        num_labels: how many columns there are.
        label_weights: a weight for each column: of its area, or else of its decisions.
        from_logits: predictions go through a sigmoid first.
    """

    direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: str | None = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        self.curve = self._chosen("curve", str(curve).upper(), CURVES)
        self.summation_method = self._chosen("summation_method", str(summation_method).lower(), SUMMATIONS)
        between = self._between(num_thresholds) if thresholds is None else sorted(thresholds)
        if not all(isinstance(x, (int, float)) and 0 <= x <= 1 for x in between):
            raise self.refusal(f"thresholds is {thresholds!r}; expected numbers in [0, 1]")
        if num_labels and not multi_label:
            raise self.refusal(f"num_labels is {num_labels!r}; expected None without multi_label")
        self.thresholds = [-1e-7, *map(float, between), 1.0 + 1e-7]
        self.num_thresholds = len(self.thresholds)
        self._between_given = thresholds is not None
        self._even = thresholds is None or evenly_spaced([0.0, *between, 1.0])
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        self._columns = num_labels if multi_label else None
        if self._columns or not multi_label:
            self._make(self._columns)

    def _chosen(self, option: str, value: str, known: tuple[str, ...]) -> str:
        if value not in known:
            raise self.refusal(f"unknown {option} {value!r}.{near(value, known)}")
        return value

    def _between(self, count: int) -> list[float]:
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise self.refusal(f"num_thresholds is {count!r}; expected an integer of 2 or more")
        return [(k + 1) / (count - 1) for k in range(count - 2)]

    def _make(self, columns: int | None) -> None:
        self._columns = columns
        shape = (self.num_thresholds,) if columns is None else (self.num_thresholds, columns)
        self.keep(**dict.fromkeys(COUNTS, shape))

    def expect(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        if self.multi_label and not self._state and len(next(iter(shapes.values()), ())) == 2:
            self._make(next(iter(shapes.values()))[1])

    def update(
        self, y_true: Any, y_pred: Any, sample_weight: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> None:
        t, p = aligned(y_true, y_pred, self.name)
        p = p if p.dtype.kind == "f" else p.astype(np.float64)
        if self.from_logits:
            p = np.asarray((1 + np.tanh(p / 2)) / 2, p.dtype)
        weight = spread(joined(sample_weight, mask), p, self.name)
        thresholds = np.array(self.thresholds)
        if self.multi_label:
            self._update_columns(t, p, weight, thresholds)
            return
        if self.label_weights is not None:
            weight = self._labels(p) * (1.0 if weight is None else weight)
        for name, count in decisions(t, p, weight, thresholds, self._even).items():
            self._state[name] += count

    def _labels(self, p: Array) -> Array:
        weights = np.array(self.label_weights)
        if weights.shape != p.shape[-1:]:
            raise InputError(f"metric {self.name!r}: {weights.size} label_weights for predictions of shape {p.shape}")
        return np.broadcast_to(weights, p.shape)

    def _update_columns(self, t: Array, p: Array, weight: Array | None, thresholds: Floats) -> None:
        if p.ndim != 2 or self._columns not in (None, p.shape[1]):
            raise InputError(
                f"metric {self.name!r}: predictions of shape {p.shape}; expected (batch, {self._columns or 'labels'})"
            )
        if self._columns is None:
            self._make(p.shape[1])
        for k in range(p.shape[1]):
            own = None if weight is None else weight[:, k]
            for name, count in decisions(t[:, k], p[:, k], own, thresholds, self._even).items():
                self._state[name][:, k] += count

    def result(self) -> float | Array:
        if not self._state:
            return 0.0
        interpolated = self.curve == "PR" and self.summation_method == "interpolation"
        areas = self._interpolated_precision() if interpolated else self._steps()
        if self.multi_label and self.label_weights is not None:
            return float(quotient((areas * self.label_weights).sum(), sum(self.label_weights)))
        return float(np.mean(areas))

    def _steps(self) -> Floats:
        x, y = self._points()
        heights = {"interpolation": (y[:-1] + y[1:]) / 2, "minoring": np.minimum(y[:-1], y[1:])}
        tops = heights.get(self.summation_method, np.maximum(y[:-1], y[1:]))
        return np.asarray(((x[:-1] - x[1:]) * tops).sum(0))

    def _points(self) -> tuple[Floats, Floats]:
        """The curve from the lowest threshold to the highest: (x, y)."""
        tp, fp, tn, fn = (self._state[name] for name in COUNTS)
        recall = quotient(tp, tp + fn)
        if self.curve == "ROC":
            return quotient(fp, fp + tn), recall
        if self.curve == "PR":
            return recall, quotient(tp, tp + fp)
        scale = quotient(tp + fn, tn + fp)
        none = tp == 0
        recall_gain = np.where(none, 0.0, 1 - scale * quotient(fn, tp))
        return np.maximum(recall_gain, 0.0), np.where(none, 1.0, 1 - scale * quotient(fp, tp))

    def _interpolated_precision(self) -> Floats:
        """Between two thresholds TP and FP grow evenly; precision is integrated over recall exactly."""
        tp, fp, _, fn = (self._state[name] for name in COUNTS)
        p = tp + fp
        dtp, dp = tp[:-1] - tp[1:], p[:-1] - p[1:]
        slope = quotient(dtp, np.maximum(dp, 0))
        intercept = tp[1:] - slope * p[1:]
        both = (p[:-1] > 0) & (p[1:] > 0)
        ratio = np.where(both, quotient(p[:-1], np.maximum(p[1:], 0)), 1.0)
        pieces = quotient(slope * (dtp + intercept * np.log(ratio)), np.maximum(tp[1:] + fn[1:], 0))
        return np.asarray(pieces.sum(0))

    def config(self) -> Config:
        between = {"thresholds": self.thresholds[1:-1]} if self._between_given else {}
        weights = {"class_name": "__tensor__", "config": {"value": self.label_weights, "dtype": self.dtype}}
        return {
            **super().config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else weights,
            "from_logits": self.from_logits,
            **between,
        }
