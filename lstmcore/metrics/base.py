"""What every metric is: sums over batches, kept in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmcore.configs import Config
from lstmcore.errors import InputError, SpecError
from lstmcore.naming import snake

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Metric:
    """Base of the metrics: `update` with each batch, `result` at any time, `reset` before the next epoch.

    All that it remembers is ``state``, small float64 arrays by name, which may be saved and put back.
    A metric of your own makes its state by `keep`, and has `update` and `result`.

    Args:
        name: how it is called in logs.
        dtype: for configs only; sums are float64.
    """

    direction: ClassVar[str | None] = None  # "up": more is better; "down": less is
    called: ClassVar[str] = ""  # the default name, where it is not the class's

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        if not isinstance(name, (str, type(None))):
            raise self.refusal(f"name is {name!r}; expected a string")
        self.name = name or self.called or snake(type(self).__name__)
        self.dtype = dtype or "float32"
        self._state: dict[str, Floats] = {}

    def keep(self, **shapes: tuple[int, ...]) -> None:
        """Declares the state: zeros of these shapes."""
        self._state = {name: np.zeros(shape) for name, shape in shapes.items()}

    @property
    def state(self) -> dict[str, Floats]:
        """A copy of all that it remembers; set, it goes on from there."""
        return {name: array.copy() for name, array in self._state.items()}

    @state.setter
    def state(self, arrays: Mapping[str, ArrayLike]) -> None:
        given = {name: np.array(array, np.float64) for name, array in arrays.items()}
        shapes = {name: array.shape for name, array in given.items()}
        self.expect(shapes)
        expected = {name: array.shape for name, array in self._state.items()}
        if shapes != expected:
            raise InputError(f"metric {self.name!r}: the state given has shapes {shapes}; expected {expected}")
        self._state = {name: given[name] for name in expected}  # in their order, whatever that of ``arrays``

    def expect(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Makes ready for a state of these shapes, where those depend on the data."""

    def reset(self) -> None:
        """Forgets everything."""
        self.keep(**{name: array.shape for name, array in self._state.items()})

    def update(
        self, y_true: Any, y_pred: Any, sample_weight: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> None:
        """Takes in a batch.

        Args:
            y_true: targets, (batch, ...).
            y_pred: predictions.
            sample_weight: (batch,), or with further axes of the values that are averaged.
            mask: bool; what it leaves out does not count.

        Raises:
            InputError: the shapes do not fit.
        """
        raise NotImplementedError

    def result(self) -> float | Array:
        """The number so far: a float, or an array where there is one for each threshold."""
        raise NotImplementedError

    def config(self) -> Config:
        """Keras' config."""
        return {"name": self.name, "dtype": self.dtype}

    def refusal(self, text: str) -> SpecError:
        """The error that says why this metric cannot be."""
        return SpecError(f"{type(self).__name__}: {text}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def quotient(x: Any, y: Any) -> Floats:
    """x / y, and 0 where y is 0."""
    out = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)))
    return np.asarray(np.divide(x, y, out=out, where=np.asarray(y) != 0))


def joined(sample_weight: ArrayLike | None, mask: ArrayLike | None) -> Floats | None:
    """Weights with those of a mask, which are 0 and 1."""
    if mask is None:
        return None if sample_weight is None else np.asarray(sample_weight, np.float64)
    kept = np.asarray(mask, np.float64)
    if sample_weight is None:
        return kept
    weight = np.asarray(sample_weight, np.float64)
    if weight.ndim == kept.ndim + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    weight = weight.reshape(weight.shape + (1,) * (kept.ndim - weight.ndim))
    try:
        return weight * kept
    except ValueError:
        raise InputError(f"sample weights of shape {weight.shape} do not fit a mask of shape {kept.shape}") from None


class Mean(Metric):
    """The mean of values: Σ w v / Σ w over all batches, so that a smaller last batch counts by its size.

    Of values (batch, T, ...) those of a sample are averaged first, as in Keras: a batch counts by its samples, not by
    its steps. Weights of fewer axes than the values are those of the values' averages over the other axes.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.keep(total=(), count=())

    def update(  # type: ignore[override]  # it takes values
        self, values: ArrayLike, sample_weight: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> None:
        """Takes in values, (batch, ...) or one number."""
        total, count = self._summed(np.asarray(values, np.float64), joined(sample_weight, mask))
        self._state["total"] += total
        self._state["count"] += count

    def _summed(self, values: Floats, weight: Floats | None) -> tuple[Any, Any]:
        if weight is None:
            return _over_samples(values).sum(), len(values) if values.ndim else 1
        shapes = f"weights of shape {weight.shape} for values of shape {values.shape}"
        if weight.ndim == values.ndim + 1 and weight.shape[-1] == 1:
            weight = weight[..., 0]
        if values.ndim > weight.ndim:
            values = values.mean(tuple(range(weight.ndim, values.ndim)))
        try:
            weight = np.broadcast_to(weight, values.shape)
        except ValueError:
            raise InputError(f"metric {self.name!r}: {shapes}; expected as many, or one for each sample") from None
        weighted = np.where(weight == 0, 0.0, values) * weight
        return _over_samples(weighted).sum(), _over_samples(weight).sum()

    def result(self) -> float | Array:
        return float(quotient(self._state["total"], self._state["count"]))


def _over_samples(values: Floats) -> Floats:
    """One number per sample: the mean over its axes."""
    return np.asarray(values.mean(tuple(range(1, values.ndim))) if values.ndim > 1 else values)


class Sum(Metric):
    """The sum of values, Σ w v."""

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.keep(total=())

    def update(  # type: ignore[override]  # it takes values
        self, values: ArrayLike, sample_weight: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> None:
        """Takes in values, (batch, ...) or one number."""
        numbers, weight = np.asarray(values, np.float64), joined(sample_weight, mask)
        if weight is not None:
            if weight.ndim == numbers.ndim + 1 and weight.shape[-1] == 1:
                weight = weight[..., 0]
            numbers = numbers.sum(tuple(range(weight.ndim, numbers.ndim)))
            numbers = np.where(weight == 0, 0.0, numbers) * weight
        self._state["total"] += numbers.sum()

    def result(self) -> float | Array:
        return float(self._state["total"])


def aligned(y_true: Any, y_pred: Any, name: str) -> tuple[Array, Array]:
    """Both as arrays in one shape: Keras' rule, by which one loses or gains a last axis of length 1.

    Raises:
        InputError: they are not alike; Keras 3.15 would broadcast them.
    """
    t, p = np.asarray(y_true), np.asarray(y_pred)
    given = f"targets of shape {t.shape} for predictions of shape {p.shape}"
    if p.ndim == t.ndim + 1 and p.shape[-1] == 1:
        t, p = (t[:, None], p) if t.ndim == 1 else (t, p[..., 0])
    elif t.ndim == p.ndim + 1 and t.shape[-1] == 1:
        t = t[..., 0]
    if t.shape != p.shape:
        raise InputError(f"metric {name!r}: {given}; expected the same shape")
    return t, p
