"""Metrics that are means over samples: errors, crossentropies, accuracies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lstmcore.configs import Config
from lstmcore.metrics import functions
from lstmcore.metrics.base import Array, Floats, Mean, aligned
from lstmcore.metrics.functions import numbered
from lstmcore.naming import snake


class MeanOf(Mean):
    """The mean of what `values` makes of targets and predictions."""

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, ArrayLike | None]:
        """(values of shape (batch, ...), the mask of those that count or None)."""
        raise NotImplementedError

    def update(  # type: ignore[override]  # as Metric has it
        self, y_true: Any, y_pred: Any, sample_weight: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> None:
        with np.errstate(all="ignore"):  # NaN and infinity pass through
            values, counts = self.values(y_true, y_pred)
        if mask is not None and counts is not None:
            counts = np.asarray(mask, bool) & np.asarray(counts, bool)
        super().update(values, sample_weight, mask if counts is None else counts)

    def options(self) -> Config:
        """The options of the config beside name and dtype."""
        return {}

    def config(self) -> Config:
        return {**super().config(), **self.options()}


class MeanMetricWrapper(MeanOf):
    """The mean of a function of the user's, ``fn(y_true, y_pred, **kwargs)`` on NumPy arrays.

    It gives a number for each sample, or one for the batch, which then counts as one sample, as in Keras.
    """

    def __init__(
        self, fn: Callable[..., ArrayLike], name: str | None = None, dtype: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name or snake(getattr(fn, "__name__", type(fn).__name__)), dtype)
        if not callable(fn):
            raise self.refusal(f"fn is {fn!r}; expected a function of targets and predictions")
        self._function, self._kwargs = fn, kwargs

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        return np.asarray(self._function(np.asarray(y_true), np.asarray(y_pred), **self._kwargs)), None

    def config(self) -> Config:
        raise self.refusal(f"{self._function!r} is code, which a config cannot hold")


class _Compared(MeanOf):
    """Of targets and predictions in one shape."""

    function: ClassVar[Callable[..., Floats]]
    direction: ClassVar[str | None] = "down"

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        t, p = (array.astype(np.float64) for array in aligned(y_true, y_pred, self.name))
        t, p = (t[:, None], p[:, None]) if t.ndim == 1 else (t, p)
        return type(self).function(t, p, **self.options()), None


class MeanSquaredError(_Compared):
    """The mean of (t - p)²."""

    function = staticmethod(functions.mean_squared_error)


class MeanAbsoluteError(_Compared):
    """The mean of |t - p|."""

    function = staticmethod(functions.mean_absolute_error)


class MeanAbsolutePercentageError(_Compared):
    """The mean of 100 |t - p| / |t|."""

    function = staticmethod(functions.mean_absolute_percentage_error)


class MeanSquaredLogarithmicError(_Compared):
    """The mean of (log(1 + p) - log(1 + t))²."""

    function = staticmethod(functions.mean_squared_logarithmic_error)


class LogCoshError(_Compared):
    """The mean of log cosh(p - t)."""

    called = "logcosh"
    function = staticmethod(functions.log_cosh)


class KLDivergence(_Compared):
    """The mean of Σ t log(t / p)."""

    function = staticmethod(functions.kl_divergence)


class Poisson(_Compared):
    """The mean of p - t log p."""

    function = staticmethod(functions.poisson)


class Hinge(_Compared):
    """The mean of max(1 - t p, 0)."""

    function = staticmethod(functions.hinge)


class SquaredHinge(_Compared):
    """The mean of max(1 - t p, 0)²."""

    function = staticmethod(functions.squared_hinge)


class CategoricalHinge(_Compared):
    """The mean of max(1 + max((1 - t) p) - Σ t p, 0)."""

    function = staticmethod(functions.categorical_hinge)


class _LastAxis:
    axis: int

    def check_axis(self, axis: int) -> None:
        if axis != -1 or isinstance(axis, bool):
            raise self.refusal(  # type: ignore[attr-defined]
                f"axis is {axis!r}; expected -1: classes and features lie along the last axis"
            )
        self.axis = axis


class CosineSimilarity(_Compared, _LastAxis):
    """The mean of the cosine between targets and predictions: 1 where they point the same way."""

    direction = "up"
    function = staticmethod(functions.cosine_similarity)

    def __init__(self, name: str | None = None, dtype: str | None = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.check_axis(axis)


class BinaryCrossentropy(_Compared):
    """The mean of -t log p - (1 - t) log(1 - p)."""

    function = staticmethod(functions.binary_crossentropy)

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def options(self) -> Config:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class CategoricalCrossentropy(_Compared, _LastAxis):
    """The mean of -Σ t log p."""

    function = staticmethod(functions.categorical_crossentropy)

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.check_axis(axis)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def options(self) -> Config:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}

    def config(self) -> Config:
        return {**super().config(), "axis": self.axis}


class SparseCategoricalCrossentropy(MeanOf, _LastAxis):
    """The mean of -log p[t]; targets equal to ``ignore_class`` do not count.

    Keras 3.15 counts those as 0 where no sample weights are given.
    """

    direction = "down"

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.check_axis(axis)
        self.from_logits, self.ignore_class = from_logits, ignore_class

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, ArrayLike | None]:
        t, p = numbered(y_true, y_pred, self.name)
        counts = None if self.ignore_class is None else t != self.ignore_class
        known = t if counts is None else np.where(counts, t, 0)
        return functions.sparse_categorical_crossentropy(known, p.astype(np.float64), self.from_logits), counts

    def options(self) -> Config:
        return {"from_logits": self.from_logits, "ignore_class": self.ignore_class, "axis": self.axis}


class RootMeanSquaredError(MeanOf):
    """The root of the mean of (t - p)². Keras 3.15 takes no notice of masks here."""

    direction = "down"

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        t, p = aligned(y_true, y_pred, self.name)
        return np.square(p.astype(np.float64) - t.astype(np.float64)), None

    def result(self) -> float | Array:
        return math.sqrt(float(super().result()))


class Accuracy(MeanOf):
    """How often targets and predictions are equal."""

    direction = "up"

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        t, p = aligned(y_true, y_pred, self.name)
        return t.astype(p.dtype) == p, None


class BinaryAccuracy(MeanOf):
    """How often a target, 0 or 1, tells whether the prediction is above ``threshold``."""

    direction = "up"

    def __init__(self, name: str | None = None, dtype: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        if not isinstance(threshold, (int, float)) or isinstance(threshold, bool):
            raise self.refusal(f"threshold is {threshold!r}; expected a number")
        self.threshold = threshold

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        t, p = aligned(y_true, y_pred, self.name)
        above = p > (p.dtype.type(self.threshold) if p.dtype.kind == "f" else self.threshold)
        return t == above, None

    def options(self) -> Config:
        return {"threshold": self.threshold}


class CategoricalAccuracy(MeanOf):
    """How often the greatest target and the greatest prediction, along the last axis, are of one class."""

    direction = "up"

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        t, p = aligned(y_true, y_pred, self.name)
        return t.argmax(-1) == p.argmax(-1), None


class SparseCategoricalAccuracy(MeanOf):
    """How often the greatest prediction, along the last axis, is of the class that the target numbers."""

    direction = "up"

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        t, p = numbered(y_true, y_pred, self.name)
        return t == p.argmax(-1), None


class _TopK(MeanOf):
    direction = "up"

    def __init__(self, k: int = 5, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise self.refusal(f"k is {k!r}; expected a positive integer")
        self.k = k

    def options(self) -> Config:
        return {"k": self.k}


class TopKCategoricalAccuracy(_TopK):
    """How often fewer than ``k`` predictions are greater than that of the greatest target."""

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        t, p = aligned(y_true, y_pred, self.name)
        return functions.in_top_k(t.argmax(-1), p, self.k), None


class SparseTopKCategoricalAccuracy(_TopK):
    """How often fewer than ``k`` predictions are greater than that of the class which the target numbers.

    With ``from_sorted_ids`` the predictions are numbers of classes, the likeliest first.
    """

    def __init__(
        self, k: int = 5, name: str | None = None, dtype: str | None = None, from_sorted_ids: bool = False
    ) -> None:
        super().__init__(k, name, dtype)
        self.from_sorted_ids = from_sorted_ids

    def values(self, y_true: Any, y_pred: Any) -> tuple[ArrayLike, None]:
        t, p = numbered(y_true, y_pred, self.name)
        if self.from_sorted_ids:
            return (t[..., None] == p[..., : self.k]).any(-1), None
        return functions.in_top_k(t, p, self.k), None

    def options(self) -> Config:
        return {**super().options(), **({"from_sorted_ids": True} if self.from_sorted_ids else {})}
