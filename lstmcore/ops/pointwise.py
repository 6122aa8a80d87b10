"""Number by number: Activate, Unary, Binary, Select, NotEqual, Cast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lstmcore import activations
from lstmcore.activations import Function
from lstmcore.errors import SpecError
from lstmcore.ops.base import Kind, Op, Shape, Tensor, checked, known_length, with_length


@dataclass(frozen=True)
class Activate(Op):
    """``y = function(x)``, formulas in `lstmcore.activations`; same shape, but ``glu`` halves its axis."""

    function: Function

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0])
        if self.function.name not in activations.ALONG_AXIS:
            return (Tensor(x.shape),)
        axis = self.function.parameters["axis"]
        if not isinstance(axis, int) or not -len(x.shape) <= axis < len(x.shape) or axis % len(x.shape) == 0:
            raise SpecError(f"{self.function}: axis {axis!r} is not one of the feature axes of shape {x.shape}")
        if self.function.name != "glu":
            return (Tensor(x.shape),)
        length = known_length(self, "x", x.shape, axis)
        if length % 2:
            raise SpecError(f"glu halves an axis of even length; axis {axis} of shape {x.shape} has {length}")
        return (Tensor(with_length(x.shape, axis % len(x.shape), length // 2)),)


_UNARY = ("abs", "cos", "exp", "log", "negative", "not", "reciprocal", "rsqrt", "sin", "sqrt", "square")


@dataclass(frozen=True)
class Unary(Op):
    """``y = function(x)``, same shape.

    float: abs, cos, exp, log, negative (-x), reciprocal (1 / x), rsqrt (1 / √x), sin, sqrt, square (x²);
    bool: not. Outside its domain a function gives what IEEE gives: log(-1) is NaN, reciprocal(0) infinite.
    """

    function: str
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"function": _UNARY}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], kind="bool" if self.function == "not" else "float")
        return (Tensor(x.shape, x.kind),)


# function -> what it takes, what it gives
_BINARY: Mapping[str, tuple[Kind, Kind]] = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "maximum", "minimum", "power"), ("float", "float")),
    **dict.fromkeys(("less", "less_equal", "equal"), ("float", "bool")),
    **dict.fromkeys(("and", "or"), ("bool", "bool")),
}


def _broadcast(op: Op, *shapes: Shape) -> Shape:
    """NumPy's rule, from the right; an open length next to a known one other than 1 becomes that one."""
    rank = max(map(len, shapes))
    result: list[int | None] = []
    for lengths in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        others = {length for length in lengths if length != 1}
        known = others - {None}
        if len(known) > 1:
            raise SpecError(f"{op}: shapes {' and '.join(map(str, shapes))} cannot be broadcast together")
        result.append(known.pop() if known else None if others else 1)
    return tuple(result)


@dataclass(frozen=True)
class Binary(Op):
    """``y = function(x, other)``, with NumPy's broadcasting: shapes meet at the right, 1 repeats.

    float, float -> float: add, subtract, multiply, divide, power (x ** other; NaN for a negative x and
    an other that is not whole), maximum, minimum (NaN where either is NaN).
    float, float -> bool: less, less_equal, equal (False where either is NaN). bool, bool -> bool: and, or.
    """

    function: str
    inputs: ClassVar[tuple[str, ...]] = ("x", "other")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"function": tuple(_BINARY)}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        takes, gives = _BINARY[self.function]
        x, other = (checked(self, port, t, kind=takes) for port, t in zip(self.inputs, inputs, strict=True))
        return (Tensor(_broadcast(self, x.shape, other.shape), gives),)


@dataclass(frozen=True)
class Select(Op):
    """``y = x where condition, else other``, with NumPy's broadcasting over all three.

    condition bool; x, other float -> y float. The number not selected has no influence, NaN or not.
    """

    inputs: ClassVar[tuple[str, ...]] = ("condition", "x", "other")

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        kinds: tuple[Kind, ...] = ("bool", "float", "float")
        three = [checked(self, p, t, kind=k) for p, t, k in zip(self.inputs, inputs, kinds, strict=True)]
        return (Tensor(_broadcast(self, *(tensor.shape for tensor in three))),)


@dataclass(frozen=True)
class NotEqual(Op):
    """``y = (x != value)``: the mask of the positions that count.

    x int or float, any shape -> bool, same shape. For an int x, value is a whole number within int32; for
    a float x, value is rounded to its dtype first. True where x is NaN.
    """

    value: float = 0

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], kind=None)
        if x.kind == "bool":
            raise SpecError("NotEqual: input 'x' holds bool; expected int or float")
        if x.kind == "int" and (self.value != int(self.value) or not -(2**31) <= self.value < 2**31):
            raise SpecError(
                f"NotEqual: value is {self.value!r}; expected a whole number within int32, as 'x' holds int"
            )
        return (Tensor(x.shape, "bool"),)


@dataclass(frozen=True)
class Cast(Op):
    """x as float, in the dtype of ``like``: False is 0, True is 1, an int is rounded to the nearest float.

    x int or bool, any shape; like float, any shape -> y float, the shape of x.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "like")

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], kind=None)
        checked(self, "like", inputs[1])
        if x.kind == "float":
            raise SpecError("Cast: input 'x' holds float; expected int or bool")
        return (Tensor(x.shape),)
