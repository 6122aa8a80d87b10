"""What BatchNormalization computes in training: statistics of the batch, and moving averages of them."""

from __future__ import annotations

from dataclasses import dataclass

from lstmcore import ops
from lstmcore.formulas import Term
from lstmcore.program import Builder, Value

EPSILON = 1e-7  # keras.config.epsilon(), which Keras adds to the number of steps that count


@dataclass(frozen=True)
class Layout:
    """Where the axes of an input go: first those that statistics are taken over, then steps apart, then features.

    ``apart`` are the sequences around the input whose steps are samples of their own: each step has its statistics.
    """

    build: Builder
    apart: tuple[Value, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, build: Builder, x: Value, axis: int) -> Layout:
        """The layout for an input whose features lie along ``axis``."""
        steps = len(build.apart)
        rank = len(x.shape) + steps
        last = (*range(1, 1 + steps), axis + steps)
        return cls(build, build.apart, (*(k for k in range(rank) if k not in last), *last))

    @property
    def kept(self) -> int:
        """How many axes the statistics have."""
        return len(self.apart) + 1

    def there(self, x: Value) -> Term:
        """The input, laid out."""
        for like in reversed(self.apart):
            (x,) = self.build.op(ops.Unfold(), x, like, name="unfold")
        return Term(self.build, self._permuted(x, self.order, "features_last"))

    def back(self, y: Term) -> Value:
        """What was made of it, with its axes where the input had them."""
        back = tuple(self.order.index(k) for k in range(len(self.order)))
        value = self._permuted(y.value, back, "features_back")
        for _ in self.apart:
            (value,) = self.build.op(ops.Fold(), value, name="fold")
        return value

    def _permuted(self, x: Value, order: tuple[int, ...], name: str) -> Value:
        moved = order != tuple(range(len(order)))
        return self.build.op(ops.Transpose(order), x, name=name)[0] if moved else x


def moments(x: Term, mask: Term | None, kept: int) -> tuple[Term, Term, Term]:
    """(mean, variance, x less the mean) over all but the last ``kept`` axes; the variance divides by the number.

    Masked entries do not count, and the sums are divided by ``count + 1e-7`` (Keras 3.15).
    """
    if mask is None:
        mean = x.apply(ops.Total("mean", kept))
        centered = x - mean
        return mean, centered.unary("square").apply(ops.Total("mean", kept)), centered
    every = mask.apply(ops.Binary("or"), x.apply(ops.Binary("less"), x))  # the mask along all axes of x
    count = every.float_like(x).apply(ops.Total("sum", kept)) + EPSILON
    mean = x.where(mask, 0.0).apply(ops.Total("sum", kept)) / count
    centered = x - mean
    squares = centered.where(mask, 0.0).unary("square")
    return mean, squares.apply(ops.Total("sum", kept)) / count, centered


def moved(old: Term, new: Term, momentum: float) -> Term:
    """The moving average after what is new: ``old momentum + new (1 - momentum)``.

    Where ``new`` (..., features) holds statistics of several steps, they come one after the other.
    """
    if new.rank == 1:
        return old * momentum + new * (1.0 - momentum)
    for _ in range(new.rank - 2):
        new = Term(new.build, new.build.op(ops.Fold(), new.value, name="fold")[0])
    shares = _shares(new, momentum)
    return old + (new - old).apply(ops.Einsum("tc,t->c"), shares)


def _shares(new: Term, momentum: float) -> Term:
    """How much each of T steps counts in the average after all: ``(1 - momentum) momentum^(T - 1 - t)``, (T,)."""
    step = new.apply(ops.Reduce("sum", (1,)))
    pairs = step.with_last() + step
    later = pairs.apply(ops.Causal()).float_like(new).apply(ops.Total("sum", 1)) - 1.0  # how many come after a step
    return later.term(momentum).apply(ops.Binary("power"), later) * (1.0 - momentum)
