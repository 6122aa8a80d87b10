"""The table of PyTorch kernels, and the way in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lstmcore import ops
from lstmcore.contract import Backend, Choice, Kernel
from lstmcore.ops import Op
from lstmcore.program import Program, interpret
from lstmcore_torch import fused, linear, normalize, pointwise, recurrent, reduce, shape, trained, values


class TorchBackend(Backend):
    """PyTorch, on the CPU or a CUDA device."""

    name = "torch"
    maths = SimpleNamespace(
        sqrt=torch.sqrt,
        absolute=torch.abs,
        maximum=torch.maximum,
        sum=torch.sum,
        sum_along=lambda x, axes: torch.sum(x, axes, keepdim=True),
        clip=torch.clamp,
        where=torch.where,
    )
    kernels: ClassVar[Mapping[type[Op], tuple[Kernel, ...]]] = MappingProxyType(
        {
            ops.Affine: (Kernel("linear", linear.affine),),
            ops.Embed: (Kernel("embedding", linear.embed),),
            ops.Einsum: (Kernel("einsum", linear.einsum),),
            ops.Conv: (Kernel("conv1d", linear.conv),),
            ops.Activate: (Kernel("pointwise", pointwise.activate),),
            ops.Unary: (Kernel("pointwise", pointwise.unary),),
            ops.Binary: (Kernel("pointwise", pointwise.binary),),
            ops.Select: (Kernel("where", pointwise.select),),
            ops.NotEqual: (Kernel("pointwise", pointwise.not_equal),),
            ops.Cast: (Kernel("to", pointwise.cast),),
            ops.Constant: (Kernel("tensor", values.constant),),
            ops.Parameter: (Kernel("itself", values.parameter),),
            ops.Zeros: (Kernel("new_zeros", values.zeros),),
            ops.OneHot: (Kernel("scatter", values.one_hot),),
            ops.Reshape: (Kernel("view", shape.reshape),),
            ops.Transpose: (Kernel("view", shape.transpose),),
            ops.Reverse: (Kernel("flip", shape.reverse),),
            ops.Last: (Kernel("view", shape.last),),
            ops.Concat: (Kernel("cat", shape.concat),),
            ops.Slice: (Kernel("view", shape.cut),),
            ops.Pad: (Kernel("pad", shape.pad),),
            ops.Repeat: (Kernel("repeat_interleave", shape.repeat),),
            ops.Fold: (Kernel("view", shape.fold),),
            ops.Unfold: (Kernel("view", shape.unfold),),
            ops.Reduce: (Kernel("reduction", reduce.reduce),),
            ops.Total: (Kernel("reduction", reduce.total),),
            ops.Pool: (Kernel("pool1d", reduce.pool),),
            ops.Causal: (Kernel("tril", reduce.causal),),
            ops.BatchNormalize: (Kernel("addcmul", normalize.batch_normalize),),
            ops.LayerNormalize: (
                Kernel("layer_norm", normalize.fused_layer_normalize, normalize.last_axes),
                Kernel("var_mean", normalize.layer_normalize),
            ),
            ops.Lstm: (
                Kernel("fused", fused.fused, fused.standard_lstm),
                Kernel("packed", fused.packed, fused.masked_lstm),
                Kernel("loop with its backward", trained.lstm, trained.in_training),
                Kernel("loop", recurrent.lstm),
            ),
            ops.Gru: (
                Kernel("loop with its backward", trained.gru, trained.gru_in_training),
                Kernel("fused", fused.fused, fused.standard_gru),
                Kernel("packed", fused.packed, fused.masked_gru),
                Kernel("loop", recurrent.gru),
            ),
            ops.SimpleRnn: (
                Kernel("fused", fused.fused, fused.standard_rnn),
                Kernel("packed", fused.packed, fused.masked_rnn),
                Kernel("loop", recurrent.simple_rnn),
            ),
            ops.Scan: (Kernel("loop", recurrent.scan),),
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

    def compile(self, function: Callable[..., Any], signature: Any, dtype: str) -> Callable[..., Any]:
        def without_gradients(*args: Any) -> Any:
            # cuDNN's recurrent kernels use TF32 unless told otherwise; float32 means float32 here.
            with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                return function(*args)

        return without_gradients

    def differentiate(
        self, program: Program, choices: tuple[Choice, ...], loss: str, wrt: Sequence[str]
    ) -> Callable[..., Any]:
        runs = tuple(choice.run for choice in choices)
        _keep_freed_memory()

        def function(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> tuple[Any, Any, Any]:
            leaves = {name: weights[name].detach().requires_grad_() for name in wrt}
            with torch.enable_grad():
                outputs, carries = interpret(program, runs, {**weights, **leaves}, values)
            found: Sequence[Tensor | None] = [None] * len(leaves)
            if outputs[loss].requires_grad:  # it depends on some weight
                found = torch.autograd.grad(outputs[loss], list(leaves.values()), allow_unused=True)
            # The fused kernels give theirs transposed, on which an optimizer takes twice as long.
            gradients = {
                name: torch.zeros_like(leaf) if gradient is None else gradient.contiguous()
                for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
            }
            return _detached(outputs), _detached(carries), gradients

        return function


def _keep_freed_memory() -> None:
    """Lets the process keep what it frees, for the next step.

    glibc gives it back where it is more than twice the largest piece ever freed (mallopt(3), M_MMAP_THRESHOLD), and
    a step then begins with 2,300 page faults, a quarter of its time (measured). Elsewhere this does nothing.
    """
    np.empty(31 << 20, np.uint8)


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}
