"""What every loss is, and how its numbers become one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from lstmcore.configs import Config, wrap
from lstmcore.errors import SpecError, near
from lstmcore.formulas import Term
from lstmcore.naming import snake
from lstmcore.ops import Kind
from lstmcore.ops.base import may_equal
from lstmcore.program import Builder, Value

EPSILON = 1e-7  # keras.config.epsilon()
MEAN = "sum_over_batch_size"
REDUCTIONS = (MEAN, "mean", "sum", "mean_with_sample_weight", "none")


@dataclass(frozen=True)
class Loss:
    """Base of the losses: how far predictions are from targets.

    A loss is plain data, with Keras' options and config. `lower` gives one number per sample and further axis,
    `total` the one number that is trained on. A loss of your own is a frozen dataclass that has ``reduction``,
    ``name`` and ``dtype`` as those here do, and `formula`.

    A prediction of shape (B,) counts as (B, 1). Keras takes its mean over the batch before it weights the samples.
    """

    called: ClassVar[str] = ""  # the default name, where it is not the class's
    targets: ClassVar[Kind] = "float"  # or "int": they number classes

    if TYPE_CHECKING:
        reduction: str | None
        name: str | None
        dtype: str | None

    def __post_init__(self) -> None:
        if self.name is None:
            object.__setattr__(self, "name", self.called or snake(type(self).__name__))
        if not isinstance(self.name, str) or not self.name:
            raise self.refusal(f"name is {self.name!r}; expected a string")
        if self.reduction is not None and self.reduction not in REDUCTIONS:
            raise self.refusal(f"unknown reduction {self.reduction!r}.{near(self.reduction, REDUCTIONS)}")
        if self.dtype is not None:
            raise self.refusal(f"dtype is {self.dtype!r}; a loss is computed in the dtype of its model: leave it out")

    def refusal(self, text: str) -> SpecError:
        """The error that says why this loss, or its use, cannot be."""
        return SpecError(f"{type(self).__name__}: {text}")

    def config(self) -> Config:
        """Keras' config: the name, the reduction and the options."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("name", "reduction", "dtype")}
        return {"name": self.name, "reduction": self.reduction, **own}

    def formula(self, target: Term, prediction: Term) -> Term:
        """The loss of each sample (and step) from terms of one shape: all axes but the last."""
        raise NotImplementedError

    def lower(self, build: Builder, target: Value, prediction: Value, logits: Value | None = None) -> Value:
        """The loss of each sample and further axis: the prediction's shape without its last axis.

        Args:
            build: where its ops are added.
            target: what should have been predicted; int and bool become float.
            prediction: float, (batch, ..., last).
            logits: what a softmax or a sigmoid made the prediction of; looked for in the program where not given.
                Only the crossentropies use it.

        Raises:
            SpecError: the target's shape does not fit the prediction's.
        """
        t, p = self._alike(Term(build, target), Term(build, prediction))
        return self.formula(t.float_like(p), p).value

    def _alike(self, target: Term, prediction: Term) -> tuple[Term, Term]:
        """Both in one shape: Keras' rule, by which one loses or gains a last axis of length 1."""
        given = f"targets of shape {target.value.shape} do not fit predictions of shape {prediction.value.shape}"
        if prediction.rank == 1:
            prediction = prediction.with_last()
            target = target.with_last() if target.rank == 1 else target
        if target.rank == prediction.rank + 1 and target.last == 1:
            target = target.without_last()
        elif prediction.rank == target.rank + 1 and prediction.last == 1:
            if target.rank == 1:
                target = target.with_last()
            else:
                prediction = prediction.without_last()
        shapes = target.value.shape, prediction.value.shape
        if len(shapes[0]) != len(shapes[1]) or not all(map(may_equal, *shapes)):
            raise self.refusal(f"{given}; expected the same shape")
        return target, prediction

    def counts(self, build: Builder, target: Value, prediction: Value) -> Value | None:
        """The mask of the targets that count, in the shape of `lower`, where an option of the loss leaves some out."""
        return None

    def total(
        self,
        build: Builder,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        mask: Value | None = None,
        logits: Value | None = None,
    ) -> Value:
        """The loss that is trained on, shape (): `lower`, then `reduce` by this loss's reduction.

        The mask is that of the prediction; targets that do not count are masked with it. Targets (B, T) for
        predictions (B, T, 1) go by time steps where weights or a mask do; else, as in Keras 3.15, which refuses
        those, the last axis that `lower` reduces is time.
        """
        if _by_steps(weight, mask) and len(prediction.shape) == len(target.shape) + 1 > 2 and prediction.shape[-1] == 1:
            target = Term(build, target).with_last().value
        values = self.lower(build, target, prediction, logits)
        counts = self.counts(build, target, prediction)
        if mask is not None and counts is not None:
            counts = Term(build, counts).both(Term(build, mask)).value
        return reduce(build, values, weight, mask if counts is None else counts, self.reduction)

    def doubts(self, build: Builder, prediction: Value) -> tuple[str, ...]:
        """What looks wrong about a loss of this prediction, for a warning."""
        return ()

    def check_number(self, option: str, low: float, high: float = math.inf) -> None:
        """SpecError where an option is no finite number within [low, high]."""
        value = getattr(self, option)
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not right or not low <= value <= high:
            most = "" if high == math.inf else f" and at most {high:g}"
            raise self.refusal(f"{option} is {value!r}; expected a number of at least {low:g}{most}")

    def check_axis(self, axis: int, rank: int) -> None:
        """SpecError where the axis is not the last."""
        if isinstance(axis, bool) or not isinstance(axis, int) or axis not in (-1, rank - 1):
            raise self.refusal(f"axis is {axis!r}; expected -1: classes and features lie along the last axis")


