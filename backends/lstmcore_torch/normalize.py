"""Normalization in PyTorch. The mean is taken off first: a shift folded into one bias would cancel badly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from lstmcore import ops
from lstmcore.contract import Facts

Weights = Mapping[str, Tensor]


def batch_normalize(op: ops.BatchNormalize, w: Weights, x: Tensor) -> tuple[Tensor]:
    factor = (w["moving_variance"] + op.epsilon).rsqrt()
    if op.scale:
        factor = factor * w["gamma"]
    centered = x - w["moving_mean"]
    return (torch.addcmul(w["beta"], centered, factor) if op.center else centered * factor,)


def last_axes(op: ops.LayerNormalize, facts: Facts) -> bool:
    """axes that are the last ones"""
    rank = len(cast(ops.Tensor, facts.inputs[0]).shape)
    return op.axes == tuple(range(rank - len(op.axes), rank))


def fused_layer_normalize(op: ops.LayerNormalize, w: Weights, x: Tensor) -> tuple[Tensor]:
    lengths = [x.shape[axis] for axis in op.axes]
    return (F.layer_norm(x, lengths, w.get("gamma"), w.get("beta"), op.epsilon),)


def layer_normalize(op: ops.LayerNormalize, w: Weights, x: Tensor) -> tuple[Tensor]:
    variance, mean = torch.var_mean(x, op.axes, correction=0, keepdim=True)
    y = (x - mean) / (variance + op.epsilon).sqrt()
    lengths = [n if axis in op.axes else 1 for axis, n in enumerate(x.shape)]
    if op.scale:
        y = y * w["gamma"].reshape(lengths)
    return (y + w["beta"].reshape(lengths) if op.center else y,)
