"""Crossentropies. They are computed from logits wherever there are any.

Where a softmax or a sigmoid made the prediction, the loss is computed from what went into it: exact and with
the right gradient however sure the prediction is. That is Keras' definition without its clipping. Any other
prediction is taken for probabilities as Keras takes them: divided by their sum (categorical), then moved into
[1e-7, 1 - 1e-7], outside of which the gradient is 0. Where no probability is within 1e-7 of 0 or 1, both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lstmcore import ops
from lstmcore.configs import Config
from lstmcore.formulas import Term
from lstmcore.losses.base import EPSILON, MEAN, Loss, without_defaults
from lstmcore.ops import Kind, Op, Shape
from lstmcore.ops.base import may_equal
from lstmcore.program import Builder, Node, Value

_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "hard_sigmoid_0_2", "sparse_sigmoid", "sparsemax")


def logits_of(build: Builder, prediction: Value, function: str) -> Value | None:
    """What a ``"softmax"`` over the last axis, or a ``"sigmoid"``, made the prediction of; None if none did.

    Ops that only move numbers, such as Last or Unfold, may lie in between: they are applied to the logits too.
    """
    makers = {output: node for node in build.nodes for output in node.outputs}
    path: list[Node] = []
    node = makers.get(prediction.name)
    while node is not None and _keeps(node, function, build):
        path.append(node)
        node = makers.get(str(node.inputs[0]))
    if node is None or not isinstance(node.op, ops.Activate) or node.op.function.name != function:
        return None
    logits = build.values[str(node.inputs[0])]
    if function == "softmax" and node.op.function.parameters["axis"] not in (-1, len(logits.shape) - 1):
        return None
    for mover in reversed(path):
        others = [None if name is None else build.values[name] for name in mover.inputs[1:]]
        (logits,) = build.op(mover.op, logits, *others, name="logits")
    return logits


def _keeps(node: Node, function: str, build: Builder) -> bool:
    """Whether a node only moves numbers, and for softmax those of one distribution together."""
    op, first = node.op, str(node.inputs[0]) if node.inputs else ""
    if not (op.moves or isinstance(op, ops.Unfold)):
        return False
    return function == "sigmoid" or _keeps_last(op, build.values[first].shape, build.values[node.outputs[0]].shape)


def _keeps_last(op: Op, x: Shape, y: Shape) -> bool:
    """Whether the last axis of x is, whole and in order, the last of y."""
    if isinstance(op, ops.Transpose):
        return op.axes[-1] == len(x) - 1
    if isinstance(op, (ops.Slice, ops.Repeat)):
        return op.axis != len(x) - 1
    if isinstance(op, ops.Reshape):
        return len(y) > 1 and x[-1] is not None and x[-1] == y[-1]
    return isinstance(op, ops.Unfold) or len(x) > 2


class _Crossentropy(Loss):
    """What they share: where logits come from, and two formulas."""

    function: ClassVar[str]  # makes probabilities of logits

    if TYPE_CHECKING:
        from_logits: bool
        axis: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.from_logits, bool):
            raise self.refusal(f"from_logits is {self.from_logits!r}; expected True or False")

    def lower(self, build: Builder, target: Value, prediction: Value, logits: Value | None = None) -> Value:
        if self.from_logits:
            logits = prediction
        elif logits is None:
            logits = logits_of(build, prediction, self.function)
        t, p = self._alike(Term(build, target), Term(build, prediction if logits is None else logits))
        self.check_axis(self.axis, p.rank)
        formula = self.formula if logits is None else self.formula_of_logits
        return formula(self._shares(t, p), p).value

    def _shares(self, target: Term, prediction: Term) -> Term:
        """What each class should have."""
        return target.float_like(prediction)

    def formula_of_logits(self, target: Term, logits: Term) -> Term:
        """`formula`, where the prediction is ``function(logits)``."""
        raise NotImplementedError

    def _classes(self, prediction: Term) -> int:
        if prediction.last is None:
            raise self.refusal(f"predictions have shape {prediction.value.shape}; expected a known number of classes")
        return prediction.last

    def doubts(self, build: Builder, prediction: Value) -> tuple[str, ...]:
        makers = {output: node.op for node in build.nodes for output in node.outputs}
        op = makers.get(prediction.name)
        made = op.function.name if isinstance(op, ops.Activate) else None
        found = []
        if self.from_logits and made in ("softmax", "sigmoid"):
            found.append(f"from_logits=True, but a {made} made the predictions: they are no logits")
        if not self.from_logits and (isinstance(op, ops.Affine) or (made and made not in _PROBABILITIES)):
            found.append(
                f"it takes probabilities, but {f'a {made}' if made else 'a layer without activation'} made the "
                f"predictions: end the model with a {self.function}, or set from_logits=True"
            )
        if self.function == "softmax" and prediction.shape[-1] == 1:
            found.append("there is one class, so that the loss is always 0: for yes or no use BinaryCrossentropy")
        return tuple(f"{type(self).__name__}: {text}" for text in found)


@dataclass(frozen=True)
class BinaryCrossentropy(_Crossentropy):
    """-mean (t log p + (1 - t) log(1 - p)) over the last axis.

    With ``label_smoothing`` s, t becomes t (1 - s) + s/2.
    """

    function: ClassVar[str] = "sigmoid"
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1
    reduction: str | None = MEAN
    name: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_number("label_smoothing", 0.0, 1.0)

    def _shares(self, target: Term, prediction: Term) -> Term:
        t, s = target.float_like(prediction), self.label_smoothing
        return t * (1.0 - s) + 0.5 * s if s else t

    def formula(self, target: Term, prediction: Term) -> Term:
        p = prediction.clip(EPSILON, 1.0 - EPSILON)
        return -(target * p.unary("log") + (1.0 - target) * (1.0 - p).unary("log")).mean()

    def formula_of_logits(self, target: Term, logits: Term) -> Term:
        """max(x, 0) - x t + log(1 + exp(-|x|)). Choices, not max and abs, so that the gradient is right at 0 too."""
        negative = logits <= 0.0
        size = (-logits).where(negative, logits)
        upper = logits.term(0.0).where(negative, logits)
        return (upper - logits * target + (-size).activate("softplus")).mean()


@dataclass(frozen=True)
class CategoricalCrossentropy(_Crossentropy):
    """-Σ t log p over the classes, the last axis. With ``label_smoothing`` s, t becomes t (1 - s) + s / classes."""

    function: ClassVar[str] = "softmax"
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1
    reduction: str | None = MEAN
    name: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_number("label_smoothing", 0.0, 1.0)

    def _shares(self, target: Term, prediction: Term) -> Term:
        t, s = target.float_like(prediction), self.label_smoothing
        return t * (1.0 - s) + s / self._classes(prediction) if s else t

    def formula(self, target: Term, prediction: Term) -> Term:
        return -(target * _log_shares(prediction)).sum()

    def formula_of_logits(self, target: Term, logits: Term) -> Term:
        return -(target * logits.activate("log_softmax")).sum()


@dataclass(frozen=True)
class SparseCategoricalCrossentropy(_Crossentropy):
    """-log p[t] where t, an integer, numbers the class along the last axis of p.

    Targets are int, of the prediction's shape without its last axis, or with 1 there. Those equal to
    ``ignore_class`` have the loss 0 and count as masked, in each reduction. Keras 3.15 reads ``axis`` from a config,
    but does not write it.
    """

    function: ClassVar[str] = "softmax"
    targets: ClassVar[Kind] = "int"
    from_logits: bool = False
    ignore_class: int | None = None
    reduction: str | None = MEAN
    axis: int = -1
    name: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        ignored = self.ignore_class
        if ignored is not None and (isinstance(ignored, bool) or not isinstance(ignored, int)):
            raise self.refusal(f"ignore_class is {ignored!r}; expected an integer or None")

    def config(self) -> Config:
        return without_defaults(super().config(), axis=-1)

    def lower(self, build: Builder, target: Value, prediction: Value, logits: Value | None = None) -> Value:
        values = super().lower(build, target, prediction, logits)
        counts = self.counts(build, target, prediction)
        return values if counts is None else Term(build, values).where(Term(build, counts), 0.0).value

    def counts(self, build: Builder, target: Value, prediction: Value) -> Value | None:
        if self.ignore_class is None:
            return None
        ids, _ = self._alike(Term(build, target), Term(build, prediction))
        return ids.is_not(self.ignore_class).value

    def _alike(self, target: Term, prediction: Term) -> tuple[Term, Term]:
        if target.value.kind != "int":
            raise self.refusal(f"targets are {target.value.kind}; expected int, the numbers of the classes")
        given = target.value.shape
        if prediction.rank == 1:
            prediction = prediction.with_last()
        if target.rank == prediction.rank and target.last == 1:
            target = target.without_last()
        wanted = prediction.value.shape[:-1]
        if target.rank != len(wanted) or not all(map(may_equal, target.value.shape, wanted)):
            raise self.refusal(
                f"targets of shape {given} for predictions of shape {prediction.value.shape}; expected {wanted}: an "
                f"integer for each row of classes. One-hot targets go with CategoricalCrossentropy"
            )
        return target, prediction

    def _shares(self, target: Term, prediction: Term) -> Term:
        return target.apply(ops.OneHot(self._classes(prediction)), prediction)

    def formula(self, target: Term, prediction: Term) -> Term:
        return -_log_shares(prediction).where(target.is_not(0.0), 0.0).sum()

    def formula_of_logits(self, target: Term, logits: Term) -> Term:
        return -logits.activate("log_softmax").where(target.is_not(0.0), 0.0).sum()


def _log_shares(p: Term) -> Term:
    """The logarithms of probabilities that may not add up to 1, as Keras takes them."""
    return (p / p.sum(keepdims=True)).clip(EPSILON, 1.0 - EPSILON).unary("log")
