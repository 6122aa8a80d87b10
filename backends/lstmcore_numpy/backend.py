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
from lstmcore_numpy import recurrent
from lstmcore_numpy.functions import apply

Array = NDArray[Any]
Weights = Mapping[str, Array]


def affine(op: ops.Affine, w: Weights, x: Array) -> tuple[Array]:
    # One GEMM over all leading axes: matmul would do one per batch entry.
    y = x.reshape(-1, x.shape[-1]) @ w["kernel"]
    if op.use_bias:
        y += w["bias"]
    return (y.reshape(*x.shape[:-1], op.units),)


def activate(op: ops.Activate, w: Weights, x: Array) -> tuple[Array]:
    return (apply(op.function, x),)


def embed(op: ops.Embed, w: Weights, ids: Array) -> tuple[Array]:
    return (w["embeddings"][ids],)


def not_equal(op: ops.NotEqual, w: Weights, x: Array) -> tuple[Array]:
    return (x != op.value,)


def reshape(op: ops.Reshape, w: Weights, x: Array) -> tuple[Array]:
    return (x.reshape(x.shape[0], *op.shape),)


def transpose(op: ops.Transpose, w: Weights, x: Array) -> tuple[Array]:
    return (x.transpose(op.axes),)


def reverse(op: ops.Reverse, w: Weights, x: Array) -> tuple[Array]:
    return (x[:, ::-1],)


def last(op: ops.Last, w: Weights, x: Array) -> tuple[Array]:
    return (x[:, -1],)


class NumpyBackend(Backend):
    """NumPy, on the CPU."""

    name = "numpy"
    kernels: ClassVar[Mapping[type[Op], tuple[Kernel, ...]]] = MappingProxyType(
        {
            ops.Affine: (Kernel("gemm", affine),),
            ops.Activate: (Kernel("ufunc", activate),),
            ops.Embed: (Kernel("take", embed),),
            ops.NotEqual: (Kernel("ufunc", not_equal),),
            ops.Reshape: (Kernel("view", reshape),),
            ops.Transpose: (Kernel("view", transpose),),
            ops.Reverse: (Kernel("view", reverse),),
            ops.Last: (Kernel("view", last),),
            ops.Lstm: (Kernel("hoisted", recurrent.lstm),),
            ops.Gru: (Kernel("hoisted", recurrent.gru),),
            ops.SimpleRnn: (Kernel("hoisted", recurrent.simple_rnn),),
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
