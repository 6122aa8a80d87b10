"""The pointwise ops in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from lstmcore import ops
from lstmcore_torch.functions import apply

Weights = Mapping[str, Tensor]

UNARY: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "abs": torch.abs,
        "cos": torch.cos,
        "exp": torch.exp,
        "log": torch.log,
        "negative": torch.neg,
        "not": torch.logical_not,
        "reciprocal": torch.reciprocal,
        "rsqrt": torch.rsqrt,
        "sin": torch.sin,
        "sqrt": torch.sqrt,
        "square": torch.square,
    }
)
BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "add": torch.add,
        "and": torch.logical_and,
        "divide": torch.div,
        "equal": torch.eq,
        "less": torch.lt,
        "less_equal": torch.le,
        "maximum": torch.maximum,
        "minimum": torch.minimum,
        "multiply": torch.mul,
        "or": torch.logical_or,
        "power": torch.pow,
        "subtract": torch.sub,
    }
)


def activate(op: ops.Activate, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (apply(op.function, x),)


def unary(op: ops.Unary, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (UNARY[op.function](x),)


def binary(op: ops.Binary, w: Weights, x: Tensor, other: Tensor) -> tuple[Tensor]:
    return (BINARY[op.function](x, other),)


def select(op: ops.Select, w: Weights, condition: Tensor, x: Tensor, other: Tensor) -> tuple[Tensor]:
    return (torch.where(condition, x, other),)


def not_equal(op: ops.NotEqual, w: Weights, x: Tensor) -> tuple[Tensor]:
    # Integers beside a float would be compared in float32.
    return (x != (op.value if x.is_floating_point() else int(op.value)),)


def cast(op: ops.Cast, w: Weights, x: Tensor, like: Tensor) -> tuple[Tensor]:
    return (x.to(like.dtype),)
