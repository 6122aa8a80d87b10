"""Axes of length 1, numbers and masks, so that tensors of different ranks go together."""

from __future__ import annotations

from typing import cast

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.program import Builder, Value


def with_axis(build: Builder, x: Value, axis: int) -> Value:
    """x with one more axis, of length 1, which becomes axis ``axis`` (never the batch); any lengths may be open."""
    rest = x.shape[1:]
    if rest.count(None) > 1:
        return _with_axis_folded(build, x, axis)
    lengths = tuple(-1 if n is None else n for n in rest)
    return build.op(ops.Reshape((*lengths[: axis - 1], 1, *lengths[axis - 1 :])), x, name="axis")[0]


def _with_axis_folded(build: Builder, x: Value, axis: int) -> Value:
    """The same where a Reshape, which takes one open length, does not do."""
    rank = len(x.shape)
    if axis == 1:
        order = (0, 2, 1, *range(3, rank + 1))
        return build.op(ops.Transpose(order), with_axis(build, x, 2), name="axis")[0]
    (rows,) = build.op(ops.Fold(), x, name="rows")
    return build.op(ops.Unfold(), with_axis(build, rows, axis - 1), x, name="axis")[0]


def number(build: Builder, value: float, like: Value) -> Value:
    """A number as a value."""
    return build.op(ops.Constant((float(value),), ()), like, name="number")[0]


def over_features(build: Builder, mask: Value, x: Value) -> Value:
    """A mask over all axes of x but the last, with a last axis of length 1."""
    if len(mask.shape) != len(x.shape) - 1:
        raise SpecError(
            f"a mask of shape {mask.shape} reaches an input of shape {x.shape}; expected one of all axes but the last"
        )
    return with_axis(build, mask, len(mask.shape))


def combined(build: Builder, function: str, masks: list[Value]) -> Value:
    """The masks joined by ``and`` or ``or``, with broadcasting."""
    result, *others = masks
    for mask in others:
        (result,) = build.op(ops.Binary(function), result, mask, name=function)
    return result


def listed(x: object, names: str) -> list[Value]:
    """The inputs of a layer that is called on a list of them; SpecError where it was not."""
    if not isinstance(x, (list, tuple)) or not x or not all(isinstance(entry, Value) for entry in x):
        given = f"one tensor of shape {x.shape}" if isinstance(x, Value) else f"{x!r}"
        raise SpecError(f"it was called on {given}; expected a list, {names}")
    return cast("list[Value]", list(x))
