"""The table of NumPy kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.contract import Backend, Kernel
from lstmcore.ops import Op
from lstmcore_numpy import linear, normalize, pointwise, recurrent, reduce, scan, shape, values

Array = NDArray[Any]


class NumpyBackend(Backend):
    """NumPy, on the CPU."""

    name = "numpy"
    maths = SimpleNamespace(
        sqrt=np.sqrt,
        absolute=np.abs,
        maximum=np.maximum,
        sum=np.sum,
        sum_along=lambda x, axes: np.sum(x, axes, keepdims=True),
        clip=np.clip,
        where=np.where,
    )
    kernels: ClassVar[Mapping[type[Op], tuple[Kernel, ...]]] = MappingProxyType(
        {
            ops.Affine: (Kernel("gemm", linear.affine, pull=linear.pull_affine),),
            ops.Embed: (Kernel("take", linear.embed, pull=linear.pull_embed),),
            ops.Einsum: (Kernel("matmul", linear.einsum, pull=linear.pull_einsum),),
            ops.Conv: (Kernel("gathered windows, gemm", linear.conv, pull=linear.pull_conv),),
            ops.Activate: (Kernel("ufunc", pointwise.activate, pull=pointwise.pull_activate),),
            ops.Unary: (Kernel("ufunc", pointwise.unary, pull=pointwise.pull_unary),),
            ops.Binary: (Kernel("ufunc", pointwise.binary, pull=pointwise.pull_binary),),
            ops.Select: (Kernel("where", pointwise.select, pull=pointwise.pull_select),),
            ops.NotEqual: (Kernel("ufunc", pointwise.not_equal, pull=pointwise.pull_not_equal),),
            ops.Cast: (Kernel("astype", pointwise.cast, pull=pointwise.pull_cast),),
            ops.Constant: (Kernel("array", values.constant, pull=values.pull_constant),),
            ops.Parameter: (Kernel("weight", values.parameter, pull=values.pull_parameter),),
            ops.Zeros: (Kernel("zeros", values.zeros, pull=values.pull_zeros),),
            ops.OneHot: (Kernel("comparison", values.one_hot, pull=values.pull_one_hot),),
            ops.Reshape: (Kernel("view", shape.reshape, pull=shape.pull_reshape),),
            ops.Transpose: (Kernel("view", shape.transpose, pull=shape.pull_transpose),),
            ops.Reverse: (Kernel("view", shape.reverse, pull=shape.pull_reverse),),
            ops.Last: (Kernel("view", shape.last, pull=shape.pull_last),),
            ops.Concat: (Kernel("concatenate", shape.concat, pull=shape.pull_concat),),
            ops.Slice: (Kernel("view", shape.slice_, pull=shape.pull_slice),),
            ops.Pad: (Kernel("copy", shape.pad, pull=shape.pull_pad),),
            ops.Repeat: (Kernel("repeat", shape.repeat, pull=shape.pull_repeat),),
            ops.Fold: (Kernel("view", shape.fold, pull=shape.pull_fold),),
            ops.Unfold: (Kernel("view", shape.unfold, pull=shape.pull_unfold),),
            ops.Reduce: (Kernel("reduction", reduce.reduce, pull=reduce.pull_reduce),),
            ops.Total: (Kernel("reduction", reduce.total, pull=reduce.pull_total),),
            ops.Pool: (Kernel("shifted slices", reduce.pool, pull=reduce.pull_pool),),
            ops.Causal: (Kernel("comparison", reduce.causal, pull=reduce.pull_causal),),
            ops.BatchNormalize: (
                Kernel("one factor a feature", normalize.batch_normalize, pull=normalize.pull_batch_normalize),
            ),
            ops.LayerNormalize: (Kernel("two passes", normalize.layer_normalize, pull=normalize.pull_layer_normalize),),
            ops.Lstm: (Kernel("hoisted", recurrent.lstm, pull=recurrent.pull_lstm),),
            ops.Gru: (Kernel("hoisted", recurrent.gru, pull=recurrent.pull_gru),),
            ops.SimpleRnn: (Kernel("hoisted", recurrent.simple_rnn, pull=recurrent.pull_simple_rnn),),
            ops.Scan: (Kernel("step by step", scan.scan, pull=scan.pull_scan),),
        }
    )

    def tensor(self, array: Array) -> Array:
        return np.asarray(array)

    def numpy(self, tensor: Array) -> Array:
        return np.asarray(tensor)

    def compile(self, function: Callable[..., Any], signature: Any, dtype: str) -> Callable[..., Any]:
        def quiet(*args: Any) -> Any:
            with np.errstate(all="ignore"):  # infinities and NaN pass through, as on every engine
                return function(*args)

        return quiet
