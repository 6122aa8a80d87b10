"""Values of a program with operators, so that losses and penalties read as their formulas do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lstmcore import activations, ops
from lstmcore.program import Builder, Value

Number = float | int


@dataclass(frozen=True, eq=False)
class Term:
    """A value in a formula; ``+ - * /`` take terms and numbers, with NumPy's broadcasting."""

    build: Builder
    value: Value

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.value.shape)

    def apply(self, op: ops.Op, *others: Term) -> Term:
        """An op on it and others, named after what it does."""
        function = getattr(op, "function", None) or type(op).__name__.lower()
        name = str(getattr(function, "name", function))
        return Term(self.build, self.build.op(op, self.value, *(other.value for other in others), name=name)[0])

    def term(self, other: Term | Number) -> Term:
        """A number as a term, in the dtype of this one."""
        return other if isinstance(other, Term) else self.apply(ops.Constant((float(other),), ()))

    def _with(self, function: str, other: Term | Number) -> Term:
        return self.apply(ops.Binary(function), self.term(other))

    def __add__(self, other: Term | Number) -> Term:
        return self._with("add", other)

    def __sub__(self, other: Term | Number) -> Term:
        return self._with("subtract", other)

    def __mul__(self, other: Term | Number) -> Term:
        return self._with("multiply", other)

    def __truediv__(self, other: Term | Number) -> Term:
        return self._with("divide", other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Number) -> Term:
        return self.term(other) - self

    def __rtruediv__(self, other: Number) -> Term:
        return self.term(other) / self

    def __neg__(self) -> Term:
        return self.unary("negative")

    def __abs__(self) -> Term:
        return self.unary("abs")

    def unary(self, function: str) -> Term:
        """A function of `lstmcore.ops.Unary`."""
        return self.apply(ops.Unary(function))

    def activate(self, name: str) -> Term:
        """A function of `lstmcore.activations`, with its defaults."""
        return self.apply(ops.Activate(activations.function(name)))

    def maximum(self, other: Term | Number) -> Term:
        """The greater of the two, number by number."""
        return self._with("maximum", other)

    def minimum(self, other: Term | Number) -> Term:
        """The lesser of the two, number by number."""
        return self._with("minimum", other)

    def clip(self, low: Number, high: Number) -> Term:
        """What lies outside [low, high] moved to its nearer end."""
        return self.maximum(low).minimum(high)

    def __le__(self, other: Term | Number) -> Term:
        return self._with("less_equal", other)

    def is_not(self, number: Number) -> Term:
        """The mask of what differs from a number."""
        return self.apply(ops.NotEqual(number))

    def both(self, other: Term) -> Term:
        """The mask of what is in this mask and in another."""
        return self._with("and", other)

    def float_like(self, like: Term) -> Term:
        """A mask, or integers, as numbers."""
        return self if self.value.kind == "float" else self.apply(ops.Cast(), like)

    def where(self, condition: Term, other: Term | Number) -> Term:
        """It where a mask holds, elsewhere the other, which then alone counts, NaN or not."""
        return condition.apply(ops.Select(), self, self.term(other))

    def _reduced(self, function: str, keepdims: bool) -> Term:
        return self.apply(ops.Reduce(function, (self.rank - 1,), keepdims))

    def mean(self, keepdims: bool = False) -> Term:
        """The mean over the last axis."""
        return self._reduced("mean", keepdims)

    def sum(self, keepdims: bool = False) -> Term:
        """The sum over the last axis."""
        return self._reduced("sum", keepdims)

    def max(self, keepdims: bool = False) -> Term:
        """The greatest over the last axis."""
        return self._reduced("max", keepdims)

    def total(self, function: str = "sum") -> Term:
        """The sum, or the mean, of all there is, over the batch too."""
        return self.apply(ops.Total(function))

    def with_last(self) -> Term:
        """With a last axis of length 1."""
        return self._reshaped(lambda lengths: (*lengths, 1))

    def without_last(self) -> Term:
        """Without its last axis, of length 1."""
        return self._reshaped(lambda lengths: lengths[:-1])

    def _reshaped(self, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Term:
        """In another shape; a Reshape takes one open length, so further ones are folded into the batch meanwhile."""
        lengths = self.value.shape[1:]
        if lengths.count(None) > 1:
            rows = self.apply(ops.Fold())._reshaped(change)
            return rows.apply(ops.Unfold(), self)
        return self.apply(ops.Reshape(change(tuple(-1 if n is None else n for n in lengths))))

    @property
    def last(self) -> int | None:
        """The length of the last axis, None where open."""
        return self.value.shape[-1]