def _by_steps(weight: Value | None, mask: Value | None) -> bool:
    """Whether weights or a mask tell time steps apart."""
    return any(length != 1 for value in (weight, mask) if value is not None for length in value.shape[1:])


def serialize(loss: Loss | None) -> dict[str, Any] | None:
    """Keras' serialized form."""
    return None if loss is None else wrap("keras.losses", type(loss).__name__, loss.config())


def without_defaults(config: Mapping[str, Any], **defaults: Any) -> Config:
    """A config without those options that are at their defaults: Keras reads them, but writes none of them."""
    return {key: value for key, value in config.items() if key not in defaults or value != defaults[key]}


def reduce(
    build: Builder, per_sample: Value, weight: Value | None, mask: Value | None, reduction: str | None = MEAN
) -> Value:
    """One number from one for each sample, ``v`` (B, ...), with weights ``w`` and a mask ``m``.

    ==============================  =================================================================
    sum_over_batch_size, mean       Σ v w m / Σ m: over what is not masked, whatever the weights
    mean_with_sample_weight         Σ v w m / Σ w m; without a mask, Σ w is that of the weights as given
    sum                             Σ v w m
    none, None                      v w m, in its shape: not one number
    ==============================  =================================================================

    Where all is masked, or the weights add up to 0, a mean is 0 (Keras 3.15, measured). What is masked has no
    influence, NaN or not. The weights are (B,), or have the axes of v, where an axis of length 1 stands for
    all. Weights (B,) for v (B, T, ...) are each sample's; Keras 3.15 refuses them, or where T = B takes them
    for those of the steps.

    Raises:
        SpecError: weights or mask do not fit the shape of v, or the reduction is unknown.
    """
    v = Term(build, per_sample)
    if reduction is not None and reduction not in REDUCTIONS:
        raise SpecError(f"unknown reduction {reduction!r}.{near(reduction, REDUCTIONS)}")
    w = None if weight is None else _fitting(v, Term(build, weight), "weights")
    m = None if mask is None else _fitting(v, Term(build, mask), "a mask")
    if m is not None:
        v = v.where(m, 0.0)
    shares = None if m is None else m.float_like(v)
    if reduction == "mean_with_sample_weight" and weight is not None and w is not None:
        if shares is not None:
            return _quotient((v * w).total(), (w * shares).total()).value
        while v.rank > len(weight.shape):
            v, w = v.mean(), w.without_last()
        return _quotient((v * w).total(), w.total()).value
    if w is not None:
        v = v * w
    if reduction in (None, "none"):
        return v.value
    if reduction == "sum":
        return v.total().value
    return (v.total("mean") if shares is None else v.total() / shares.total().maximum(1.0)).value


def _fitting(v: Term, other: Term, what: str) -> Term:
    """Weights or a mask with as many axes as v."""
    given = other.value.shape
    if other.rank == v.rank + 1 and other.last == 1:
        other = other.without_last()
    while what == "weights" and other.rank < v.rank:
        other = other.with_last()
    pairs = zip(other.value.shape, v.value.shape, strict=False)
    if other.rank != v.rank or not all(a == 1 or may_equal(a, b) for a, b in pairs):
        raise SpecError(f"{what} of shape {given} for losses of shape {v.value.shape}; expected the same shape")
    return other


def _quotient(x: Term, by: Term) -> Term:
    """x / by, and 0 where by is 0."""
    some = by.is_not(0.0)
    return (x / by.where(some, 1.0)).where(some, 0.0)
