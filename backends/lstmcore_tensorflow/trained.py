"""The loops over time in training, with a backward by hand: faster than TensorFlow's own (docs/speed.md).

TensorFlow adds to the gradients of the weights at each step. Here the backward loop only makes the gradients of what
the gates are made of; those of the weights are one product each, after it. Unlike elsewhere each step projects its own
input, and keeps each gate by itself: tensors of all steps at once are slower here than a few more small ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from lstmcore.activations import Function
from lstmcore.contract import Facts
from lstmcore.ops import Gru, Lstm, Recurrent, SimpleRnn
from lstmcore_tensorflow.functions import apply
from lstmcore_tensorflow.loops import WHILE, Loop, swapped

Tensor = Any
Weights = Mapping[str, Tensor]

# The gradient of x from y = function(x) and the gradient of y.
BACK: Mapping[Function, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        Function("linear"): lambda y, dy: dy,
        Function("relu"): lambda y, dy: tf.raw_ops.ReluGrad(gradients=dy, features=y),
        Function("sigmoid"): lambda y, dy: tf.raw_ops.SigmoidGrad(y=y, dy=dy),
        Function("tanh"): lambda y, dy: tf.raw_ops.TanhGrad(y=y, dy=dy),
    }
)


STEPS = 32  # written out, an LSTM takes some 15 ms a step and part to trace


def in_training(op: Recurrent, facts: Facts) -> bool:
    """training, no mask, activations of tanh, sigmoid, linear and plain relu"""
    functions = {op.activation, getattr(op, "recurrent_activation", op.activation)}
    return facts.training and not facts.masked and functions <= set(BACK)


def unrolled(op: Recurrent, facts: Facts) -> bool:
    """training, no mask, activations of tanh, sigmoid, linear and plain relu, a known number of at most 32 steps"""
    x = facts.inputs[0]
    return in_training(op, facts) and x is not None and 0 < (x.shape[1] or 0) <= STEPS


def in_parts(op: Recurrent, facts: Facts) -> bool:
    """training on several CPUs, no mask, activations of tanh, sigmoid, linear and plain relu, at most 32 steps"""
    return unrolled(op, facts) and facts.device == "cpu" and _threads() > 1


def _threads() -> int:
    """How many ops TensorFlow runs at once."""
    return tf.config.threading.get_inter_op_parallelism_threads() or os.cpu_count() or 1


def _rows(x: Tensor) -> Tensor:
    return tf.reshape(x, (-1, x.shape[-1]))


def _before(first: Tensor, states: Tensor) -> Tensor:
    """The states (T, B, U) before each step, as rows."""
    return _rows(tf.concat([first[None], states[:-1]], 0))


def _columns(dz: Tensor) -> Tensor:
    """Summed over the rows, as a product: faster than a reduction."""
    return tf.matmul(tf.ones((1, tf.shape(dz)[0]), dz.dtype), dz)[0]


def _of_input(x: Tensor, kernel: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x (T, B, I), batch first, and of the kernel."""
    dx = tf.reshape(tf.matmul(dz, tf.transpose(kernel)), tf.shape(x))
    return swapped(dx), tf.matmul(_rows(x), dz, transpose_a=True)


def _call(
    function: Callable[..., Any], op: Recurrent, w: Weights, x: Tensor, states: tuple[Tensor, ...], parts: int
) -> tuple[Tensor, ...]:
    """``function(x, kernel, recurrent kernel, bias or None, *states) -> outputs, grad`` as an op for each part."""

    def all_tensors(x: Tensor, kernel: Tensor, recurrent: Tensor, *rest: Tensor) -> Any:
        bias, states = (rest[0], rest[1:]) if op.use_bias else (None, rest)
        (y, *after), grad = function(x, kernel, recurrent, bias, *states)

        def back(*gradients: Tensor) -> Any:
            dx, dkernel, drecurrent, dbias, *dstates = grad(*gradients)
            return (dx, dkernel, drecurrent, *((dbias,) if op.use_bias else ()), *dstates)

        return (y, *after), back

    bias = (w["bias"],) if op.use_bias else ()
    weights = (w["kernel"], w["recurrent_kernel"], *bias)
    pieces = zip(*(_pieces(tensor, parts) for tensor in (x, *states)), strict=True)
    made = [tf.custom_gradient(all_tensors)(piece, *weights, *own) for piece, *own in pieces]
    y, *after = made[0] if parts == 1 else (tf.concat(same, 0) for same in zip(*made, strict=True))
    y.set_shape((*x.shape[:2], op.units))
    for state, before in zip(after, states, strict=True):
        state.set_shape(before.shape)
    return (y, *after)


