"""The table of NumPy kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.contract import Backend, Kernel
from lstmcore.ops import Op
from lstmcore.program import Program
from lstmcore_numpy import linear, normalize, pointwise, recurrent, reduce, shape, values

Array = NDArray[Any]


class NumpyBackend(Backend):
    """NumPy, on the CPU."""

    name = "numpy"
    kernels: ClassVar[Mapping[type[Op], tuple[Kernel, ...]]] = MappingProxyType(
        {
            ops.Affine: (Kernel("gemm", linear.affine),),
            ops.Embed: (Kernel("take", linear.embed),),
            ops.Einsum: (Kernel("matmul", linear.einsum),),
            ops.Conv: (Kernel("gathered windows, gemm", linear.conv),),
            ops.Activate: (Kernel("ufunc", pointwise.activate),),
            ops.Unary: (Kernel("ufunc", pointwise.unary),),
            ops.Binary: (Kernel("ufunc", pointwise.binary),),
            ops.Select: (Kernel("where", pointwise.select),),
            ops.NotEqual: (Kernel("ufunc", pointwise.not_equal),),
            ops.Cast: (Kernel("astype", pointwise.cast),),
            ops.Constant: (Kernel("array", values.constant),),
            ops.Parameter: (Kernel("weight", values.parameter),),
            ops.Zeros: (Kernel("zeros", values.zeros),),
            ops.Reshape: (Kernel("view", shape.reshape),),
            ops.Transpose: (Kernel("view", shape.transpose),),
            ops.Reverse: (Kernel("view", shape.reverse),),
            ops.Last: (Kernel("view", shape.last),),
            ops.Concat: (Kernel("concatenate", shape.concat),),
            ops.Slice: (Kernel("view", shape.slice_),),
            ops.Pad: (Kernel("copy", shape.pad),),
            ops.Repeat: (Kernel("repeat", shape.repeat),),
            ops.Fold: (Kernel("view", shape.fold),),
            ops.Unfold: (Kernel("view", shape.unfold),),
            ops.Reduce: (Kernel("reduction", reduce.reduce),),
            ops.Pool: (Kernel("shifted slices", reduce.pool),),
            ops.Causal: (Kernel("comparison", reduce.causal),),
            ops.BatchNormalize: (Kernel("one factor a feature", normalize.batch_normalize),),
            ops.LayerNormalize: (Kernel("two passes", normalize.layer_normalize),),
            ops.Lstm: (Kernel("hoisted", recurrent.lstm),),
            ops.Gru: (Kernel("hoisted", recurrent.gru),),
            ops.SimpleRnn: (Kernel("hoisted", recurrent.simple_rnn),),
            ops.Scan: (Kernel("step by step", recurrent.scan),),
        }
    )

    def tensor(self, array: Array) -> Array:
        return np.asarray(array)

    def numpy(self, tensor: Array) -> Array:
        return np.asarray(tensor)

    def compile(self, function: Callable[..., Any], program: Program, dtype: str) -> Callable[..., Any]:
        def quiet(*args: Any) -> Any:
            with np.errstate(all="ignore"):  # infinities and NaN pass through, as on every engine
                return function(*args)

        return quiet
