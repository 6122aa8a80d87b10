"""Keras' losses, by Keras 3.15's names, options and formulas, as ops of a program: every engine computes them alike.

`get` finds one by name, config or object; `resolve` also knows "crossentropy", which depends on shapes.
Not here: Keras' losses for images and embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping

from lstmcore import configs
from lstmcore.errors import SpecError
from lstmcore.losses.base import Loss, reduce, serialize
from lstmcore.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    logits_of,
)
from lstmcore.losses.ctc import CTC
from lstmcore.losses.regression import (
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SquaredHinge,
)
from lstmcore.naming import snake
from lstmcore.ops import Shape

__all__ = [
    "CTC",
    "LOSSES",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "get",
    "logits_of",
    "reduce",
    "resolve",
    "serialize",
]

_CLASSES: tuple[type[Loss], ...] = (
    BinaryCrossentropy,
    CTC,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
_SHORT: dict[str, type[Loss]] = {
    "bce": BinaryCrossentropy,
    "kld": KLDivergence,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
}
LOSSES: dict[str, type[Loss]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{snake(cls.__name__): cls for cls in _CLASSES},
    **_SHORT,
    **{name.upper(): cls for name, cls in _SHORT.items()},
}


def get(identifier: object) -> Loss | None:
    """The loss that ``identifier`` means, wherever Keras takes one; None is no loss.

    Args:
        identifier: a `Loss`; a class of them; a name such as "mse", "mean_squared_error" or "MeanSquaredError"; a
            config such as `serialize` or Keras writes, of a loss or of a loss function.

    Raises:
        SpecError: it is none of these, or names what is not here.
    """
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, Mapping) and identifier.get("class_name") == "function":
        return get(identifier.get("config"))
    if callable(identifier) and not isinstance(identifier, type):
        raise SpecError(
            f"{identifier!r} is a function, and code cannot travel between engines; expected a name, a config or an "
            f"object. A loss of your own is a frozen dataclass on losses.Loss with a formula."
        )
    return configs.read(identifier, LOSSES, "loss")


def resolve(identifier: object, target: Shape, prediction: Shape) -> Loss | None:
    """`get`, where "crossentropy" and "ce" mean the one that fits the shapes, as in Keras' ``compile``."""
    if str(identifier).lower() not in ("crossentropy", "ce"):
        return get(identifier)
    if prediction[-1] == 1:
        return BinaryCrossentropy()
    sparse = len(target) < len(prediction) or target[-1] == 1
    return SparseCategoricalCrossentropy() if sparse else CategoricalCrossentropy()
