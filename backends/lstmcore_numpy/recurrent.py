"""The recurrent ops in NumPy: one GEMM for all inputs, then one GEMM a step, time first inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.ops import Gru, Lstm, Recurrent, Scan, SimpleRnn
from lstmcore_numpy.functions import apply

Array = NDArray[Any]
Weights = Mapping[str, Array]


def _project(x: Array, kernel: Array, bias: Array | None) -> Array:
    """x (B, T, I) -> x @ kernel + bias, time first: (T, B, columns)."""
    rows = x.transpose(1, 0, 2).reshape(-1, x.shape[2])
    z = rows @ kernel
    if bias is not None:
        z += bias
    return z.reshape(x.shape[1], x.shape[0], kernel.shape[1])


def _run(
    op: Recurrent,
    step: Callable[..., tuple[Array, ...]],
    z: Array,
    states: tuple[Array, ...],
    mask: Array | None,
    previous: Array | None,
) -> tuple[Array, ...]:
    """Runs ``step(z_t, *states) -> states`` over time under the masked-step rule."""
    y = np.zeros((*z.shape[:2], op.units), z.dtype)  # (T, B, U)
    held = np.zeros_like(states[0]) if previous is None or op.zero_output_for_mask else previous
    for t in range(z.shape[0]):
        new = step(z[t], *states)
        if mask is None:
            states, y[t] = new, new[0]
            continue
        valid = mask[:, t, None]
        states = tuple(np.where(valid, n, old) for n, old in zip(new, states, strict=True))
        y[t] = np.where(valid, new[0], held)
        if not op.zero_output_for_mask:
            held = y[t]
    return y.transpose(1, 0, 2), *states


def lstm(
    op: Lstm, w: Weights, x: Array, h: Array, c: Array, mask: Array | None, previous: Array | None
) -> tuple[Array, ...]:
    recurrent, units = w["recurrent_kernel"], op.units

    def step(z: Array, h: Array, c: Array) -> tuple[Array, Array]:
        z = z + h @ recurrent
        input_forget = apply(op.recurrent_activation, z[:, : 2 * units].reshape(-1, 2, units))
        candidate = apply(op.activation, z[:, 2 * units : 3 * units])
        output = apply(op.recurrent_activation, z[:, 3 * units :])
        c = input_forget[:, 1] * c + input_forget[:, 0] * candidate
        return output * apply(op.activation, c), c

    return _run(op, step, _project(x, w["kernel"], w.get("bias")), (h, c), mask, previous)


def gru(op: Gru, w: Weights, x: Array, h: Array, mask: Array | None, previous: Array | None) -> tuple[Array, ...]:
    recurrent, units = w["recurrent_kernel"], op.units
    bias = w.get("bias")
    bias_x, bias_h = (bias[0], bias[1]) if bias is not None and op.reset_after else (bias, None)

    def gates(z: Array) -> tuple[Array, Array]:
        both = apply(op.recurrent_activation, z.reshape(-1, 2, units))
        return both[:, 0], both[:, 1]

    def step_after(z: Array, h: Array) -> tuple[Array]:
        inner = h @ recurrent
        if bias_h is not None:
            inner += bias_h
        update, reset = gates(z[:, : 2 * units] + inner[:, : 2 * units])
        candidate = apply(op.activation, z[:, 2 * units :] + reset * inner[:, 2 * units :])
        return (update * h + (1 - update) * candidate,)

    def step_before(z: Array, h: Array) -> tuple[Array]:
        update, reset = gates(z[:, : 2 * units] + h @ recurrent[:, : 2 * units])
        candidate = apply(op.activation, z[:, 2 * units :] + (reset * h) @ recurrent[:, 2 * units :])
        return (update * h + (1 - update) * candidate,)

    step = step_after if op.reset_after else step_before
    return _run(op, step, _project(x, w["kernel"], bias_x), (h,), mask, previous)


def simple_rnn(
    op: SimpleRnn, w: Weights, x: Array, h: Array, mask: Array | None, previous: Array | None
) -> tuple[Array, ...]:
    recurrent = w["recurrent_kernel"]

    def step(z: Array, h: Array) -> tuple[Array]:
        return (apply(op.activation, z + h @ recurrent),)

    return _run(op, step, _project(x, w["kernel"], w.get("bias")), (h,), mask, previous)


def scan(
    op: Scan, w: Weights, x: Array, *rest: Array | None, body: Callable[..., tuple[Array, ...]]
) -> tuple[Any, ...]:
    *states, mask, previous = rest
    held = None if op.zero_output_for_mask else previous
    outputs = []
    for t in range(x.shape[1]):
        y, *new = body(w, x[:, t], *states)
        if mask is not None:
            y = _choose(mask[:, t], y, np.zeros_like(y) if held is None else held)
            new = [_choose(mask[:, t], n, old) for n, old in zip(new, states, strict=True)]
        if not op.zero_output_for_mask:
            held = y
        states = new
        outputs.append(y)
    return np.stack(outputs, 1), *states


def _choose(valid: Array, new: Array, old: Any) -> Array:
    """new where valid (B,), else old, both (B, ...)."""
    return np.where(valid.reshape(-1, *[1] * (new.ndim - 1)), new, old)