def _pieces(tensor: Tensor, parts: int) -> list[Tensor]:
    """The samples in parts, of as many or one more; (B, ...)."""
    if parts == 1:
        return [tensor]
    ends = [tf.shape(tensor)[0] * k // parts for k in range(parts + 1)]
    return [tensor[start:end] for start, end in pairwise(ends)]


def lstm(op: Lstm, w: Weights, x: Tensor, h: Tensor, c: Tensor, *rest: Any, loop: Loop = WHILE) -> tuple[Tensor, ...]:
    gate, function = op.recurrent_activation, op.activation

    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h0: Tensor, c0: Tensor) -> Any:
        x, both = swapped(x), tf.concat([kernel, recurrent], 0)

        def step(x_t: Tensor, h: Tensor, c: Tensor) -> Any:
            z = tf.matmul(tf.concat([x_t, h], 1), both)
            i, f, g, o = tf.split(z if bias is None else tf.nn.bias_add(z, bias), 4, 1)
            i, f, g, o = apply(gate, i), apply(gate, f), apply(function, g), apply(gate, o)
            after = f * c + i * g
            squashed = apply(function, after)
            h = o * squashed
            return (i, f, g, o, c, squashed, h), (h, after)

        (*kept, hs), after = loop.forward(step, x, (h0, c0), 7)
        hs = hs.stack()

        def grad(dy: Tensor, dh: Tensor, dc: Tensor) -> Any:
            back = tf.transpose(recurrent)

            def step(t: Tensor, dh: Tensor, dc: Tensor) -> Any:
                i, f, g, o, c, squashed = (array.read(t) for array in kept)
                dc = dc + BACK[function](squashed, dh * o)
                di, df = BACK[gate](i, dc * g), BACK[gate](f, dc * c)
                dz = tf.concat([di, df, BACK[function](g, dc * i), BACK[gate](o, dh * squashed)], 1)
                return dz, (tf.matmul(dz, back), dc * f)

            dz, dstates = loop.backward(step, dy, (dh, dc), 4 * op.units)
            drecurrent = tf.matmul(_before(h0, hs), dz, transpose_a=True)
            return (*_of_input(x, kernel, dz), drecurrent, _columns(dz), *dstates)

        return (swapped(hs), *after), grad

    return _call(run, op, w, x, (h, c), loop.parts)


def gru(op: Gru, w: Weights, x: Tensor, h: Tensor, *rest: Any, loop: Loop = WHILE) -> tuple[Tensor, ...]:
    run = _gru_after(op, loop) if op.reset_after else _gru_before(op, loop)
    return _call(run, op, w, x, (h,), loop.parts)


def _gru_after(op: Gru, loop: Loop) -> Callable[..., Any]:
    gate, function, units = op.recurrent_activation, op.activation, op.units

    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h0: Tensor) -> Any:
        x = swapped(x)

        def step(x_t: Tensor, h: Tensor) -> Any:
            outer, inner = tf.matmul(x_t, kernel), tf.matmul(h, recurrent)
            if bias is not None:
                outer, inner = tf.nn.bias_add(outer, bias[0]), tf.nn.bias_add(inner, bias[1])
            (u_x, r_x, g_x), (u_h, r_h, g_h) = tf.split(outer, 3, 1), tf.split(inner, 3, 1)
            u, r = apply(gate, u_x + u_h), apply(gate, r_x + r_h)
            g = apply(function, g_x + r * g_h)
            after = u * h + (1 - u) * g
            return (u, r, g, g_h, h, after), (after,)

        (*kept, hs), after = loop.forward(step, x, (h0,), 6)
        hs = hs.stack()

        def grad(dy: Tensor, dh: Tensor) -> Any:
            back = tf.transpose(recurrent)

            def step(t: Tensor, dh: Tensor) -> Any:
                u, r, g, g_h, h = (array.read(t) for array in kept)
                du = BACK[gate](u, dh * (h - g))
                dg = BACK[function](g, dh * (1 - u))
                gates = [du, BACK[gate](r, dg * g_h)]
                return tf.concat([*gates, dg * r, dg], 1), (dh * u + tf.matmul(tf.concat([*gates, dg * r], 1), back),)

            all_dz, dstates = loop.backward(step, dy, (dh,), 4 * units)
            inner = all_dz[:, : 3 * units]
            outer = tf.concat([all_dz[:, : 2 * units], all_dz[:, 3 * units :]], 1)
            drecurrent = tf.matmul(_before(h0, hs), inner, transpose_a=True)
            dbias = tf.stack([_columns(outer), _columns(inner)])
            return (*_of_input(x, kernel, outer), drecurrent, dbias, *dstates)

        return (swapped(hs), *after), grad

    return run


