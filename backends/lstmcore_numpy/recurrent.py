"""The recurrent ops in NumPy: one GEMM for all inputs, then one GEMM a step, time first inside.

Backwards likewise: what does not depend on the gradient, as the slopes of the activations, becomes one factor for
all steps before the loop; the loop has one GEMM a step; the gradients of the weights are one GEMM after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.activations import ALONG_AXIS, Function
from lstmcore.ops import Gru, Lstm, Recurrent, SimpleRnn
from lstmcore_numpy.functions import FROM_Y, apply, backward, slope
from lstmcore_numpy.gradients import Vjp, column_sums

Array = NDArray[Any]
Weights = Mapping[str, Array]
Tape = list[tuple[Array, ...]]  # what a backward needs of each step
Step = Callable[..., tuple[Array, ...]]


def _project(x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Array]:
    """x (B, T, I) -> its steps as rows, (T B, I); and rows @ kernel + bias, (T, B, columns)."""
    rows = x.transpose(1, 0, 2).reshape(-1, x.shape[2])
    z = rows @ kernel
    if bias is not None:
        z += bias
    return rows, z.reshape(x.shape[1], x.shape[0], kernel.shape[1])


def _project_back(rows: Array, kernel: Array, dz: Array, x: Array) -> tuple[Array, Array, Array]:
    """The gradients of kernel, bias and x from dz (T B, columns)."""
    dx = (dz @ kernel.T).reshape(x.shape[1], x.shape[0], x.shape[2])
    return rows.T @ dz, column_sums(dz), dx.transpose(1, 0, 2)


def _run(
    op: Recurrent, step: Step, steps: int, states: tuple[Array, ...], mask: Array | None, previous: Array | None
) -> tuple[Array, ...]:
    """Runs ``step(t, *states) -> states`` over time under the masked-step rule."""
    y = np.zeros((steps, *states[0].shape), states[0].dtype)  # (T, B, U)
    held = np.zeros_like(states[0]) if previous is None or op.zero_output_for_mask else previous
    for t in range(steps):
        new = step(t, *states)
        if mask is None:
            states, y[t] = new, new[0]
            continue
        valid = mask[:, t, None]
        states = tuple(np.where(valid, n, old) for n, old in zip(new, states, strict=True))
        y[t] = np.where(valid, new[0], held)
        if not op.zero_output_for_mask:
            held = y[t]
    return y.transpose(1, 0, 2), *states


def _run_back(
    op: Recurrent,
    step: Step,
    states: tuple[Array, ...],
    mask: Array | None,
    dy: Array | None,
    dstates: tuple[Array | None, ...],
    steps: int,
) -> tuple[list[Array], Array | None]:
    """Runs ``step(t, *dstates) -> dstates``, which may write to what it gets, from the last step to the first.

    At a masked step the gradients of the states go on to the step before, and that of y to the y it repeats.
    Returns those of the first states and of ``previous``, None where it has no influence.
    """
    dnow = [np.zeros_like(s) if d is None else np.array(d) for s, d in zip(states, dstates, strict=True)]
    dheld = None if mask is None or op.zero_output_for_mask else np.zeros_like(states[0])
    for t in reversed(range(steps)):
        d = None if dy is None else dy[:, t]
        if mask is None:
            if d is not None:
                dnow[0] += d
            dnow = list(step(t, *dnow))
            continue
        valid = mask[:, t, None]
        if dheld is not None:
            d = dheld if d is None else dheld + d
            dheld = np.where(valid, 0, d)
        dnew = [np.where(valid, ds, 0) for ds in dnow]
        if d is not None:
            dnew[0] += np.where(valid, d, 0)
        dnow = [np.where(valid, before, ds) for before, ds in zip(step(t, *dnew), dnow, strict=True)]
    return dnow, dheld


class _Back:
    """The backward of ``y = function(z)``, z and y (T, B, ...), one step after the other.

    Where it works number by number its slope is multiplied into ``factor``, for all steps at once; that leaves a
    step with nothing to do. z may be None where the slope follows from y.
    """

    def __init__(self, function: Function, z: Array | None, y: Array, factor: Array) -> None:
        self.function, self.z, self.y = function, z, y
        if function.name not in ALONG_AXIS:
            factor *= slope(function, z, y)

    def __call__(self, t: int, d: Array) -> None:
        if self.function.name in ALONG_AXIS:
            d[...] = backward(self.function, None if self.z is None else self.z[t], self.y[t], d)


def _over_units(function: Function) -> Function:
    """Axis 1 of (B, U) is the last one also where several gates lie side by side."""
    along_units = function.name in ALONG_AXIS and function.parameters["axis"] == 1
    return Function(function.name) if along_units else function


def _room(z: Array, *functions: Function) -> Array | None:
    """Where to keep what the functions are given, if their slopes need it."""
    return None if FROM_Y.issuperset(functions) else np.empty_like(z)


def _cleared(x: Array, mask: Array | None) -> Array:
    """x with zeros at the masked steps, so that no NaN there reaches a gradient."""
    return x if mask is None else np.where(mask[:, :, None], x, 0)


def _stacked(tape: Tape) -> tuple[Array, ...]:
    """What the tape holds of each step, (T, B, U) each."""
    return tuple(map(np.stack, zip(*tape, strict=True)))


def _gates(z: Array | None, units: int) -> Any:
    """(T, B, columns) as (T, B, gates, units)."""
    return None if z is None else z.reshape(*z.shape[:2], -1, units)


def _gate(z: Array | None, part: int | slice) -> Any:
    return None if z is None else z[:, :, part]


def lstm(
    op: Lstm, w: Weights, x: Array, h: Array, c: Array, mask: Array | None, previous: Array | None
) -> tuple[Array, ...]:
    _, z = _project(x, w["kernel"], w.get("bias"))
    return _run(op, _lstm_step(op, w, z), len(z), (h, c), mask, previous)


def _lstm_step(op: Lstm, w: Weights, z: Array, tape: Tape | None = None, room: Array | None = None) -> Step:
    """With a tape, a step leaves its gates in z, what they are made of in the room, (h, c, new c, φ(new c)) there."""
    recurrent, units = w["recurrent_kernel"], op.units
    gate = _over_units(op.recurrent_activation)

    def step(t: int, h: Array, c: Array) -> tuple[Array, Array]:
        now = z[t]
        now += h @ recurrent
        if room is not None:
            room[t] = now
        input_forget = apply(gate, now[:, : 2 * units].reshape(-1, 2, units))
        candidate = apply(op.activation, now[:, 2 * units : 3 * units])
        output = apply(gate, now[:, 3 * units :])
        after = input_forget[:, 1] * c + input_forget[:, 0] * candidate
        squashed = apply(op.activation, after)
        if tape is not None:
            now[:, : 2 * units] = input_forget.reshape(-1, 2 * units)
            now[:, 2 * units : 3 * units] = candidate
            now[:, 3 * units :] = output
            tape.append((h, c, after, squashed))
        return output * squashed, after

    return step


def pull_lstm(
    op: Lstm, w: Weights, x: Array, h: Array, c: Array, mask: Array | None, previous: Array | None
) -> tuple[tuple[Array, ...], Vjp]:
    tape: Tape = []
    rows, z = _project(_cleared(x, mask), w["kernel"], w.get("bias"))
    room = _room(z, op.activation, op.recurrent_activation)
    outputs = _run(op, _lstm_step(op, w, z, tape, room), len(z), (h, c), mask, previous)

    def vjp(dy: Array | None, dh: Array | None, dc: Array | None) -> Any:
        step, dz, h_before = _lstm_back(op, w, _gates(z, op.units), _gates(room, op.units), tape)
        (dh0, dc0), dprevious = _run_back(op, step, (h, c), mask, dy, (dh, dc), len(z))
        dkernel, dbias, dx = _project_back(rows, w["kernel"], dz, x)
        found = {"kernel": dkernel, "recurrent_kernel": h_before.T @ dz}
        if op.use_bias:
            found["bias"] = dbias
        return found, (dx, dh0, dc0, None, None if previous is None else dprevious)

    return outputs, vjp


def _lstm_back(op: Lstm, w: Weights, gates: Array, room: Array | None, tape: Tape) -> tuple[Step, Array, Array]:
    """(the step, dz (T B, 4 U) which it fills, h_{t-1} as rows (T B, U))."""
    h, c, after, squashed = _stacked(tape)
    back, gate = w["recurrent_kernel"].T, _over_units(op.recurrent_activation)
    dz = np.stack([gates[:, :, 2], c, gates[:, :, 0], squashed], 2)  # what i, f, g, o are multiplied with
    opened = gates[:, :, 3].copy()
    through_c = _Back(op.activation, after, squashed, opened)
    through = [
        (part, _Back(function, _gate(room, part), gates[:, :, part], dz[:, :, part]))
        for part, function in ((slice(0, 2), gate), (2, op.activation), (3, gate))
    ]

    def step(t: int, dh: Array, dc: Array) -> tuple[Array, Array]:
        d = dh * opened[t]
        through_c(t, d)
        dc += d
        now = dz[t]
        now[:, :3] *= dc[:, None]
        now[:, 3] *= dh
        for part, undo in through:
            undo(t, now[:, part])
        dc *= gates[t, :, 1]
        return now.reshape(len(now), -1) @ back, dc

    return step, dz.reshape(-1, 4 * op.units), h.reshape(-1, op.units)


def gru(op: Gru, w: Weights, x: Array, h: Array, mask: Array | None, previous: Array | None) -> tuple[Array, ...]:
    _, z = _project(x, w["kernel"], _gru_biases(op, w)[0])
    return _run(op, _gru_step(op, w, z), len(z), (h,), mask, previous)


def _gru_biases(op: Gru, w: Weights) -> tuple[Array | None, Array | None]:
    """Those beside x W and h U."""
    bias = w.get("bias")
    return (bias[0], bias[1]) if bias is not None and op.reset_after else (bias, None)


def _gru_step(op: Gru, w: Weights, z: Array, tape: Tape | None = None, room: Array | None = None) -> Step:
    """With a tape, a step leaves its gates in z, what they are made of in the room, and there (h, and what the
    reset gate has a share in: with ``reset_after`` h U_h + d_h before it, else r ⊙ h after it)."""
    recurrent, units = w["recurrent_kernel"], op.units
    gate, bias = _over_units(op.recurrent_activation), _gru_biases(op, w)[1]

    def step(t: int, h: Array) -> tuple[Array]:
        now = z[t]
        inner = h @ (recurrent if op.reset_after else recurrent[:, : 2 * units])
        if bias is not None:
            inner += bias
        now[:, : 2 * units] += inner[:, : 2 * units]
        both = apply(gate, now[:, : 2 * units].reshape(-1, 2, units))
        update, reset = both[:, 0], both[:, 1]
        kept = inner[:, 2 * units :] if op.reset_after else reset * h
        now[:, 2 * units :] += reset * kept if op.reset_after else kept @ recurrent[:, 2 * units :]
        candidate = apply(op.activation, now[:, 2 * units :])
        if tape is not None:
            if room is not None:
                room[t] = now
            now[:, : 2 * units] = both.reshape(-1, 2 * units)
            now[:, 2 * units :] = candidate
            tape.append((h, kept))
        return (update * h + (1 - update) * candidate,)

    return step


def pull_gru(
    op: Gru, w: Weights, x: Array, h: Array, mask: Array | None, previous: Array | None
) -> tuple[tuple[Array, ...], Vjp]:
    tape: Tape = []
    rows, z = _project(_cleared(x, mask), w["kernel"], _gru_biases(op, w)[0])
    room = _room(z, op.activation, op.recurrent_activation)
    outputs = _run(op, _gru_step(op, w, z, tape, room), len(z), (h,), mask, previous)

    def vjp(dy: Array | None, dh: Array | None) -> Any:
        prepare = _gru_back_after if op.reset_after else _gru_back_before
        step, finish = prepare(op, w, _gates(z, op.units), _gates(room, op.units), tape)
        (dh0,), dprevious = _run_back(op, step, (h,), mask, dy, (dh,), len(z))
        dz, drecurrent, dinner = finish()
        dkernel, dbias, dx = _project_back(rows, w["kernel"], dz, x)
        found = {"kernel": dkernel, "recurrent_kernel": drecurrent}
        if op.use_bias:
            found["bias"] = np.stack([dbias, dinner]) if op.reset_after else dbias
        return found, (dx, dh0, None, None if previous is None else dprevious)

    return outputs, vjp


def _gru_back_after(op: Gru, w: Weights, gates: Array, room: Array | None, tape: Tape) -> tuple[Step, Any]:
    """(the step; a function that then gives dz (T B, 3 U), the gradients of U and of d)."""
    h, inner = _stacked(tape)
    update, reset, candidate = (gates[:, :, k] for k in range(3))
    back, units, gate = w["recurrent_kernel"].T, op.units, _over_units(op.recurrent_activation)
    # The gradients of z, of r, of h U_h + d_h, and of what the candidate is made of.
    dz = np.stack([h - candidate, inner, reset, 1 - update], 2)
    flat = dz.reshape(-1, 4 * units)
    undo_update = _Back(gate, _gate(room, 0), update, dz[:, :, 0])
    undo_reset = _Back(gate, _gate(room, 1), reset, dz[:, :, 1])
    undo_candidate = _Back(op.activation, _gate(room, 2), candidate, dz[:, :, 3])

    def step(t: int, dh: Array) -> tuple[Array]:
        now = dz[t]
        now[:, ::3] *= dh[:, None]
        undo_update(t, now[:, 0])
        undo_candidate(t, now[:, 3])
        now[:, 1:3] *= now[:, 3:]
        undo_reset(t, now[:, 1])
        dh *= update[t]
        dh += now.reshape(len(now), -1)[:, : 3 * units] @ back
        return (dh,)

    def finish() -> tuple[Array, Array, Array]:
        drecurrent, dbias = h.reshape(-1, units).T @ flat[:, : 3 * units], column_sums(flat[:, : 3 * units])
        dz[:, :, 2] = dz[:, :, 3]
        return flat[:, : 3 * units], drecurrent, dbias

    return step, finish


def _gru_back_before(op: Gru, w: Weights, gates: Array, room: Array | None, tape: Tape) -> tuple[Step, Any]:
    """As `_gru_back_after`, without a gradient of d."""
    h, kept = _stacked(tape)
    update, reset, candidate = (gates[:, :, k] for k in range(3))
    units, gate = op.units, _over_units(op.recurrent_activation)
    back_gates, back_candidate = w["recurrent_kernel"][:, : 2 * units].T, w["recurrent_kernel"][:, 2 * units :].T
    dz = np.stack([h - candidate, h, 1 - update], 2)
    flat = dz.reshape(-1, 3 * units)
    undo_update = _Back(gate, _gate(room, 0), update, dz[:, :, 0])
    undo_reset = _Back(gate, _gate(room, 1), reset, dz[:, :, 1])
    undo_candidate = _Back(op.activation, _gate(room, 2), candidate, dz[:, :, 2])

    def step(t: int, dh: Array) -> tuple[Array]:
        now = dz[t]
        now[:, ::2] *= dh[:, None]
        undo_update(t, now[:, 0])
        undo_candidate(t, now[:, 2])
        dkept = now[:, 2] @ back_candidate
        now[:, 1] *= dkept
        undo_reset(t, now[:, 1])
        dh *= update[t]
        dh += dkept * reset[t]
        dh += now.reshape(len(now), -1)[:, : 2 * units] @ back_gates
        return (dh,)

    def finish() -> tuple[Array, Array, None]:
        of_gates = h.reshape(-1, units).T @ flat[:, : 2 * units]
        of_candidate = kept.reshape(-1, units).T @ flat[:, 2 * units :]
        return flat, np.concatenate([of_gates, of_candidate], 1), None

    return step, finish


def simple_rnn(
    op: SimpleRnn, w: Weights, x: Array, h: Array, mask: Array | None, previous: Array | None
) -> tuple[Array, ...]:
    _, z = _project(x, w["kernel"], w.get("bias"))
    return _run(op, _simple_step(op, w, z), len(z), (h,), mask, previous)


def _simple_step(op: SimpleRnn, w: Weights, z: Array, tape: Tape | None = None) -> Step:
    """With a tape, (h, new h) goes there, and z keeps what the new h is made of."""
    recurrent = w["recurrent_kernel"]

    def step(t: int, h: Array) -> tuple[Array]:
        now = z[t]
        now += h @ recurrent
        new = apply(op.activation, now)
        if tape is not None:
            tape.append((h, new))
        return (new,)

    return step


def pull_simple_rnn(
    op: SimpleRnn, w: Weights, x: Array, h: Array, mask: Array | None, previous: Array | None
) -> tuple[tuple[Array, ...], Vjp]:
    tape: Tape = []
    rows, z = _project(_cleared(x, mask), w["kernel"], w.get("bias"))
    outputs = _run(op, _simple_step(op, w, z, tape), len(z), (h,), mask, previous)

    def vjp(dy: Array | None, dh: Array | None) -> Any:
        h_before, new = _stacked(tape)
        back, dz = w["recurrent_kernel"].T, np.ones_like(new)
        undo = _Back(op.activation, z, new, dz)

        def step(t: int, dh: Array) -> tuple[Array]:
            now = dz[t]
            now *= dh
            undo(t, now)
            return (now @ back,)

        (dh0,), dprevious = _run_back(op, step, (h,), mask, dy, (dh,), len(z))
        dz = dz.reshape(-1, op.units)
        dkernel, dbias, dx = _project_back(rows, w["kernel"], dz, x)
        found = {"kernel": dkernel, "recurrent_kernel": h_before.reshape(-1, op.units).T @ dz}
        if op.use_bias:
            found["bias"] = dbias
        return found, (dx, dh0, None, None if previous is None else dprevious)

    return outputs, vjp
