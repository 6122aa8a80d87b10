"""Products with weights and with each other in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from lstmcore import ops

Weights = Mapping[str, Tensor]


def affine(op: ops.Affine, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (F.linear(x, w["kernel"].t(), w.get("bias")),)


def embed(op: ops.Embed, w: Weights, ids: Tensor) -> tuple[Tensor]:
    return (F.embedding(ids, w["embeddings"]),)


def einsum(op: ops.Einsum, w: Weights, x: Tensor, other: Tensor) -> tuple[Tensor]:
    return (torch.einsum(op.equation, x, other),)


def same(steps: int, size: int, strides: int) -> tuple[int, int]:
    """The padding before and after ``steps`` that makes ceil(steps / strides) windows of ``size``."""
    total = max((-(-steps // strides) - 1) * strides + size - steps, 0)
    return total // 2, total - total // 2


def conv(op: ops.Conv, w: Weights, x: Tensor) -> tuple[Tensor]:
    channels_first = x.transpose(1, 2)
    reach = op.dilation * (op.size - 1)
    if op.padding == "causal":
        channels_first = F.pad(channels_first, (reach, 0))
    elif op.padding == "same":
        channels_first = F.pad(channels_first, same(x.shape[1], reach + 1, op.strides))
    kernel = w["kernel"].permute(2, 1, 0)
    y = F.conv1d(channels_first, kernel, w.get("bias"), op.strides, 0, op.dilation, op.groups)
    return (y.transpose(1, 2),)
