"""Connectionist temporal classification: the loss of a sequence of labels that are not aligned with the time steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lstmcore import ops
from lstmcore.formulas import Term
from lstmcore.losses.base import MEAN, Loss, reduce
from lstmcore.ops import Kind
from lstmcore.ops.base import may_equal
from lstmcore.program import Builder, Program, Value

# The logarithm of a probability of 0: finite, so that the difference of two is no NaN.
NEVER = -1e30


@dataclass(frozen=True)
class CTC(Loss):
    """-log of the probability that a sequence of predictions spells the labels, in any of the ways to spell them.

    A spelling has a class for each time step. It reads as the labels once its repetitions are merged and then its
    blanks, class 0, are left out: ``a a _ a b`` reads ``a a b``. Its probability is the product over the steps of
    softmax(prediction)[class]; the loss is -log of the sum of those of all spellings, by the forward algorithm (Graves
    et al., 2006, "Connectionist Temporal Classification", section 4.1) in logarithms.

    Targets are int (B, L), classes from 1; a 0 is no label, wherever it stands, and a row of zeros is the empty word.
    (Keras 3.15 counts the labels of a row, and then reads so many from its left: zeros before or between them give
    other numbers, and no error.) Predictions are logits (B, T, C). T and L may be open. The loss is (B,), and the
    weights are those of the samples. The masked time steps of a prediction are left out of its sequence, wherever
    they stand; Keras 3.15 cannot take masks here.

    Labels for which there are too few steps (each takes one, and two that are the same, one after the other, one more
    for the blank between) cannot be spelled. Their loss is infinite and their gradient 0: such a sample is seen, and
    harms no weight. (Keras 3.15 on TensorFlow gives a loss of about 709 and a gradient that leads nowhere; on
    PyTorch infinity and a gradient of NaN.)
    """

    called: ClassVar[str] = "ctc"
    targets: ClassVar[Kind] = "int"
    reduction: str | None = MEAN
    name: str | None = None
    dtype: str | None = None

    def lower(self, build: Builder, target: Value, prediction: Value, logits: Value | None = None) -> Value:
        return self._of_steps(build, target, prediction, None)

    def total(
        self,
        build: Builder,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        mask: Value | None = None,
        logits: Value | None = None,
    ) -> Value:
        values = self._of_steps(build, target, prediction, mask)
        return reduce(build, values, weight, None, self.reduction)

    def doubts(self, build: Builder, prediction: Value) -> tuple[str, ...]:
        makers = {output: node.op for node in build.nodes for output in node.outputs}
        op = makers.get(prediction.name)
        made = op.function.name if isinstance(op, ops.Activate) else None
        if made not in ("softmax", "sigmoid"):
            return ()
        return (f"CTC takes logits, and a {made} made the predictions; let the last layer have no activation",)

    def _of_steps(self, build: Builder, target: Value, prediction: Value, mask: Value | None) -> Value:
        """The loss of each sample, of the steps that the mask (B, T) leaves."""
        classes = self._classes(target, prediction, mask)
        labels, p = Term(build, target), Term(build, prediction)
        if mask is not None:
            p = p.where(Term(build, mask).with_last(), 0.0)
        rows = _packed(labels, p, classes)
        states, used = _with_blanks(rows, classes), _used(rows)
        heard = p.activate("log_softmax").maximum(NEVER).apply(ops.Einsum("btc,bsc->bts"), states)
        heard = heard + ((1.0 - used) * NEVER).apply(ops.Reshape((1, -1)))
        skips = _skips(states)
        begin = _shifted(used * 0.0 + 1.0, 1) * NEVER
        scale = p.apply(ops.Zeros((1,)))
        given = (heard.value, begin.value, scale.value, skips.value, mask)
        _, reached, total, _ = (
            Term(build, made) for made in build.op(ops.Scan(_step(heard.last)), *given, name="time")
        )
        log = total.without_last() + _log_sum(reached.where(_ends(used), NEVER))
        possible = (log <= NEVER / 2).apply(ops.Unary("not"))
        return (-(log.where(possible, 0.0) + possible.float_like(log).unary("log"))).value

    def _classes(self, target: Value, prediction: Value, mask: Value | None) -> int:
        """How many classes there are, the blank among them; SpecError where shapes or kinds do not fit."""
        given = f"targets are {target.kind} of shape {target.shape} for predictions of shape {prediction.shape}"
        if target.kind != "int" or len(target.shape) != 2 or len(prediction.shape) != 3:
            raise self.refusal(f"{given}; expected int (batch, labels) and logits (batch, time, classes)")
        if mask is not None and not (len(mask.shape) == 2 and all(map(may_equal, mask.shape, prediction.shape))):
            raise self.refusal(f"a mask of shape {mask.shape} for predictions of shape {prediction.shape}")
        classes = prediction.shape[-1]
        if classes is None or classes < 2:
            raise self.refusal(f"{given}; expected a known number of classes, the blank and at least one label")
        return classes


def _packed(labels: Term, like: Term, classes: int) -> Term:
    """Labels (B, L) as one-hot rows (B, L, C), those that are not 0 first and in their order, then rows of zeros."""
    some = labels.is_not(0).float_like(like)
    to = some.apply(ops.Reshape((1, -1)))
    no_later = (some.with_last() * to).apply(ops.Causal()).float_like(like)
    number = no_later.apply(ops.Einsum("bjk,bk->bj"), some).apply(ops.Reshape((1, -1)))
    moves = no_later.sum(keepdims=True).apply(ops.Binary("equal"), number).float_like(like) * to
    return moves.apply(ops.Einsum("bij,bjc->bic"), labels.apply(ops.OneHot(classes), like))


def _with_blanks(rows: Term, classes: int) -> Term:
    """(B, L, C) -> (B, 2 L + 1, C): a blank before, between and after the labels."""
    blank = rows.apply(ops.Constant((1.0, *[0.0] * (classes - 1)), (classes,)))
    pairs = (rows * 0.0 + blank).apply(ops.Concat(2, 2), rows).apply(ops.Reshape((-1, classes)))
    return pairs.apply(ops.Concat(1, 2), rows.apply(ops.Zeros((1, classes))) + blank)


def _skips(states: Term) -> Term:
    """What it costs (B, 2 L + 1) to come from two states before: nothing, but NEVER where both are the same class."""
    return (states * _shifted(states, 2)).sum() * NEVER


def _used(rows: Term) -> Term:
    """1 for the states (B, 2 L + 1) of a sequence's own labels and blanks, then 0."""
    return (rows.apply(ops.Zeros((1,))) + 1.0).apply(ops.Concat(1, 2), rows.sum().apply(ops.Repeat(1, 2)))


