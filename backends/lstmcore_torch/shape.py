"""The ops that only move numbers, in PyTorch; views where it has them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from lstmcore import ops

Weights = Mapping[str, Tensor]


def reshape(op: ops.Reshape, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x.reshape(x.shape[0], *op.shape),)


def transpose(op: ops.Transpose, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x.permute(op.axes),)


def reverse(op: ops.Reverse, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x.flip(1),)


def last(op: ops.Last, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x[:, -1],)


def concat(op: ops.Concat, w: Weights, *parts: Tensor) -> tuple[Tensor]:
    return (torch.cat(parts, op.axis),)


def cut(op: ops.Slice, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x[(slice(None),) * op.axis + (slice(op.start, op.stop),)],)


def pad(op: ops.Pad, w: Weights, x: Tensor) -> tuple[Tensor]:
    after_it = x.dim() - 1 - op.axis
    return (F.pad(x, (0, 0) * after_it + (op.before, op.after)),)


def repeat(op: ops.Repeat, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x.repeat_interleave(op.times, op.axis),)


def fold(op: ops.Fold, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x.flatten(0, 1),)


def unfold(op: ops.Unfold, w: Weights, x: Tensor, like: Tensor) -> tuple[Tensor]:
    return (x.reshape(*like.shape[:2], *x.shape[1:]),)
