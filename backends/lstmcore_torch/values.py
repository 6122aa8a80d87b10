"""Values that come from no input, in PyTorch; each is made where its model lives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lstmcore import ops

Weights = Mapping[str, Tensor]


def constant(op: ops.Constant, w: Weights, like: Tensor) -> tuple[Tensor]:
    return (torch.tensor(op.values, dtype=like.dtype, device=like.device).reshape(op.shape),)


def parameter(op: ops.Parameter, w: Weights) -> tuple[Tensor]:
    return (w["value"],)


def zeros(op: ops.Zeros, w: Weights, like: Tensor) -> tuple[Tensor]:
    return (like.new_zeros((like.shape[0], *op.shape)),)


def one_hot(op: ops.OneHot, w: Weights, x: Tensor, like: Tensor) -> tuple[Tensor]:
    # Ids outside go to one more column, which is cut off: F.one_hot refuses them.
    inside = torch.where((x >= 0) & (x < op.depth), x, op.depth).long()
    y = like.new_zeros((*x.shape, op.depth + 1))
    return (y.scatter_(-1, inside[..., None], 1)[..., : op.depth],)
