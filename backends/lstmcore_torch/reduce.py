"""The ops that take many numbers together, and the causal mask, in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from lstmcore import ops
from lstmcore_torch.linear import same

Weights = Mapping[str, Tensor]

REDUCTIONS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "all": torch.all,
        "any": torch.any,
        "max": torch.amax,
        "mean": torch.mean,
        "min": torch.amin,
        "sum": torch.sum,
    }
)


def reduce(op: ops.Reduce, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (REDUCTIONS[op.function](x, op.axes, keepdim=op.keepdims),)


def total(op: ops.Total, w: Weights, x: Tensor) -> tuple[Tensor]:
    gone = tuple(range(x.ndim - op.kept))
    return (REDUCTIONS[op.function](x, gone) if gone else x,)


def pool(op: ops.Pool, w: Weights, x: Tensor) -> tuple[Tensor]:
    channels_first = x.transpose(1, 2)
    padding = same(x.shape[1], op.size, op.strides) if op.padding == "same" else (0, 0)
    if op.function == "max":
        y = F.max_pool1d(F.pad(channels_first, padding, value=-math.inf), op.size, op.strides)
    else:
        y = F.avg_pool1d(F.pad(channels_first, padding), op.size, op.strides)
        if any(padding):
            # torch divides by the whole window: the share of it that lies inside x puts that right.
            ones = x.new_ones((1, 1, x.shape[1]))
            y = y / F.avg_pool1d(F.pad(ones, padding), op.size, op.strides)
    return (y.transpose(1, 2),)


def causal(op: ops.Causal, w: Weights, x: Tensor) -> tuple[Tensor]:
    square = torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device)
    return (square.tril().expand(x.shape),)
