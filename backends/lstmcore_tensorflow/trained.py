"""The loops over time in training, with a backward by hand: faster than TensorFlow's own (docs/speed.md).

TensorFlow adds to the gradients of the weights at each step. Here the backward loop only makes the gradients of what
the gates are made of; those of the weights are one product each, after it. Unlike elsewhere each step projects its own
input, and keeps each gate by itself: tensors of all steps at once are slower here than a few more small ones.
Time comes first inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from lstmcore.activations import Function
from lstmcore.contract import Facts
from lstmcore.ops import Gru, Lstm, Recurrent, SimpleRnn
from lstmcore_tensorflow.functions import apply

Tensor = Any
Weights = Mapping[str, Tensor]
Step = Callable[..., Any]

# The gradient of x from y = function(x) and the gradient of y.
BACK: Mapping[Function, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        Function("linear"): lambda y, dy: dy,
        Function("relu"): lambda y, dy: tf.raw_ops.ReluGrad(gradients=dy, features=y),
        Function("sigmoid"): lambda y, dy: tf.raw_ops.SigmoidGrad(y=y, dy=dy),
        Function("tanh"): lambda y, dy: tf.raw_ops.TanhGrad(y=y, dy=dy),
    }
)


def in_training(op: Recurrent, facts: Facts) -> bool:
    """training, no mask, activations of tanh, sigmoid, linear and plain relu"""
    functions = {op.activation, getattr(op, "recurrent_activation", op.activation)}
    return facts.training and not facts.masked and functions <= set(BACK)


def _swapped(x: Tensor) -> Tensor:
    """(B, T, ...) <-> (T, B, ...)."""
    return tf.transpose(x, (1, 0, 2))


def _rows(x: Tensor) -> Tensor:
    return tf.reshape(x, (-1, x.shape[-1]))


def _steps(x: Tensor) -> Any:
    """x (T, B, ...) to be read step by step."""
    return tf.TensorArray(x.dtype, size=tf.shape(x)[0], element_shape=x.shape[1:]).unstack(x)


def _forward(step: Step, x: Tensor, states: tuple[Tensor, ...], kept: int) -> tuple[list[Any], tuple[Tensor, ...]]:
    """Runs ``step(x_t, *states) -> (kept, states)``: what is kept of each step, units wide, and the last states."""
    count, steps = tf.shape(x)[0], _steps(x)
    shape = tf.TensorShape((None, states[0].shape[1]))
    # Read by the backward, which runs eagerly too, and then perhaps twice: what was read must stay.
    arrays = [tf.TensorArray(x.dtype, count, element_shape=shape, clear_after_read=False) for _ in range(kept)]

    def body(t: Tensor, arrays: list[Any], states: tuple[Tensor, ...]) -> Any:
        keep, after = step(steps.read(t), *states)
        return t + 1, [array.write(t, value) for array, value in zip(arrays, keep, strict=True)], after

    entering = (tf.constant(0), arrays, states)
    _, arrays, states = tf.while_loop(lambda t, *_: t < count, body, entering, maximum_iterations=count)
    return arrays, states


def _backward(step: Step, dy: Tensor, dstates: tuple[Tensor, ...], columns: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Runs ``step(t, *dstates) -> (dz, dstates)`` from the last step to the first: dz (T B, columns), the first."""
    count, of_y = tf.shape(dy)[1], _steps(_swapped(dy))
    array = tf.TensorArray(dy.dtype, size=count, element_shape=(None, columns))

    def body(t: Tensor, array: Any, dstates: tuple[Tensor, ...]) -> Any:
        dz, before = step(t, dstates[0] + of_y.read(t), *dstates[1:])
        return t - 1, array.write(t, dz), before

    entering = (count - 1, array, dstates)
    _, array, dstates = tf.while_loop(lambda t, *_: t >= 0, body, entering, maximum_iterations=count)
    return array.concat(), dstates


def _before(first: Tensor, states: Tensor) -> Tensor:
    """The states (T, B, U) before each step, as rows."""
    return _rows(tf.concat([first[None], states[:-1]], 0))


