"""Values from nowhere: Constant, Parameter, Zeros; and from ids: OneHot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lstmcore.ops.base import Op, Tensor, checked, product


def _check_shape(op: Constant | Parameter | Zeros) -> None:
    if any(n < 1 for n in op.shape):
        raise op.refusal(f"shape is {op.shape}; expected positive lengths")


@dataclass(frozen=True)
class Constant(Op):
    """The literal numbers, in row-major order, of exactly this shape: no batch axis, () for a scalar.

    like float, any shape, gives the dtype and the device. In float64 they are exact.
    """

    values: tuple[float, ...]
    shape: tuple[int, ...]
    inputs: ClassVar[tuple[str, ...]] = ("like",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shape(self)
        if len(self.values) != product(self.shape):
            raise self.refusal(f"{len(self.values)} values; expected {product(self.shape)}, which fill {self.shape}")

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        checked(self, "like", inputs[0])
        return (Tensor(self.shape),)


@dataclass(frozen=True)
class Parameter(Op):
    """The weight ``value`` itself, of exactly this shape: no batch axis, () for a scalar."""

    shape: tuple[int, ...]
    inputs: ClassVar[tuple[str, ...]] = ()
    weights: ClassVar[Mapping[str, str]] = {"value": "as the option shape says"}

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shape(self)

    def inventory(self, *inputs: Tensor | None) -> dict[str, tuple[int, ...]]:
        return {"value": self.shape}

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        return (Tensor(self.shape),)


@dataclass(frozen=True)
class Zeros(Op):
    """Zeros: like float (B, ...) -> (B, *shape), in its dtype, on its device."""

    shape: tuple[int, ...]
    inputs: ClassVar[tuple[str, ...]] = ("like",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shape(self)

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        like = checked(self, "like", inputs[0], "batch, ...")
        return (Tensor((like.shape[0], *self.shape)),)


@dataclass(frozen=True)
class OneHot(Op):
    """``y[..., k] = 1 where x[...] = k, else 0``, k over [0, depth). x int (...) -> float (..., depth).

    An id outside [0, depth) gives zeros alone. like float, any shape, gives the dtype and the device.
    """

    depth: int
    inputs: ClassVar[tuple[str, ...]] = ("x", "like")

    def infer(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = checked(self, "x", inputs[0], kind="int")
        checked(self, "like", inputs[1])
        return (Tensor((*x.shape, self.depth)),)
