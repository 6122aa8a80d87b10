"""The language in which a cell says one step: values with operators, and the functions of `CellOps`."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from lstmcore import activations, ops
from lstmcore.errors import SpecError, near
from lstmcore.layers import options
from lstmcore.ops import Shape
from lstmcore.program import Builder, Value

Number = int | float
UNARY = ("abs", "cos", "exp", "log", "negative", "reciprocal", "rsqrt", "sin", "sqrt", "square")
BINARY = ("add", "divide", "equal", "less", "less_equal", "maximum", "minimum", "multiply", "power", "subtract")
REDUCTIONS = ("max", "mean", "min", "sum")


class Expr:
    """A value of one step: (batch, ...), or a weight. ``+ - * / ** < <= > >=`` broadcast; ``x @ w``: the last axis."""

    __array_ufunc__ = None  # NumPy arrays leave the operators to it, which refuse them

    def __init__(self, build: Builder, value: Value) -> None:
        self._build, self.value = build, value

    @property
    def shape(self) -> Shape:
        """The shape; the batch axis, None, comes first where it has one."""
        return self.value.shape

    def __repr__(self) -> str:
        return f"<{self.value.kind} {self.shape} of a cell's step>"

    def _with(self, op: ops.Op, *others: Expr) -> Expr:
        function = getattr(op, "function", None) or type(op).__name__.lower()
        name = str(getattr(function, "name", function))
        return Expr(self._build, self._build.op(op, self.value, *(other.value for other in others), name=name)[0])

    def _wrap(self, other: Any) -> Expr:
        if isinstance(other, Expr):
            return other
        if isinstance(other, (int, float, np.integer, np.floating)) and not isinstance(other, bool):
            try:
                return self._with(ops.Constant(shape=(), values=(float(other),)))
            except OverflowError:
                raise SpecError("a cell's step holds a number that no float can hold") from None
        raise SpecError(
            f"a cell's step combines values and numbers, not {type(other).__name__}; an array that it needs is a weight"
        )

    def _binary(self, function: str, other: Any) -> Expr:
        other = self._wrap(other)
        _keep_samples_apart(self, other)
        return self._with(ops.Binary(function), other)

    def __add__(self, other: Any) -> Expr:
        return self._binary("add", other)

    def __sub__(self, other: Any) -> Expr:
        return self._binary("subtract", other)

    def __mul__(self, other: Any) -> Expr:
        return self._binary("multiply", other)

    def __truediv__(self, other: Any) -> Expr:
        return self._binary("divide", other)

    def __pow__(self, other: Any) -> Expr:
        return self._binary("power", other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Any) -> Expr:
        return self._wrap(other) - self

    def __rtruediv__(self, other: Any) -> Expr:
        return self._wrap(other) / self

    def __rpow__(self, other: Any) -> Expr:
        return self._wrap(other) ** self

    def __lt__(self, other: Any) -> Expr:
        return self._binary("less", other)

    def __le__(self, other: Any) -> Expr:
        return self._binary("less_equal", other)

    def __gt__(self, other: Any) -> Expr:
        return self._wrap(other) < self

    def __ge__(self, other: Any) -> Expr:
        return self._wrap(other) <= self

    def __abs__(self) -> Expr:
        return self._with(ops.Unary("abs"))

    def __neg__(self) -> Expr:
        return self._with(ops.Unary("negative"))

    def __matmul__(self, other: Any) -> Expr:
        if not isinstance(other, Expr) or len(other.shape) != 2 or other.shape[0] is None:
            raise SpecError(f"{self!r} @ {other!r}: the right side of @ is a weight of two axes")
        left, (inner, outer) = string.ascii_lowercase[2 : len(self.shape) + 1], ("a", "b")
        equation = f"{left}{inner},{inner}{outer}->{left}{outer}"
        return self._with(ops.Einsum(equation), other)

    def __getitem__(self, row: int) -> Expr:
        """A row of a weight: ``bias[0]``."""
        rows, *rest = self.shape
        if rows is None or not isinstance(row, (int, np.integer)) or not 0 <= row < rows or not rest:
            raise SpecError(f"{self!r}[{row!r}]: rows are taken of weights of two axes or more; else use ops.split")
        chosen = ops.Constant(shape=(rows,), values=tuple(float(k == row) for k in range(rows)))
        letters = string.ascii_lowercase[1 : len(rest) + 1]
        return self._with(chosen)._with(ops.Einsum(f"a,a{letters}->{letters}"), self)

    def __bool__(self) -> bool:
        raise SpecError("a cell's step is written once for all numbers: choose by ops.where, not by if")


class CellOps:
    """What a step may use beside the operators.

    Activations by name (``ops.tanh(x)``; ``ops.activate(name_or_config, x)``), ``matmul``, ``einsum``, ``concatenate``,
    ``split``, ``where``, ``zeros_like``, ``ones_like``, the elementwise ``add`` to ``subtract``, ``abs`` to ``square``,
    ``sum``, ``mean``, ``max``, ``min`` over an axis, and ``dropout``. ``training`` says what the step is written for.
    """

    def __init__(self, training: bool = False) -> None:
        self.training = training

    def __getattr__(self, name: str) -> Callable[..., Expr]:
        if name in UNARY:
            return lambda x: _expr(x, name)._with(ops.Unary(name))
        if name in BINARY:
            return lambda x, other: _pair(name, x, other)
        if name in REDUCTIONS:
            return lambda x, axis=-1, keepdims=False: _reduce(name, x, axis, keepdims)
        if name in activations.PARAMETERS:
            return lambda x: self.activate(name, x)
        public = (entry for entry in vars(CellOps) if not entry.startswith("_"))
        known = (*UNARY, *BINARY, *REDUCTIONS, *activations.PARAMETERS, *public)
        raise SpecError(f"a cell's step has no function {name!r}.{near(name, known)}")

    def activate(self, function: Any, x: Expr) -> Expr:
        """An activation by name or config, as layers take it."""
        found, x = activations.get(function), _expr(x, str(function))
        return x if found == activations.LINEAR else x._with(ops.Activate(found))

    def matmul(self, x: Expr, other: Expr) -> Expr:
        """``x @ other``."""
        return _expr(x, "matmul") @ other

    def einsum(self, equation: str, x: Expr, other: Expr) -> Expr:
        """A product of two in index notation, ``"bij,bj->bi"``."""
        op, operands = ops.Einsum(equation), (_expr(x, "einsum"), _expr(other, "einsum"))
        sample = op.terms[2][:1]
        for letters, operand in zip(op.terms, operands, strict=False):
            if (operand.shape[:1] == (None,)) != (letters[0] == sample) or sample in letters[1:]:
                raise SpecError(
                    f"einsum {equation!r} of {x!r} and {other!r}: the batch axis comes first in the operands that have "
                    "it and in the result, under a letter of its own"
                )
        return operands[0]._with(op, operands[1])

    def concatenate(self, entries: Sequence[Expr], axis: int = -1) -> Expr:
        """Side by side along an axis."""
        if not isinstance(entries, (list, tuple)) or not entries:
            raise SpecError(f"ops.concatenate takes a list of values of the step, not {entries!r}")
        first, *others = [_expr(entry, "concatenate") for entry in entries]
        return first._with(ops.Concat(_axis(first, axis), len(entries)), *others)

    def split(self, x: Expr, parts: int | Sequence[int], axis: int = -1) -> list[Expr]:
        """The entries of ``concatenate``: so many equal parts, or parts of these lengths."""
        axis = _axis(_expr(x, "split"), axis)
        length = cast(int, x.shape[axis])
        listed = isinstance(parts, (list, tuple)) and all(type(n) is int and n > 0 for n in parts)
        if not listed and type(parts) is not int:
            raise SpecError(f"split: parts is {parts!r}; expected a number of parts, or a list of their lengths")
        if isinstance(parts, int) and (parts < 1 or length % parts):
            raise SpecError(f"split: {length} entries do not make {parts} equal parts")
        lengths = [length // parts] * parts if isinstance(parts, int) else list(parts)
        if sum(lengths) != length:
            raise SpecError(f"split: parts of {lengths} do not add up to {length}")
        ends = np.cumsum(lengths).tolist()
        return [x._with(ops.Slice(axis, end - n, end)) for n, end in zip(lengths, ends, strict=True)]

    def where(self, condition: Expr, x: Any, other: Any) -> Expr:
        """``x`` where the condition holds, elsewhere ``other``."""
        some = x if isinstance(x, Expr) else _expr(other, "where")
        chosen = (_expr(condition, "where"), some._wrap(x), some._wrap(other))
        _keep_samples_apart(*chosen)
        return chosen[0]._with(ops.Select(), *chosen[1:])

    def dropout(self, x: Expr, rate: float, copies: int | None = None, name: str = "dropout") -> Expr:
        """In training, x with a share ``rate`` of its entries zero, the rest scaled by 1 / (1 - rate); otherwise x.

        The mask is drawn once for each sequence, and the same at all its steps; every call in a step has a mask of
        its own. ``copies``: so many copies of x, each under its own, (batch, copies, ...). ``name`` is what the
        program calls the mask, which decides its numbers.
        """
        value, build = _expr(x, "dropout").value, x._build
        given = ((name, options.NAME, "name"), (rate, options.RATE, "rate"), (copies, options.COUNT, "copies"))
        name, rate, copies = (options.checked("ops.dropout", what, kind, option) for option, kind, what in given)
        if value.kind != "float" or value.shape[:1] != (None,) or None in value.shape[1:]:
            raise SpecError(f"ops.dropout takes numbers of each sample, (batch, ...), of known lengths, not {x!r}")
        if rate and not build.training:
            where = build.path("")[:-1]
            build.note(f"{where}: dropout acts in training only" if where else "dropout acts in training only")
        if copies is not None:
            x = self.reshape(x, (1, *cast(tuple[int, ...], value.shape[1:])))
        if not (rate and build.training):
            return x if copies is None else x._with(ops.Repeat(1, copies))
        shape = value.shape if copies is None else (None, copies, *value.shape[1:])
        return x * Expr(build, build.noise(name or "dropout", "dropout", rate, value, shape=shape))

    def reshape(self, x: Expr, shape: Sequence[int]) -> Expr:
        """The same numbers in row-major order, the axes after the first of this shape; -1 takes what is left."""
        target = options.checked("ops.reshape", "shape", options.TARGET_SHAPE, shape)
        return _expr(x, "reshape")._with(ops.Reshape(target))

    def zeros_like(self, x: Expr) -> Expr:
        """Zeros of the shape of x."""
        return self._filled(x, 0.0)

    def ones_like(self, x: Expr) -> Expr:
        """Ones of the shape of x."""
        return self._filled(x, 1.0)

    def _filled(self, x: Expr, number: float) -> Expr:
        zeros = _expr(x, "zeros_like")._with(ops.Zeros(cast(tuple[int, ...], x.shape[1:])))
        return zeros + number if number else zeros


def _keep_samples_apart(*values: Expr) -> None:
    """SpecError where broadcasting, which goes from the right, would lay a batch axis along another axis."""
    shapes = [value.shape for value in values]
    ranks = {len(shape) for shape in shapes if shape[:1] == (None,)}
    rank = max(ranks, default=0)
    along = any(len(shape) >= rank and shape[0] not in (None, 1) for shape in shapes)
    if len(ranks) > 1 or (ranks and (along or max(map(len, shapes)) > rank)):
        raise SpecError(
            f"values of shapes {' and '.join(map(str, shapes))} meet: what has a batch axis needs as many axes as the "
            "other that has one, and more than a weight"
        )


def _expr(x: Any, function: str) -> Expr:
    if not isinstance(x, Expr):
        raise SpecError(f"ops.{function} takes values of the step, not {type(x).__name__}")
    return x


def _pair(function: str, x: Any, other: Any) -> Expr:
    first: Expr = x if isinstance(x, Expr) else _expr(other, function)._wrap(x)
    return first._with(ops.Binary(function), first._wrap(other))


def _axis(x: Expr, axis: int) -> int:
    if not isinstance(axis, int) or not -len(x.shape) <= axis < len(x.shape) or axis % len(x.shape) == 0:
        raise SpecError(f"axis {axis!r} is not one of the axes of {x!r} after the batch")
    return axis % len(x.shape)


def _reduce(function: str, x: Any, axis: int | Sequence[int], keepdims: bool) -> Expr:
    whole = _expr(x, function)
    axes = tuple(sorted(_axis(whole, a) for a in ([axis] if isinstance(axis, int) else axis)))
    return whole._with(ops.Reduce(function, axes, keepdims))
