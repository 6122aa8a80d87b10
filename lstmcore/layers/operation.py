"""One operation between layers, such as ``y[:, -1]`` or ``x * 2``: what Keras' functional models hold beside layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from lstmcore import ops
from lstmcore.errors import SpecError, near
from lstmcore.layers import options
from lstmcore.layers.base import Layer
from lstmcore.layers.broadcasting import number, with_axis
from lstmcore.layers.module import Lowered
from lstmcore.layers.options import option, spec
from lstmcore.layers.shapes import ends_mask
from lstmcore.ops import Kind
from lstmcore.program import Builder, Value

Values = Sequence[Value]


@spec
class Operation(Layer):
    """A function of one or several tensors, by name, with its arguments: `FUNCTIONS` has them.

    ::

        Operation("getitem", {"key": [[None, None, None], -1]})(y)  # y[:, -1]
        Operation("multiply", {"other": 2.0})(x)  # x * 2
        Operation("add")([x, y])

    It computes what NumPy's function of that name does; the batch axis stays where it is, and a mask ends.
    """

    input_kind: ClassVar[Kind | None] = None
    takes_several: ClassVar[bool] = True

    function: str = option(options.NAME)
    arguments: Any = option(options.PLAIN, default=None)

    def check(self) -> None:
        if self.function not in FUNCTIONS:
            raise SpecError(f"{self.called()}: unknown function {self.function!r}.{near(self.function, FUNCTIONS)}")
        known = FUNCTIONS[self.function][1]
        if not isinstance(self.arguments or {}, Mapping) or set(self.arguments or {}) - set(known):
            raise SpecError(
                f"{self.called()}: arguments are {self.arguments!r}; {self.function} has {', '.join(known)}"
            )

    def lower(self, build: Builder, x: Any, mask: Any) -> Lowered:
        values = list(x) if isinstance(x, (list, tuple)) else [x]
        for one in mask if isinstance(mask, (list, tuple)) else [mask]:
            ends_mask(build, one)
        function, _ = FUNCTIONS[self.function]
        try:
            made = function(build, values, **(self.arguments or {}))
        except SpecError:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:  # arguments of another kind
            raise SpecError(f"{self.function} of {len(values)} tensors with {self.arguments}: {error}") from None
        return (tuple(made), None) if isinstance(made, list) else ((made,), None)


def _one(values: Values) -> Value:
    if len(values) != 1:
        raise SpecError(f"it takes one tensor, not {len(values)}")
    return values[0]


def _two(build: Builder, values: Values, other: float | None, first: float | None) -> tuple[Value, Value]:
    """Both operands: two tensors of as many axes, or one and a number."""
    numbers = [n for n in (first, other) if n is not None]
    if len(values) + len(numbers) != 2 or not values or not all(type(n) in (int, float) for n in numbers):
        raise SpecError(f"it takes two tensors, or one and a number; given {len(values)} tensors and {numbers}")
    if numbers:
        (x,) = values
        constant = number(build, numbers[0], x)
        return (constant, x) if other is None else (x, constant)
    x, y = values
    if len(x.shape) != len(y.shape):
        raise SpecError(f"shapes {x.shape} and {y.shape} differ in their number of axes; the batch would meet another")
    return x, y


def _binary(function: str, turned: bool = False) -> Callable[..., Value]:
    def lower(build: Builder, values: Values, other: float | None = None, first: float | None = None) -> Value:
        x, y = _two(build, values, other, first)
        return build.op(ops.Binary(function), *((y, x) if turned else (x, y)), name=function)[0]

    return lower


def _unary(function: str) -> Callable[..., Value]:
    return lambda build, values: build.op(ops.Unary(function), _one(values), name=function)[0]


def _axis(x: Value, axis: int, rank: int | None = None) -> int:
    """An axis counted from 0; SpecError for the batch."""
    rank = len(x.shape) if rank is None else rank
    if type(axis) is not int:
        raise SpecError(f"axis is {axis!r}; expected an integer")
    place = axis + rank if axis < 0 else axis
    if not 0 < place < rank:
        raise SpecError(f"axis {axis} of shape {x.shape} is not one of those after the batch")
    return place


def _reduce(function: str) -> Callable[..., Value]:
    def lower(build: Builder, values: Values, axis: Any = None, keepdims: bool = False) -> Value:
        x = _one(values)
        if axis is None:
            raise SpecError(f"{function} over all axes takes the batch too; give axis")
        axes = tuple(_axis(x, one) for one in options.several(axis if isinstance(axis, int) else tuple(axis)))
        return build.op(ops.Reduce(function, axes, bool(keepdims)), x, name=function)[0]

    return lower


def _transpose(build: Builder, values: Values, axes: Sequence[int]) -> Value:
    return build.op(ops.Transpose(tuple(axes)), _one(values), name="transpose")[0]


def _reshape(build: Builder, values: Values, shape: Sequence[int]) -> Value:
    """The shape's first entry is the batch: -1 where the others take all numbers of a sample."""
    x = _one(values)
    (y,) = build.op(ops.Reshape(tuple(shape[1:])), x, name="reshape")
    if shape[0] != -1 and shape[0] != x.shape[0]:
        raise SpecError(f"reshape to {list(shape)} changes the batch axis of {x.shape}")
    if shape[0] == -1 and (-1 in shape[1:] or None in x.shape[1:]):
        raise SpecError(f"reshape to {list(shape)} leaves it open whether samples of shape {x.shape[1:]} stay whole")
    return y


def _expand(build: Builder, values: Values, axis: int) -> Value:
    x = _one(values)
    return with_axis(build, x, _axis(x, axis, len(x.shape) + 1))


