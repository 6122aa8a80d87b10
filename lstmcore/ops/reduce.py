"""Many numbers to fewer: Reduce, Total, Pool; and the mask Causal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lstmcore.errors import SpecError
from lstmcore.ops.base import Op, Tensor, checked, existing_axis
from lstmcore.ops.windows import windows


@dataclass(frozen=True)
class Reduce(Op):
    """The sum, mean, max, min (of float; NaN where one is NaN), any, all (of bool) over ``axes``.

    Axes are counted from 0; 0, the batch, is never among them. They vanish, or with ``keepdims`` keep length 1.
    """

    function: str
    axes: tuple[int, ...]
    keepdims: bool = False
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"function": ("sum", "mean", "max", "min", "any", "all")}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse_batch("axes", *self.axes)

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], kind="bool" if self.function in ("any", "all") else "float")
        gone = {existing_axis(self, "x", x.shape, axis) for axis in self.axes}
        kept = enumerate(x.shape)
        shape = tuple(1 if k in gone else n for k, n in kept if self.keepdims or k not in gone)
        return (Tensor(shape, x.kind),)


@dataclass(frozen=True)
class Total(Op):
    """The sum, or the mean, of all numbers of x, over the batch too: x float, any shape -> ().

    The last ``kept`` axes stay: with 1, x (B, T, C) -> (C,), one number for each feature.
    """

    function: str = "sum"
    kept: int = 0
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"function": ("sum", "mean")}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0])
        if self.kept > len(x.shape):
            raise SpecError(f"{self}: input 'x' has shape {x.shape}, and so no {self.kept} axes to keep")
        return (Tensor(x.shape[len(x.shape) - self.kept :]),)


@dataclass(frozen=True)
class Pool(Op):
    """The max or mean over windows along time: ``y[b, t, c] = function_k x[b, t strides + k - left, c]``.

    k runs over [0, size). x (B, T, C) -> (B, T', C), T' and left as `Conv` has them with dilation 1. What lies
    outside [0, T) does not count: max leaves it out, and mean divides by the number of steps inside (TensorFlow,
    measured). A NaN makes the windows that it lies in NaN.
    """

    function: str
    size: int
    strides: int
    padding: str
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"function": ("max", "mean"), "padding": ("valid", "same")}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        batch, time, channels = checked(self, "x", inputs[0], "batch, time, channels").shape
        steps = None if time is None else windows(time, self.size, self.strides, 1, self.padding).steps
        if steps is not None and steps < 1:
            raise SpecError(f"{self}: input 'x' has {time} steps; expected at least the window's size, {self.size}")
        return (Tensor((batch, steps, channels)),)


@dataclass(frozen=True)
class Causal(Op):
    """The mask that hides the future: ``y[..., q, k] = (k <= q)``. x float (..., Q, K) -> bool, same shape.

    Only the shape of x matters.
    """

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        return (Tensor(checked(self, "x", inputs[0], "..., queries, keys").shape, "bool"),)