def _columns(dz: Tensor) -> Tensor:
    """Summed over the rows, as a product: faster than a reduction."""
    return tf.matmul(tf.ones((1, tf.shape(dz)[0]), dz.dtype), dz)[0]


def _of_input(x: Tensor, kernel: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x (T, B, I), batch first, and of the kernel."""
    dx = tf.reshape(tf.matmul(dz, tf.transpose(kernel)), tf.shape(x))
    return _swapped(dx), tf.matmul(_rows(x), dz, transpose_a=True)


def _call(function: Callable[..., Any], op: Recurrent, w: Weights, x: Tensor, states: Any) -> tuple[Tensor, ...]:
    """``function(x, kernel, recurrent kernel, bias or None, *states) -> outputs, grad`` as one op of TensorFlow's."""

    def all_tensors(x: Tensor, kernel: Tensor, recurrent: Tensor, *rest: Tensor) -> Any:
        bias, states = (rest[0], rest[1:]) if op.use_bias else (None, rest)
        (y, *after), grad = function(x, kernel, recurrent, bias, *states)

        def back(*gradients: Tensor) -> Any:
            dx, dkernel, drecurrent, dbias, *dstates = grad(*gradients)
            return (dx, dkernel, drecurrent, *((dbias,) if op.use_bias else ()), *dstates)

        return (y, *after), back

    bias = (w["bias"],) if op.use_bias else ()
    y, *after = tf.custom_gradient(all_tensors)(x, w["kernel"], w["recurrent_kernel"], *bias, *states)
    y.set_shape((*x.shape[:2], op.units))
    for state, before in zip(after, states, strict=True):
        state.set_shape(before.shape)
    return (y, *after)


def lstm(op: Lstm, w: Weights, x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    gate, function = op.recurrent_activation, op.activation

    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h0: Tensor, c0: Tensor) -> Any:
        x, both = _swapped(x), tf.concat([kernel, recurrent], 0)

        def step(x_t: Tensor, h: Tensor, c: Tensor) -> Any:
            z = tf.matmul(tf.concat([x_t, h], 1), both)
            i, f, g, o = tf.split(z if bias is None else tf.nn.bias_add(z, bias), 4, 1)
            i, f, g, o = apply(gate, i), apply(gate, f), apply(function, g), apply(gate, o)
            after = f * c + i * g
            squashed = apply(function, after)
            h = o * squashed
            return (i, f, g, o, c, squashed, h), (h, after)

        (*kept, hs), after = _forward(step, x, (h0, c0), 7)
        hs = hs.stack()

        def grad(dy: Tensor, dh: Tensor, dc: Tensor) -> Any:
            back = tf.transpose(recurrent)

            def step(t: Tensor, dh: Tensor, dc: Tensor) -> Any:
                i, f, g, o, c, squashed = (array.read(t) for array in kept)
                dc = dc + BACK[function](squashed, dh * o)
                di, df = BACK[gate](i, dc * g), BACK[gate](f, dc * c)
                dz = tf.concat([di, df, BACK[function](g, dc * i), BACK[gate](o, dh * squashed)], 1)
                return dz, (tf.matmul(dz, back), dc * f)

            dz, dstates = _backward(step, dy, (dh, dc), 4 * op.units)
            drecurrent = tf.matmul(_before(h0, hs), dz, transpose_a=True)
            return (*_of_input(x, kernel, dz), drecurrent, _columns(dz), *dstates)

        return (_swapped(hs), *after), grad

    return _call(run, op, w, x, (h, c))


def gru(op: Gru, w: Weights, x: Tensor, h: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return _call(_gru_after(op) if op.reset_after else _gru_before(op), op, w, x, (h,))


def _gru_after(op: Gru) -> Callable[..., Any]:
    gate, function, units = op.recurrent_activation, op.activation, op.units

    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h0: Tensor) -> Any:
        x = _swapped(x)

        def step(x_t: Tensor, h: Tensor) -> Any:
            outer, inner = tf.matmul(x_t, kernel), tf.matmul(h, recurrent)
            if bias is not None:
                outer, inner = tf.nn.bias_add(outer, bias[0]), tf.nn.bias_add(inner, bias[1])
            (u_x, r_x, g_x), (u_h, r_h, g_h) = tf.split(outer, 3, 1), tf.split(inner, 3, 1)
            u, r = apply(gate, u_x + u_h), apply(gate, r_x + r_h)
            g = apply(function, g_x + r * g_h)
            after = u * h + (1 - u) * g
            return (u, r, g, g_h, h, after), (after,)

        (*kept, hs), after = _forward(step, x, (h0,), 6)
        hs = hs.stack()

        def grad(dy: Tensor, dh: Tensor) -> Any:
            back = tf.transpose(recurrent)

            def step(t: Tensor, dh: Tensor) -> Any:
                u, r, g, g_h, h = (array.read(t) for array in kept)
                du = BACK[gate](u, dh * (h - g))
                dg = BACK[function](g, dh * (1 - u))
                gates = [du, BACK[gate](r, dg * g_h)]
                return tf.concat([*gates, dg * r, dg], 1), (dh * u + tf.matmul(tf.concat([*gates, dg * r], 1), back),)

            all_dz, dstates = _backward(step, dy, (dh,), 4 * units)
            inner = all_dz[:, : 3 * units]
            outer = tf.concat([all_dz[:, : 2 * units], all_dz[:, 3 * units :]], 1)
            drecurrent = tf.matmul(_before(h0, hs), inner, transpose_a=True)
            dbias = tf.stack([_columns(outer), _columns(inner)])
            return (*_of_input(x, kernel, outer), drecurrent, dbias, *dstates)

        return (_swapped(hs), *after), grad

    return run


def _gru_before(op: Gru) -> Callable[..., Any]:
    gate, function, units = op.recurrent_activation, op.activation, op.units

    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h0: Tensor) -> Any:
        x = _swapped(x)
        of_gates, of_candidate = recurrent[:, : 2 * units], recurrent[:, 2 * units :]

        def step(x_t: Tensor, h: Tensor) -> Any:
            outer = tf.matmul(x_t, kernel)
            u_x, r_x, g_x = tf.split(outer if bias is None else tf.nn.bias_add(outer, bias), 3, 1)
            u_h, r_h = tf.split(tf.matmul(h, of_gates), 2, 1)
            u, r = apply(gate, u_x + u_h), apply(gate, r_x + r_h)
            g = apply(function, g_x + tf.matmul(r * h, of_candidate))
            after = u * h + (1 - u) * g
            return (u, r, g, h, after), (after,)

        (*kept, hs), after = _forward(step, x, (h0,), 5)
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

            dz, dstates = _backward(step, dy, (dh,), 3 * units)
            before = _before(h0, hs)
            of_u_r = tf.matmul(before, dz[:, : 2 * units], transpose_a=True)
            of_g = tf.matmul(_rows(resets.stack()) * before, dz[:, 2 * units :], transpose_a=True)
            return (*_of_input(x, kernel, dz), tf.concat([of_u_r, of_g], 1), _columns(dz), *dstates)

        return (_swapped(hs), *after), grad

    return run


def simple_rnn(op: SimpleRnn, w: Weights, x: Tensor, h: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    def run(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, h0: Tensor) -> Any:
        x, both = _swapped(x), tf.concat([kernel, recurrent], 0)

        def step(x_t: Tensor, h: Tensor) -> Any:
            z = tf.matmul(tf.concat([x_t, h], 1), both)
            h = apply(op.activation, z if bias is None else tf.nn.bias_add(z, bias))
            return (h,), (h,)

        (kept,), after = _forward(step, x, (h0,), 1)
        hs = kept.stack()

        def grad(dy: Tensor, dh: Tensor) -> Any:
            back = tf.transpose(recurrent)

            def step(t: Tensor, dh: Tensor) -> Any:
                dz = BACK[op.activation](kept.read(t), dh)
                return dz, (tf.matmul(dz, back),)

            dz, dstates = _backward(step, dy, (dh,), op.units)
            drecurrent = tf.matmul(_before(h0, hs), dz, transpose_a=True)
            return (*_of_input(x, kernel, dz), drecurrent, _columns(dz), *dstates)

        return (_swapped(hs), *after), grad

    return _call(run, op, w, x, (h,))