def _ends(used: Term) -> Term:
    """The mask of the states in which a spelling may end: the last label, and the blank after it."""
    return (used - used.apply(ops.Pad(1, 0, 2)).apply(ops.Slice(1, 2))).is_not(0)


def _shifted(x: Term, places: int) -> Term:
    """Axis 1 moved so many places to the right, zeros before."""
    return x.apply(ops.Pad(1, places, 0)).apply(ops.Slice(1, 0, -places))


def _step(states: int | None) -> Program:
    """One step of the forward algorithm, the body of a Scan.

    ``reached[s]`` becomes ``heard[s] + log(e^reached[s] + e^reached[s-1] + e^(reached[s-2] + skips[s]))``, less the
    greatest of these, which goes into ``scale``: what is near the greatest stays near 0, where float32 is fine.
    """
    build = Builder()
    lengths = {"heard": states, "reached": states, "scale": 1, "skips": states}
    heard, reached, scale, skips = (Term(build, build.input(name, (None, n))) for name, n in lengths.items())
    before = (reached.apply(ops.Zeros((2,))) + NEVER).apply(ops.Concat(1, 2), reached)
    ways = (reached, before.apply(ops.Slice(1, 1, -1)), before.apply(ops.Slice(1, 0, -2)) + skips)
    most = ways[0].maximum(ways[1]).maximum(ways[2])
    first, second, third = ((way - most).unary("exp") for way in ways)
    after = heard + most + (first + second + third).unary("log")
    greatest = after.max(keepdims=True)
    made = (scale + greatest, after - greatest, scale + greatest, skips)
    return build.finish([term.value.name for term in made])


def _log_sum(x: Term) -> Term:
    """log Σ e^x over the last axis. The gradient through the maximum adds up to 0, whichever of equals it takes."""
    most = x.max(keepdims=True)
    return most.without_last() + (x - most).unary("exp").sum().unary("log")
