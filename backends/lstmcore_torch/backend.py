"""The table of PyTorch kernels, and the way in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lstmcore import ops
from lstmcore.contract import Backend, Kernel
from lstmcore.ops import Op
from lstmcore.program import Program
from lstmcore_torch import recurrent
from lstmcore_torch.functions import apply

Weights = Mapping[str, Tensor]


def affine(op: ops.Affine, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (torch.nn.functional.linear(x, w["kernel"].t(), w.get("bias")),)


def activate(op: ops.Activate, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (apply(op.function, x),)


def embed(op: ops.Embed, w: Weights, ids: Tensor) -> tuple[Tensor]:
    return (torch.nn.functional.embedding(ids, w["embeddings"]),)


def not_equal(op: ops.NotEqual, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x != op.value,)


def reshape(op: ops.Reshape, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x.reshape(x.shape[0], *op.shape),)


def transpose(op: ops.Transpose, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x.permute(op.axes),)


def reverse(op: ops.Reverse, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x.flip(1),)


def last(op: ops.Last, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x[:, -1],)


class TorchBackend(Backend):
    """PyTorch, on the CPU or a CUDA device."""

    name = "torch"
    kernels: ClassVar[Mapping[type[Op], tuple[Kernel, ...]]] = MappingProxyType(
        {
            ops.Affine: (Kernel("linear", affine),),
            ops.Activate: (Kernel("pointwise", activate),),
            ops.Embed: (Kernel("embedding", embed),),
            ops.NotEqual: (Kernel("pointwise", not_equal),),
            ops.Reshape: (Kernel("view", reshape),),
            ops.Transpose: (Kernel("view", transpose),),
            ops.Reverse: (Kernel("flip", reverse),),
            ops.Last: (Kernel("view", last),),
            ops.Lstm: (
                Kernel("fused", recurrent.fused_lstm, recurrent.standard_lstm),
                Kernel("loop", recurrent.loop_lstm),
            ),
            ops.Gru: (
                Kernel("fused", recurrent.fused_gru, recurrent.standard_gru),
                Kernel("loop", recurrent.loop_gru),
            ),
            ops.SimpleRnn: (
                Kernel("fused", recurrent.fused_rnn, recurrent.standard_rnn),
                Kernel("loop", recurrent.loop_rnn),
            ),
        }
    )

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        return (*(f"cuda:{k}" for k in range(torch.cuda.device_count())), "cpu")

    def tensor(self, array: np.ndarray[Any, Any]) -> Tensor:
        shareable = array if array.flags.writeable and all(s >= 0 for s in array.strides) else array.copy()
        return torch.from_numpy(shareable).to(self.device)

    def numpy(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        return tensor.detach().cpu().numpy()

    def compile(self, function: Callable[..., Any], program: Program, dtype: str) -> Callable[..., Any]:
        def without_gradients(*args: Any) -> Any:
            # cuDNN's recurrent kernels use TF32 unless told otherwise; float32 means float32 here.
            with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                return function(*args)

        return without_gradients
