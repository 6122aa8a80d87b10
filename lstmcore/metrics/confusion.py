"""Metrics that count right and wrong decisions at thresholds: Precision, Recall and the four counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lstmcore.configs import Config
from lstmcore.errors import InputError
from lstmcore.metrics.base import Array, Floats, Metric, aligned, joined, quotient

NEVER = -1e10  # the prediction of a class that is not among the top k
COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")
Thresholds = float | Sequence[float] | None


def evenly_spaced(thresholds: Sequence[float]) -> bool:
    """Whether they are 0, 1/(n-1), ..., 1, give or take what Keras gives; then predictions are put into buckets."""
    n = len(thresholds)
    return n >= 3 and bool(np.allclose(thresholds, np.arange(n, dtype=np.float32) / (n - 1), atol=1e-7))


def decisions(t: Array, p: Array, weight: Array | None, thresholds: Floats, even: bool) -> dict[str, Floats]:
    """The four counts at each threshold: a prediction is positive where it is greater, a target where it is not 0.

    Args:
        t: targets, any shape.
        p: predictions, the same shape; what is computed of them is in their dtype, as in Keras.
        weight: what each counts, the same shape; None: 1.
        thresholds: (n,), in any order.
        even: the thresholds are 0, 1/(n-1), ..., 1, or the ends just outside; compared as i < p (n-1).
    """
    labels, w = t.ravel() != 0, np.ones(t.size) if weight is None else weight.ravel().astype(np.float64)
    p, n = p.ravel(), len(thresholds)
    order = np.argsort(thresholds, kind="stable")
    with np.errstate(invalid="ignore"):
        if even:
            exceeded = np.ceil(np.clip(p, 0, 1) * p.dtype.type(n - 1))
            exceeded = np.maximum(exceeded, 1) if thresholds[0] < 0 else exceeded
        else:
            exceeded = np.searchsorted(thresholds[order].astype(p.dtype), p, side="left").astype(np.float64)
    exceeded = np.where(np.isnan(p), 0, exceeded).astype(np.int64)
    found = {}
    for word, side in (("positives", labels), ("negatives", ~labels)):
        at = np.bincount(exceeded[side], w[side], n + 1)[::-1].cumsum()[::-1]
        above = np.empty(n)
        above[order] = at[1:]
        found[word] = (above, at[0] - above)
    return {
        "true_positives": found["positives"][0],
        "false_positives": found["negatives"][0],
        "true_negatives": found["negatives"][1],
        "false_negatives": found["positives"][1],
    }


def spread(weight: Floats | None, like: Array, name: str) -> Array | None:
    """Weights in the shape of the predictions: fewer axes than those are their first."""
    if weight is None:
        return None
    given = weight.shape
    if weight.ndim == like.ndim + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    try:
        return np.broadcast_to(weight.reshape(weight.shape + (1,) * (like.ndim - weight.ndim)), like.shape)
    except ValueError:
        raise InputError(f"metric {name!r}: weights of shape {given} for predictions of shape {like.shape}") from None


def among_top(p: Array, k: int) -> Array:
    """The k greatest along the last axis as they are, of equal ones the first; the others are `NEVER`."""
    if not 1 <= k <= p.shape[-1]:
        raise InputError(f"top_k is {k}; predictions of shape {p.shape} have {p.shape[-1]} classes")
    places = np.argsort(-p, axis=-1, kind="stable")[..., :k]
    kept = np.zeros(p.shape, bool)
    np.put_along_axis(kept, places, True, -1)
    return np.where(kept, p, p.dtype.type(NEVER))


class Confusion(Metric):
    """Base: the counts named in ``counted`` at each threshold. Masks count here; Keras 3.15 takes no notice of them."""

    counted: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        self.init_thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        for option, value in (("top_k", top_k), ("class_id", class_id)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise self.refusal(f"{option} is {value!r}; expected an integer or None")
        self.thresholds = self._parsed(thresholds, 0.5 if top_k is None else NEVER)
        self._even = evenly_spaced(self.thresholds)
        self.keep(**dict.fromkeys(self.counted, (len(self.thresholds),)))

    def _parsed(self, thresholds: Thresholds, default: float) -> list[float]:
        if thresholds is None:
            return [default]
        given = list(thresholds) if isinstance(thresholds, (list, tuple)) else [thresholds]
        if not given or not all(isinstance(x, (int, float)) and 0 <= x <= 1 for x in given):
            raise self.refusal(f"thresholds is {thresholds!r}; expected numbers in [0, 1]")
        return [float(x) for x in given]  # type: ignore[arg-type]  # checked above

    def update(
        self, y_true: Any, y_pred: Any, sample_weight: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> None:
        t, p = aligned(y_true, y_pred, self.name)
        p = p if p.dtype.kind == "f" else p.astype(np.float64)
        weight = joined(sample_weight, mask)
        if self.top_k is not None:
            p = among_top(p, self.top_k)
        if self.class_id is not None:
            if p.ndim < 2 or not -p.shape[-1] <= self.class_id < p.shape[-1]:
                raise InputError(f"metric {self.name!r}: predictions of shape {p.shape} have no class {self.class_id}")
            t, p = t[..., [self.class_id]], p[..., [self.class_id]]
        found = decisions(t, p, spread(weight, p, self.name), np.array(self.thresholds), self._even)
        for name in self.counted:
            self._state[name] += found[name]

    def _result(self, each: Floats) -> float | Array:
        return float(each[0]) if len(self.thresholds) == 1 else each

    def config(self) -> Config:
        options = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().config(), **options}


class Precision(Confusion):
    """Of what is predicted positive, the share that is: TP / (TP + FP), at each threshold; 0 where there is none."""

    direction = "up"
    counted = ("true_positives", "false_positives")

    def result(self) -> float | Array:
        tp, fp = self._state.values()
        return self._result(quotient(tp, tp + fp))


class Recall(Confusion):
    """Of what is positive, the share that is predicted so: TP / (TP + FN), at each threshold; 0 where there is none."""

    direction = "up"
    counted = ("true_positives", "false_negatives")

    def result(self) -> float | Array:
        tp, fn = self._state.values()
        return self._result(quotient(tp, tp + fn))


class _Count(Confusion):
    """One of the four counts at each threshold."""

    def __init__(self, thresholds: Thresholds = None, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(thresholds, name=name, dtype=dtype)

    def result(self) -> float | Array:
        (count,) = self._state.values()
        return self._result(count.copy())

    def config(self) -> Config:
        return {"name": self.name, "dtype": self.dtype, "thresholds": self.init_thresholds}


class TruePositives(_Count):
    """How many positives are predicted so."""

    counted = ("true_positives",)


class FalsePositives(_Count):
    """How many negatives are predicted positive."""

    counted = ("false_positives",)


class TrueNegatives(_Count):
    """How many negatives are predicted so."""

    counted = ("true_negatives",)


class FalseNegatives(_Count):
    """How many positives are predicted negative."""

    counted = ("false_negatives",)
