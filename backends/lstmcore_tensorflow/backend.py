"""The table of TensorFlow kernels, and the way in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from lstmcore import ops
from lstmcore.contract import Backend, Choice, Kernel
from lstmcore.ops import Op
from lstmcore.program import Program, interpret
from lstmcore_tensorflow import linear, normalize, pointwise, recurrent, reduce, shape, trained, values
from lstmcore_tensorflow.loops import Unrolled

Tensor = Any


def _in_training(run: Callable[..., Any]) -> Kernel:
    """A row for training: the loop that has the faster gradient."""
    return Kernel("while over an array", partial(run, reader=recurrent.unstacked), recurrent.training)


def _with_backward(run: Callable[..., Any]) -> tuple[Kernel, ...]:
    """Rows for training that have a backward by hand, the fastest first."""
    return (
        Kernel("unrolled in halves with its backward", partial(run, loop=Unrolled(parts=2)), trained.in_parts),
        Kernel("unrolled with its backward", partial(run, loop=Unrolled()), trained.unrolled),
        Kernel("while with its backward", run, trained.in_training),
    )


class TensorflowBackend(Backend):
    """TensorFlow, on the CPU or a GPU."""

    name = "tensorflow"
    maths = SimpleNamespace(
        sqrt=tf.sqrt,
        absolute=tf.abs,
        maximum=tf.maximum,
        sum=tf.reduce_sum,
        sum_along=lambda x, axes: tf.reduce_sum(x, axes, keepdims=True),
        clip=tf.clip_by_value,
        where=tf.where,
    )
    kernels: ClassVar[Mapping[type[Op], tuple[Kernel, ...]]] = MappingProxyType(
        {
            ops.Affine: (Kernel("tensordot", linear.affine),),
            ops.Embed: (Kernel("gather", linear.embed),),
            ops.Einsum: (Kernel("einsum", linear.einsum),),
            ops.Conv: (
                Kernel("conv1d", linear.conv, linear.dense_window),
                Kernel("taps", linear.conv_by_taps),
            ),
            ops.Activate: (Kernel("pointwise", pointwise.activate),),
            ops.Unary: (Kernel("pointwise", pointwise.unary),),
            ops.Binary: (Kernel("pointwise", pointwise.binary),),
            ops.Select: (Kernel("where", pointwise.select),),
            ops.NotEqual: (Kernel("pointwise", pointwise.not_equal),),
            ops.Cast: (Kernel("cast", pointwise.cast),),
            ops.Constant: (Kernel("constant", values.constant),),
            ops.Parameter: (Kernel("itself", values.parameter),),
            ops.Zeros: (Kernel("zeros", values.zeros),),
            ops.OneHot: (Kernel("one_hot", values.one_hot),),
            ops.Reshape: (Kernel("reshape", shape.reshape),),
            ops.Transpose: (Kernel("transpose", shape.transpose),),
            ops.Reverse: (Kernel("reverse", shape.reverse),),
            ops.Last: (Kernel("slice", shape.last),),
            ops.Concat: (Kernel("concat", shape.concat),),
            ops.Slice: (Kernel("slice", shape.cut),),
            ops.Pad: (Kernel("pad", shape.pad),),
            ops.Repeat: (Kernel("repeat", shape.repeat),),
            ops.Fold: (Kernel("reshape", shape.fold),),
            ops.Unfold: (Kernel("reshape", shape.unfold),),
            ops.Reduce: (Kernel("reduce", reduce.reduce),),
            ops.Total: (Kernel("reduce", reduce.total),),
            ops.Pool: (Kernel("pool1d", reduce.pool),),
            ops.Causal: (Kernel("range", reduce.causal),),
            ops.BatchNormalize: (Kernel("pointwise", normalize.batch_normalize),),
            ops.LayerNormalize: (Kernel("reduce", normalize.layer_normalize),),
            ops.Lstm: (
                *_with_backward(trained.lstm),
                _in_training(recurrent.lstm),
                Kernel("while", recurrent.lstm),
            ),
            ops.Gru: (
                *_with_backward(trained.gru),
                _in_training(recurrent.gru),
                Kernel("while", recurrent.gru),
            ),
            ops.SimpleRnn: (
                *_with_backward(trained.simple_rnn),
                _in_training(recurrent.simple_rnn),
                Kernel("while", recurrent.simple_rnn),
            ),
            ops.Scan: (_in_training(recurrent.scan), Kernel("while", recurrent.scan)),
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

    def compile(self, function: Callable[..., Any], signature: Any, dtype: str) -> Callable[..., Any]:
        """One graph for the whole function: batch (and open time axes) stay open in its signature."""
        kinds = {"float": tf.as_dtype(dtype), "int": tf.int32, "bool": tf.bool}
        specs = [tf.TensorSpec(entry.shape, kinds[entry.kind]) for entry in _leaves(signature, signature)]
        made: list[Any] = []  # what the function returns, with a place in its flat outputs for each tensor

        def flat(*tensors: Tensor) -> list[Tensor]:
            result = function(*_filled(signature, iter(tensors)))
            made[:] = [result]
            return list(_leaves(result, result))

        with self._on_device():
            graph = tf.function(flat, input_signature=specs, autograph=False).get_concrete_function()
        # Called as it is, a function of some forty tensors takes 0.3 ms to sort its arguments (2.21, measured).
        call, captured, result = graph.inference_fn.call_flat, graph.captured_inputs, made[0]

        def run(*args: Any) -> Any:
            with self._on_device():
                return _filled(result, iter(call(*_leaves(signature, args), *captured)))

        return run

    def differentiate(
        self, program: Program, choices: tuple[Choice, ...], loss: str, wrt: Sequence[str]
    ) -> Callable[..., Any]:
        runs = tuple(choice.run for choice in choices)

        def function(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> tuple[Any, Any, Any]:
            leaves = {name: weights[name] for name in wrt}
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(leaves)
                outputs, carries = interpret(program, runs, weights, values)
            gradients = tape.gradient(outputs[loss], leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return outputs, carries, {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}

        return function


def _leaves(like: Any, values: Any) -> Iterator[Any]:
    """The tensors in nested dicts and sequences, in the order in which they stand in ``like``."""
    if isinstance(like, Mapping):
        for name, inner in like.items():
            yield from _leaves(inner, values[name])
    elif isinstance(like, (tuple, list)):
        for inner, value in zip(like, values, strict=True):
            yield from _leaves(inner, value)
    else:
        yield values


def _filled(like: Any, tensors: Iterator[Tensor]) -> Any:
    """Nested dicts and tuples as ``like``, filled with tensors in order."""
    if isinstance(like, Mapping):
        return {name: _filled(inner, tensors) for name, inner in like.items()}
    if isinstance(like, (tuple, list)):
        return tuple(_filled(inner, tensors) for inner in like)
    return next(tensors)
