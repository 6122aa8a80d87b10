"""The loops over time in PyTorch, for every option; `fused` has the faster ways for some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lstmcore.ops import Gru, Lstm, Recurrent, Scan, SimpleRnn
from lstmcore_torch.functions import apply

Weights = Mapping[str, Tensor]
Step = Callable[..., tuple[Tensor, ...]]


def _where(valid: Tensor, new: Tensor, held: Tensor) -> Tensor:
    """By sample: valid (B,), the others (B, ...)."""
    return torch.where(valid.reshape(-1, *[1] * (new.dim() - 1)), new, held)


def _heard(x: Tensor, mask: Tensor | None) -> Tensor:
    """x (B, T, ...) without NaN and infinities at the masked steps: through a gradient of 0 they would be NaN."""
    if mask is None or not x.is_floating_point():
        return x
    return torch.where(mask.reshape(*mask.shape, *[1] * (x.dim() - 2)) | x.isfinite(), x, 0)


def _over_time(
    op: Recurrent | Scan,
    step: Step,
    x: Tensor,
    states: tuple[Tensor, ...],
    mask: Tensor | None,
    previous: Tensor | None,
) -> tuple[Tensor, ...]:
    """Runs ``step(x_t, *states) -> (y_t, *states)`` over x (B, T, ...) under the masked-step rule."""
    ys: list[Tensor] = []
    held = None if op.zero_output_for_mask else previous
    for t, x_t in enumerate(x.unbind(1)):
        y, *new = step(x_t, *states)
        if mask is not None:
            valid = mask[:, t]
            new = [_where(valid, n, old) for n, old in zip(new, states, strict=True)]
            y = _where(valid, y, torch.zeros_like(y) if held is None else held)
            held = None if op.zero_output_for_mask else y
        states = tuple(new)
        ys.append(y)
    return torch.stack(ys, 1), *states


def scan(op: Scan, w: Weights, x: Tensor, *rest: Any, body: Step) -> tuple[Tensor, ...]:
    *states, mask, previous = rest

    def step(x_t: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return body(w, x_t, *states)

    return _over_time(op, step, _heard(x, mask), tuple(states), mask, previous)


def _project(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    return x @ kernel if bias is None else x @ kernel + bias


def lstm(
    op: Lstm, w: Weights, x: Tensor, h: Tensor, c: Tensor, mask: Tensor | None, previous: Tensor | None
) -> tuple[Tensor, ...]:
    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = torch.addmm(z, h, w["recurrent_kernel"]).chunk(4, 1)
        remembered = apply(op.recurrent_activation, f) * c
        c = remembered + apply(op.recurrent_activation, i) * apply(op.activation, g)
        h = apply(op.recurrent_activation, o) * apply(op.activation, c)
        return h, h, c

    return _over_time(op, step, _project(_heard(x, mask), w["kernel"], w.get("bias")), (h, c), mask, previous)


def gru(op: Gru, w: Weights, x: Tensor, h: Tensor, mask: Tensor | None, previous: Tensor | None) -> tuple[Tensor, ...]:
    units = op.units
    bias = w.get("bias")
    recurrent_zr, recurrent_h = w["recurrent_kernel"].split((2 * units, units), 1)

    def candidate_after(z_h: Tensor, reset: Tensor, h: Tensor) -> Tensor:
        inner = h @ recurrent_h if bias is None else torch.addmm(bias[1, 2 * units :], h, recurrent_h)
        return z_h + reset * inner

    def candidate_before(z_h: Tensor, reset: Tensor, h: Tensor) -> Tensor:
        return torch.addmm(z_h, reset * h, recurrent_h)

    candidate = candidate_after if op.reset_after else candidate_before

    def step(z: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        z_zr, z_h = z.split((2 * units, units), 1)
        update, reset = (
            apply(op.recurrent_activation, gate) for gate in torch.addmm(z_zr, h, recurrent_zr).chunk(2, 1)
        )
        proposal = apply(op.activation, candidate(z_h, reset, h))
        h = update * h + (1 - update) * proposal
        return h, h

    z = _project(_heard(x, mask), w["kernel"], bias if bias is None or not op.reset_after else bias[0])
    if bias is not None and op.reset_after:
        # The update and reset gates see both biases as one sum; only the candidate's stays apart.
        z = z + torch.cat((bias[1, : 2 * units], torch.zeros_like(bias[1, 2 * units :])))
    return _over_time(op, step, z, (h,), mask, previous)


def simple_rnn(
    op: SimpleRnn, w: Weights, x: Tensor, h: Tensor, mask: Tensor | None, previous: Tensor | None
) -> tuple[Tensor, ...]:
    def step(z: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        h = apply(op.activation, torch.addmm(z, h, w["recurrent_kernel"]))
        return h, h

    return _over_time(op, step, _project(_heard(x, mask), w["kernel"], w.get("bias")), (h,), mask, previous)
