"""The recurrent ops in TensorFlow: one projection for all inputs, then ``tf.while_loop`` over time.

TensorFlow's own block kernels are no rows here: they are slower in training, and the gradient that
TensorFlow 2.21 registers for BlockLSTMV2 is wrong (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from lstmcore.contract import Facts
from lstmcore.ops import Gru, Lstm, Recurrent, Scan, SimpleRnn
from lstmcore_tensorflow.functions import apply

Tensor = Any
Weights = Mapping[str, Tensor]
Step = Callable[..., tuple[Tensor, ...]]
Reader = Callable[[Tensor], Callable[[Tensor], Tensor]]  # of x (T, B, ...) makes t -> x_t


def _time_first(x: Tensor) -> Tensor:
    return tf.transpose(x, (1, 0, *range(2, x.shape.rank)))


def _aligned(valid: Tensor, rank: int) -> Tensor:
    """(B,) -> (B, 1, ...) of that rank."""
    return tf.reshape(valid, (-1, *[1] * (rank - 1)))


def sliced(x: Tensor) -> Callable[[Tensor], Tensor]:
    """x[t]: best forwards, but its gradient is a tensor of all steps, at each step."""
    return lambda t: x[t]


def unstacked(x: Tensor) -> Callable[[Tensor], Tensor]:
    """From an array of steps: 5 % slower forwards, and six times as fast back (measured)."""
    steps: Callable[[Tensor], Tensor] = (
        tf.TensorArray(x.dtype, size=tf.shape(x)[0], element_shape=x.shape[1:]).unstack(x).read
    )
    return steps


def _heard(x: Tensor, mask: Tensor | None) -> Tensor:
    """x (B, T, ...) without NaN and infinities at the masked steps: through a gradient of 0 they would be NaN."""
    if mask is None or not x.dtype.is_floating:
        return x
    valid = tf.reshape(mask, tf.concat((tf.shape(mask), [1] * (x.shape.rank - 2)), 0))
    return tf.where(valid | tf.math.is_finite(x), x, tf.zeros_like(x))


def _over_time(
    op: Recurrent | Scan,
    step: Step,
    x: Tensor,
    states: tuple[Tensor, ...],
    mask: Tensor | None,
    previous: Tensor,
    reader: Reader,
) -> tuple[Tensor, ...]:
    """Runs ``step(x_t, *states) -> (y_t, *states)`` over x (T, B, ...) under the masked-step rule.

    ``previous`` is the output before the first step; its shape and dtype are those of every y_t.
    """
    steps = tf.shape(x)[0]
    zeros = tf.zeros_like(previous)
    read = reader(x)
    valid = None if mask is None else tf.transpose(mask)

    def body(t: Tensor, ys: Any, output: Tensor, *states: Tensor) -> tuple[Any, ...]:
        y, *new = step(read(t), *states)
        if valid is not None:
            held = zeros if op.zero_output_for_mask else output
            y = tf.where(_aligned(valid[t], y.shape.rank), y, held)
            new = [tf.where(_aligned(valid[t], n.shape.rank), n, old) for n, old in zip(new, states, strict=True)]
        for after, before in zip((y, *new), (output, *states), strict=True):
            after.set_shape(before.shape)
        return (t + 1, ys.write(t, y), y, *new)

    batches = {value.shape[0] for value in (previous, *states)}
    batch = batches.pop() if len(batches) == 1 else None  # known in a TFLite model, which needs it

    def open_batch(value: Tensor) -> Any:
        return tf.TensorShape((batch, *value.shape[1:]))

    ys = tf.TensorArray(previous.dtype, size=steps, element_shape=open_batch(previous))
    _, ys, _, *after = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (tf.constant(0), ys, previous, *states),
        shape_invariants=(tf.TensorShape(()), None, *map(open_batch, (previous, *states))),
        maximum_iterations=steps,
    )
    y = _time_first(ys.stack())
    y.set_shape((x.shape[1], x.shape[0], *previous.shape[1:]))
    for before, state in zip(states, after, strict=True):
        state.set_shape(before.shape)
    return (y, *after)


def training(op: Recurrent | Scan, facts: Facts) -> bool:
    """training"""
    return facts.training


def scan(
    op: Scan, w: Weights, x: Tensor, *rest: Tensor | None, body: Step, reader: Reader = sliced
) -> tuple[Tensor, ...]:
    *states, mask, previous = rest
    entering = (op.body.values[name].shape for name in op.body.inputs[1:])
    states = [tf.ensure_shape(state, shape) for state, shape in zip(states, entering, strict=True)]
    shape = op.body.values[op.body.outputs[0]].shape[1:]

    def step(x_t: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return body(w, x_t, *states)

    if previous is None and None in shape:  # only the first step tells how long the output's axes are
        previous = tf.zeros_like(step(x[:, 0], *states)[0])
    elif previous is None:
        dtype = next(value.dtype for value in (x, *states, *w.values()) if value.dtype.is_floating)
        previous = tf.zeros((tf.shape(x)[0], *shape), dtype)
    return _over_time(op, step, _time_first(_heard(x, mask)), tuple(states), mask, previous, reader)


def _project(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """x (B, T, I) -> x @ kernel + bias, time first: (T, B, columns)."""
    z = tf.tensordot(_time_first(x), kernel, 1)
    return z if bias is None else z + bias


def lstm(
    op: Lstm,
    w: Weights,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    mask: Tensor | None,
    previous: Tensor | None,
    reader: Reader = sliced,
) -> tuple[Tensor, ...]:
    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = tf.split(z + tf.matmul(h, w["recurrent_kernel"]), 4, 1)
        remembered = apply(op.recurrent_activation, f) * c
        c = remembered + apply(op.recurrent_activation, i) * apply(op.activation, g)
        h = apply(op.recurrent_activation, o) * apply(op.activation, c)
        return h, h, c

    before = tf.zeros_like(h) if previous is None else previous
    return _over_time(op, step, _project(_heard(x, mask), w["kernel"], w.get("bias")), (h, c), mask, before, reader)


def gru(
    op: Gru, w: Weights, x: Tensor, h: Tensor, mask: Tensor | None, previous: Tensor | None, reader: Reader = sliced
) -> tuple[Tensor, ...]:
    units = op.units
    bias = w.get("bias")

    def step_after(z: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        inner = tf.matmul(h, w["recurrent_kernel"])
        if bias is not None:
            inner += bias[1]
        z_x, r_x, g_x = tf.split(z, 3, 1)
        z_h, r_h, g_h = tf.split(inner, 3, 1)
        update = apply(op.recurrent_activation, z_x + z_h)
        reset = apply(op.recurrent_activation, r_x + r_h)
        h = update * h + (1 - update) * apply(op.activation, g_x + reset * g_h)
        return h, h

    def step_before(z: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        recurrent_zr, recurrent_h = w["recurrent_kernel"][:, : 2 * units], w["recurrent_kernel"][:, 2 * units :]
        z_x, r_x, g_x = tf.split(z, 3, 1)
        z_h, r_h = tf.split(tf.matmul(h, recurrent_zr), 2, 1)
        update = apply(op.recurrent_activation, z_x + z_h)
        reset = apply(op.recurrent_activation, r_x + r_h)
        h = update * h + (1 - update) * apply(op.activation, g_x + tf.matmul(reset * h, recurrent_h))
        return h, h

    bias_x = bias[0] if bias is not None and op.reset_after else bias
    step = step_after if op.reset_after else step_before
    before = tf.zeros_like(h) if previous is None else previous
    return _over_time(op, step, _project(_heard(x, mask), w["kernel"], bias_x), (h,), mask, before, reader)


def simple_rnn(
    op: SimpleRnn,
    w: Weights,
    x: Tensor,
    h: Tensor,
    mask: Tensor | None,
    previous: Tensor | None,
    reader: Reader = sliced,
) -> tuple[Tensor, ...]:
    def step(z: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        h = apply(op.activation, z + tf.matmul(h, w["recurrent_kernel"]))
        return h, h

    before = tf.zeros_like(h) if previous is None else previous
    return _over_time(op, step, _project(_heard(x, mask), w["kernel"], w.get("bias")), (h,), mask, before, reader)
