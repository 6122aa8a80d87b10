"""The table of TensorFlow kernels, and the way in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from lstmcore import ops
from lstmcore.contract import Backend, Kernel
from lstmcore.ops import Op
from lstmcore.program import Program
from lstmcore_tensorflow import recurrent
from lstmcore_tensorflow.functions import apply

Tensor = Any
Weights = Mapping[str, Tensor]


def affine(op: ops.Affine, w: Weights, x: Tensor) -> tuple[Tensor]:
    y = tf.tensordot(x, w["kernel"], 1)
    return (y + w["bias"] if op.use_bias else y,)


def activate(op: ops.Activate, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (apply(op.function, x),)


def embed(op: ops.Embed, w: Weights, ids: Tensor) -> tuple[Tensor]:
    return (tf.gather(w["embeddings"], ids),)


def not_equal(op: ops.NotEqual, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (tf.not_equal(x, op.value),)


def reshape(op: ops.Reshape, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (tf.reshape(x, (tf.shape(x)[0], *op.shape)),)


def transpose(op: ops.Transpose, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (tf.transpose(x, op.axes),)


def reverse(op: ops.Reverse, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (tf.reverse(x, (1,)),)


def last(op: ops.Last, w: Weights, x: Tensor) -> tuple[Tensor]:
    return (x[:, -1],)


class TensorflowBackend(Backend):
    """TensorFlow, on the CPU or a GPU."""

    name = "tensorflow"
    kernels: ClassVar[Mapping[type[Op], tuple[Kernel, ...]]] = MappingProxyType(
        {
            ops.Affine: (Kernel("tensordot", affine),),
            ops.Activate: (Kernel("pointwise", activate),),
            ops.Embed: (Kernel("gather", embed),),
            ops.NotEqual: (Kernel("pointwise", not_equal),),
            ops.Reshape: (Kernel("reshape", reshape),),
            ops.Transpose: (Kernel("transpose", transpose),),
            ops.Reverse: (Kernel("reverse", reverse),),
            ops.Last: (Kernel("slice", last),),
            ops.Lstm: (Kernel("while", recurrent.lstm),),
            ops.Gru: (Kernel("while", recurrent.gru),),
            ops.SimpleRnn: (Kernel("while", recurrent.simple_rnn),),
        }
    )

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        return (*(f"gpu:{k}" for k in range(len(tf.config.list_logical_devices("GPU")))), "cpu")

    def _on_device(self) -> Any:
        return tf.device("/cpu:0" if self.device == "cpu" else f"/{self.device}")

    def tensor(self, array: np.ndarray[Any, Any]) -> Tensor:
        with self._on_device():
            return tf.convert_to_tensor(array)

    def numpy(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = tensor.numpy()
        return array

    def compile(self, function: Callable[..., Any], program: Program, dtype: str) -> Callable[..., Any]:
        """One graph for the whole program: batch (and open time axes) stay open in its signature."""
        kinds = {"float": tf.as_dtype(dtype), "int": tf.int32, "bool": tf.bool}
        weights = {name: tf.TensorSpec(shape, kinds["float"]) for name, shape in program.weights.items()}
        entering = (*program.inputs, *(carry.before for carry in program.carries))
        values = {
            name: tf.TensorSpec(program.values[name].shape, kinds[program.values[name].kind]) for name in entering
        }
        with self._on_device():
            traced = tf.function(function, input_signature=(weights, values), autograph=False)
            graph = traced.get_concrete_function()

        def run(*args: Any) -> Any:
            with self._on_device():
                return graph(*args)

        return run