def _gru_before(op: Gru, loop: Loop) -> Callable[..., Any]:
    gate, function, units = op.recurrent_activation, op.activation, op.units

    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h0: Tensor) -> Any:
        x = swapped(x)
        of_gates, of_candidate = recurrent[:, : 2 * units], recurrent[:, 2 * units :]

        def step(x_t: Tensor, h: Tensor) -> Any:
            outer = tf.matmul(x_t, kernel)
            u_x, r_x, g_x = tf.split(outer if bias is None else tf.nn.bias_add(outer, bias), 3, 1)
            u_h, r_h = tf.split(tf.matmul(h, of_gates), 2, 1)
            u, r = apply(gate, u_x + u_h), apply(gate, r_x + r_h)
            g = apply(function, g_x + tf.matmul(r * h, of_candidate))
            after = u * h + (1 - u) * g
            return (u, r, g, h, after), (after,)

        (*kept, hs), after = loop.forward(step, x, (h0,), 5)
        hs, resets = hs.stack(), kept[1]

        def grad(dy: Tensor, dh: Tensor) -> Any:
            back_gates, back_candidate = tf.transpose(of_gates), tf.transpose(of_candidate)

            def step(t: Tensor, dh: Tensor) -> Any:
                u, r, g, h = (array.read(t) for array in kept)
                du = BACK[gate](u, dh * (h - g))
                dg = BACK[function](g, dh * (1 - u))
                dkept = tf.matmul(dg, back_candidate)
                gates = tf.concat([du, BACK[gate](r, dkept * h)], 1)
                return tf.concat([gates, dg], 1), (dh * u + dkept * r + tf.matmul(gates, back_gates),)

            dz, dstates = loop.backward(step, dy, (dh,), 3 * units)
            before = _before(h0, hs)
            of_u_r = tf.matmul(before, dz[:, : 2 * units], transpose_a=True)
            of_g = tf.matmul(_rows(resets.stack()) * before, dz[:, 2 * units :], transpose_a=True)
            return (*_of_input(x, kernel, dz), tf.concat([of_u_r, of_g], 1), _columns(dz), *dstates)

        return (swapped(hs), *after), grad

    return run


def simple_rnn(op: SimpleRnn, w: Weights, x: Tensor, h: Tensor, *rest: Any, loop: Loop = WHILE) -> tuple[Tensor, ...]:
    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h0: Tensor) -> Any:
        x, both = swapped(x), tf.concat([kernel, recurrent], 0)

        def step(x_t: Tensor, h: Tensor) -> Any:
            z = tf.matmul(tf.concat([x_t, h], 1), both)
            h = apply(op.activation, z if bias is None else tf.nn.bias_add(z, bias))
            return (h,), (h,)

        (kept,), after = loop.forward(step, x, (h0,), 1)
        hs = kept.stack()

        def grad(dy: Tensor, dh: Tensor) -> Any:
            back = tf.transpose(recurrent)

            def step(t: Tensor, dh: Tensor) -> Any:
                dz = BACK[op.activation](kept.read(t), dh)
                return dz, (tf.matmul(dz, back),)

            dz, dstates = loop.backward(step, dy, (dh,), op.units)
            drecurrent = tf.matmul(_before(h0, hs), dz, transpose_a=True)
            return (*_of_input(x, kernel, dz), drecurrent, _columns(dz), *dstates)

        return (swapped(hs), *after), grad

    return _call(run, op, w, x, (h,), loop.parts)