def _squeeze(build: Builder, values: Values, axis: Any) -> Value:
    x = _one(values)
    for place in sorted((_axis(x, one) for one in options.several(axis)), reverse=True):
        if x.shape[place] != 1:
            raise SpecError(f"axis {place} of shape {x.shape} has not length 1 and cannot be left out")
        x = _without(build, x, place)
    return x


def _without(build: Builder, x: Value, place: int) -> Value:
    """x without an axis of length 1."""
    function = "any" if x.kind == "bool" else "max"
    return build.op(ops.Reduce(function, (place,)), x, name="squeeze")[0]


def _concatenate(build: Builder, values: Values, axis: int = 0) -> Value:
    return build.op(ops.Concat(_axis(values[0], axis), len(values)), *values, name="concatenate")[0]


def _stack(build: Builder, values: Values, axis: int = 0) -> Value:
    place = _axis(values[0], axis, len(values[0].shape) + 1)
    return build.op(ops.Concat(place, len(values)), *(with_axis(build, x, place) for x in values), name="stack")[0]


def _split(build: Builder, values: Values, sections: int, axis: int = 0) -> list[Value]:
    x = _one(values)
    place = _axis(x, axis)
    length = x.shape[place]
    if length is None or type(sections) is not int or sections < 1 or length % sections:
        raise SpecError(f"axis {axis} of shape {x.shape} is not cut into {sections} equal parts")
    step = length // sections
    return [build.op(ops.Slice(place, k, k + step), x, name="split")[0] for k in range(0, length, step)]


def _getitem(build: Builder, values: Values, key: Sequence[Any]) -> Value:
    """``x[key]``: for each axis [start, stop, step] or a number, or ``"..."``; "new" stands for a new axis."""
    x = _one(values)
    entries = list(key)
    if "..." in entries:
        k = entries.index("...")
        missing = len(x.shape) - sum(entry != "new" for entry in entries) + 1
        entries[k : k + 1] = [[None, None, None]] * missing
    place = 0
    for entry in entries:
        x, place = _item(build, x, place, entry)
    return x


def _item(build: Builder, x: Value, place: int, entry: Any) -> tuple[Value, int]:
    """x with one entry of a key applied to an axis; the axis of the next."""
    if entry in ([None, None, None], [None, None, 1]):
        return x, place + 1
    if place == 0:
        raise SpecError(f"a key begins with {entry!r}; the samples of a batch are taken all")
    if entry == "new":
        return with_axis(build, x, place), place + 1
    if isinstance(entry, list):
        start, stop, step = entry
        if step == -1 and start is None and stop is None and place == 1:
            return build.op(ops.Reverse(), x, name="reverse")[0], place + 1
        if step not in (None, 1):
            raise SpecError(f"a key has the step {step}; lstmcore takes all entries between two")
        return build.op(ops.Slice(place, start or 0, stop), x, name="part")[0], place + 1
    if entry == -1 and place == 1:
        return build.op(ops.Last(), x, name="last")[0], place
    (one,) = build.op(ops.Slice(place, entry, None if entry == -1 else entry + 1), x, name="part")
    return _without(build, one, place), place


def _matmul(build: Builder, values: Values) -> Value:
    x, y = _two(build, values, None, None)
    if len(x.shape) != 3:
        raise SpecError(f"matmul of shapes {x.shape} and {y.shape}; expected (batch, a, b) and (batch, b, c)")
    return build.op(ops.Einsum("nab,nbc->nac"), x, y, name="matmul")[0]


def _clip(build: Builder, values: Values, low: float, high: float) -> Value:
    x = _one(values)
    (x,) = build.op(ops.Binary("maximum"), x, number(build, low, x), name="at_least")
    return build.op(ops.Binary("minimum"), x, number(build, high, x), name="at_most")[0]


def _where(build: Builder, values: Values) -> Value:
    if len(values) != 3 or values[0].kind != "bool":
        raise SpecError("where takes a condition and two tensors")
    return build.op(ops.Select(), *values, name="where")[0]


def _flip(build: Builder, values: Values, axis: Any) -> Value:
    if options.several(axis) != (1,):
        raise SpecError(f"flip turns axis 1 round, not {axis}")
    return build.op(ops.Reverse(), _one(values), name="reverse")[0]


def _repeat(build: Builder, values: Values, repeats: int, axis: int) -> Value:
    x = _one(values)
    return build.op(ops.Repeat(_axis(x, axis), repeats), x, name="repeat")[0]


_OPERANDS = ("other", "first")

FUNCTIONS: Mapping[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    **{
        name: (_binary(name), _OPERANDS)
        for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "less", "less_equal")
    },
    "equal": (_binary("equal"), _OPERANDS),
    "greater": (_binary("less", turned=True), _OPERANDS),
    "greater_equal": (_binary("less_equal", turned=True), _OPERANDS),
    **{
        name: (_unary(name), ())
        for name in ("abs", "cos", "exp", "log", "negative", "reciprocal", "rsqrt", "sin", "sqrt", "square")
    },
    **{name: (_reduce(name), ("axis", "keepdims")) for name in ("sum", "mean", "max", "min")},
    "transpose": (_transpose, ("axes",)),
    "reshape": (_reshape, ("shape",)),
    "expand_dims": (_expand, ("axis",)),
    "squeeze": (_squeeze, ("axis",)),
    "concatenate": (_concatenate, ("axis",)),
    "stack": (_stack, ("axis",)),
    "split": (_split, ("sections", "axis")),
    "getitem": (_getitem, ("key",)),
    "matmul": (_matmul, ()),
    "clip": (_clip, ("low", "high")),
    "where": (_where, ()),
    "flip": (_flip, ("axis",)),
    "repeat": (_repeat, ("repeats", "axis")),
}
"""Name -> how it lowers, and its arguments. Of two operands one may be a number: ``other``, or the ``first``."""
