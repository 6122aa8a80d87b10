"""Keras' metrics, by Keras 3.15's names, options and formulas, computed once, in NumPy, whatever the engine.

`get` finds one by name, config, object or function; `resolve` does so for a model's output, as Keras' ``compile``.
Sums are float64. A mask, and `ignore_class`, leave out what they mark, in every metric.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lstmcore.configs import decode, lookup, unwrap, wrap
from lstmcore.errors import SpecError, near
from lstmcore.metrics.auc import AUC
from lstmcore.metrics.base import Mean, Metric, Sum
from lstmcore.metrics.confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from lstmcore.metrics.means import (
    Accuracy,
    BinaryAccuracy,
    BinaryCrossentropy,
    CategoricalAccuracy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanMetricWrapper,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy,
    SquaredHinge,
    TopKCategoricalAccuracy,
)
from lstmcore.naming import snake
from lstmcore.ops import Shape

__all__ = [
    "AUC",
    "METRICS",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "Poisson",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "get",
    "resolve",
    "serialize",
]

_CLASSES: tuple[type[Metric], ...] = (
    AUC,
    Accuracy,
    BinaryAccuracy,
    BinaryCrossentropy,
    CategoricalAccuracy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    FalseNegatives,
    FalsePositives,
    Hinge,
    KLDivergence,
    LogCoshError,
    Mean,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    Precision,
    Recall,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy,
    SquaredHinge,
    Sum,
    TopKCategoricalAccuracy,
    TrueNegatives,
    TruePositives,
)
_SHORT: dict[str, type[Metric]] = {
    "bce": BinaryCrossentropy,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
}
METRICS: dict[str, type[Metric]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{snake(cls.__name__): cls for cls in _CLASSES},
    **_SHORT,
    **{name.upper(): cls for name, cls in _SHORT.items()},
}


def get(identifier: object) -> Metric | None:
    """The metric that ``identifier`` means, wherever Keras takes one; None is no metric.

    Args:
        identifier: a `Metric`; a class of them; a name such as "mse" or "AUC"; a config such as `serialize` or Keras
            writes; or a function of targets and predictions as NumPy arrays, whose mean over samples it is.

    Raises:
        SpecError: it is none of these, or names what is not here.
    """
    if identifier is None or isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        return lookup(identifier, METRICS, "metric")()
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if isinstance(identifier, Mapping):
        return _from_config(identifier)
    if callable(identifier):
        return MeanMetricWrapper(identifier)
    expected = "expected a name, an object, a config or a function"
    raise SpecError(f"{identifier!r} is no metric; {expected}.{near('', METRICS)}")


def _from_config(wrapped: Mapping[str, Any]) -> Metric | None:
    if wrapped.get("class_name") == "function":
        return get(wrapped.get("config"))
    name, config = unwrap(wrapped, "metric")
    cls = lookup(name, METRICS, "metric")
    known = inspect.signature(cls).parameters
    for key in config:
        if key not in known:
            raise SpecError(f"{name}: unknown config key {key!r}.{near(key, known)}")
    options: dict[str, Any] = {key: decode(value) for key, value in config.items()}
    return cls(**options)


def resolve(identifier: object, target: Shape, prediction: Shape) -> Metric:
    """The metric for an output, as Keras' ``compile``: "accuracy" and "acc" mean the one that fits the shapes.

    A metric given by name is called by that name in logs.

    Raises:
        SpecError: as `get`; or the identifier is None.
    """
    if identifier is None:
        raise SpecError("a metric is None; expected a name, an object or a function")
    if str(identifier).lower() in ("accuracy", "acc"):
        return _accuracy(target, prediction)(name=str(identifier))
    metric = get(identifier)
    assert metric is not None
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


def _accuracy(target: Shape, prediction: Shape) -> type[Metric]:
    if prediction[-1] == 1:
        return BinaryAccuracy
    sparse = len(target) < len(prediction) or target[-1] == 1
    return SparseCategoricalAccuracy if sparse else CategoricalAccuracy


def serialize(metric: Metric | None) -> dict[str, Any] | None:
    """Keras' serialized form."""
    return None if metric is None else wrap("keras.metrics", type(metric).__name__, metric.config())
