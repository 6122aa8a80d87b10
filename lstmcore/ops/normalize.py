"""BatchNormalize and LayerNormalize."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lstmcore.ops.base import Op, Tensor, checked, existing_axis, known_length


@dataclass(frozen=True)
class BatchNormalize(Op):
    """Normalization over the last axis with statistics gathered before (Ioffe & Szegedy 2015).

    ``y = (x - moving_mean) / √(moving_variance + epsilon) ⊙ gamma + beta``

    x (B, ..., C) -> the same shape; gamma (with ``scale``), beta (with ``center``), moving_mean,
    moving_variance (C,).
    """

    epsilon: float = 0.001
    center: bool = True
    scale: bool = True
    weights: ClassVar[Mapping[str, str]] = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), "feature")

    def sizes(self, *inputs: Tensor | None) -> dict[str, int]:
        x = checked(self, "x", inputs[0], "batch, ..., features")
        return {"feature": known_length(self, "x", x.shape)}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        self.sizes(*inputs)
        return (Tensor(checked(self, "x", inputs[0]).shape),)


@dataclass(frozen=True)
class LayerNormalize(Op):
    """Normalization of each example over ``axes`` (Ba, Kiros & Hinton 2016).

    ``y = (x - mean) / √(variance + epsilon) ⊙ gamma + beta``

    with mean and variance of x over the axes; the variance divides by the number of entries. Axes are counted
    from 0, ascending, never 0. x (B, ...) -> the same shape; gamma (with ``scale``), beta (with ``center``)
    have the lengths of the axes, in order.
    """

    axes: tuple[int, ...]
    epsilon: float = 0.001
    center: bool = True
    scale: bool = True
    weights: ClassVar[Mapping[str, str]] = {"gamma": "the axes, in order", "beta": "the axes, in order"}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse_batch("axes", *self.axes)
        if list(self.axes) != sorted(self.axes):
            raise self.refusal(f"axes is {self.axes}; expected them in ascending order, {tuple(sorted(self.axes))}")

    def inventory(self, *inputs: Tensor | None) -> dict[str, tuple[int, ...]]:
        shape = checked(self, "x", inputs[0]).shape
        for axis in self.axes:
            existing_axis(self, "x", shape, axis)
        return {port: tuple(known_length(self, "x", shape, axis) for axis in self.axes) for port in self.ports()}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        self.inventory(*inputs)
        return (Tensor(checked(self, "x", inputs[0]).shape),)
