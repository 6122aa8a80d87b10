"""The recurrent ops in TensorFlow: one projection for all inputs, then ``tf.while_loop`` over time.

TensorFlow's own block kernels are no rows here: they are slower in training, and the gradient that
TensorFlow 2.21 registers for BlockLSTMV2 is wrong (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from lstmcore.ops import Gru, Lstm, Recurrent, SimpleRnn
from lstmcore_tensorflow.functions import apply

Tensor = Any
Weights = Mapping[str, Tensor]


def _project(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """x (B, T, I) -> x @ kernel + bias, time first: (T, B, columns)."""
    z = tf.tensordot(tf.transpose(x, (1, 0, 2)), kernel, 1)
    return z if bias is None else z + bias


def _scan(
    op: Recurrent,
    step: Callable[..., tuple[Tensor, ...]],
    z: Tensor,
    states: tuple[Tensor, ...],
    mask: Tensor | None,
) -> tuple[Tensor, ...]:
    """Runs ``step(z_t, *states) -> states`` over time under the masked-step rule."""
    steps = tf.shape(z)[0]
    zeros = tf.zeros_like(states[0])
    valid = None if mask is None else tf.transpose(mask)[:, :, None]

    def body(t: Tensor, ys: Any, output: Tensor, *states: Tensor) -> tuple[Any, ...]:
        new = step(z[t], *states)
        output_t = new[0]
        if valid is not None:
            held = zeros if op.zero_output_for_mask else output
            output_t = tf.where(valid[t], new[0], held)
            new = tuple(tf.where(valid[t], n, old) for n, old in zip(new, states, strict=True))
        return (t + 1, ys.write(t, output_t), output_t, *new)

    ys = tf.TensorArray(z.dtype, size=steps, element_shape=(None, op.units))
    _, ys, _, *states = tf.while_loop(
        lambda t, *_: t < steps, body, (tf.constant(0), ys, zeros, *states), maximum_iterations=steps
    )
    y = tf.transpose(ys.stack(), (1, 0, 2))
    return (y, *states)


def lstm(op: Lstm, w: Weights, x: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = tf.split(z + tf.matmul(h, w["recurrent_kernel"]), 4, 1)
        remembered = apply(op.recurrent_activation, f) * c
        c = remembered + apply(op.recurrent_activation, i) * apply(op.activation, g)
        return apply(op.recurrent_activation, o) * apply(op.activation, c), c

    return _scan(op, step, _project(x, w["kernel"], w.get("bias")), (h, c), mask)


def gru(op: Gru, w: Weights, x: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    units = op.units
    bias = w.get("bias")

    def step_after(z: Tensor, h: Tensor) -> tuple[Tensor]:
        inner = tf.matmul(h, w["recurrent_kernel"])
        if bias is not None:
            inner += bias[1]
        z_x, r_x, g_x = tf.split(z, 3, 1)
        z_h, r_h, g_h = tf.split(inner, 3, 1)
        update = apply(op.recurrent_activation, z_x + z_h)
        reset = apply(op.recurrent_activation, r_x + r_h)
        return (update * h + (1 - update) * apply(op.activation, g_x + reset * g_h),)

    def step_before(z: Tensor, h: Tensor) -> tuple[Tensor]:
        recurrent_zr, recurrent_h = w["recurrent_kernel"][:, : 2 * units], w["recurrent_kernel"][:, 2 * units :]
        z_x, r_x, g_x = tf.split(z, 3, 1)
        z_h, r_h = tf.split(tf.matmul(h, recurrent_zr), 2, 1)
        update = apply(op.recurrent_activation, z_x + z_h)
        reset = apply(op.recurrent_activation, r_x + r_h)
        return (update * h + (1 - update) * apply(op.activation, g_x + tf.matmul(reset * h, recurrent_h)),)

    bias_x = bias[0] if bias is not None and op.reset_after else bias
    step = step_after if op.reset_after else step_before
    return _scan(op, step, _project(x, w["kernel"], bias_x), (h,), mask)


def simple_rnn(op: SimpleRnn, w: Weights, x: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    def step(z: Tensor, h: Tensor) -> tuple[Tensor]:
        return (apply(op.activation, z + tf.matmul(h, w["recurrent_kernel"])),)

    return _scan(op, step, _project(x, w["kernel"], w.get("bias")), (h,), mask)
