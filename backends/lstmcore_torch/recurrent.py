"""The recurrent ops in PyTorch: its fused kernels where their formula is ours, a loop elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lstmcore.contract import Facts
from lstmcore.ops import Gru, Lstm, Recurrent, SimpleRnn
from lstmcore_torch.functions import apply

Weights = Mapping[str, Tensor]


def standard_lstm(op: Lstm, facts: Facts) -> bool:
    """activation tanh, recurrent_activation sigmoid, no mask"""
    return (op.activation.name, op.recurrent_activation.name) == ("tanh", "sigmoid") and not facts.masked


def standard_gru(op: Gru, facts: Facts) -> bool:
    """activation tanh, recurrent_activation sigmoid, reset_after, no mask"""
    gates = (op.activation.name, op.recurrent_activation.name)
    return gates == ("tanh", "sigmoid") and op.reset_after and not facts.masked


def standard_rnn(op: SimpleRnn, facts: Facts) -> bool:
    """activation tanh or plain relu, no mask"""
    return str(op.activation) in _RNN and not facts.masked


_RNN: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}


def _parameters(w: Weights, biases: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    """Torch's form: rows are gates."""
    return [w["kernel"].t().contiguous(), w["recurrent_kernel"].t().contiguous(), *(biases or ())]


def _options(op: Recurrent) -> tuple[bool, int, float, bool, bool, bool]:
    """has_biases, layers, dropout, train, bidirectional, batch_first."""
    return op.use_bias, 1, 0.0, torch.is_grad_enabled(), False, True


def fused_lstm(op: Lstm, w: Weights, x: Tensor, h: Tensor, c: Tensor, mask: None) -> tuple[Tensor, ...]:
    biases = (w["bias"], torch.zeros_like(w["bias"])) if op.use_bias else None
    y, h, c = torch.lstm(x, (h[None], c[None]), _parameters(w, biases), *_options(op))
    return y, h[0], c[0]


def _swap_zr(a: Tensor) -> Tensor:
    """Gates z, r, h -> torch's r, z, n."""
    z, r, h = a.chunk(3, -1)
    return torch.cat((r, z, h), -1)


def fused_gru(op: Gru, w: Weights, x: Tensor, h: Tensor, mask: None) -> tuple[Tensor, ...]:
    swapped = {port: _swap_zr(a) for port, a in w.items()}
    biases = (swapped["bias"][0], swapped["bias"][1]) if op.use_bias else None
    y, h = torch.gru(x, h[None], _parameters(swapped, biases), *_options(op))
    return y, h[0]


def fused_rnn(op: SimpleRnn, w: Weights, x: Tensor, h: Tensor, mask: None) -> tuple[Tensor, ...]:
    biases = (w["bias"], torch.zeros_like(w["bias"])) if op.use_bias else None
    y, h = _RNN[str(op.activation)](x, h[None], _parameters(w, biases), *_options(op))
    return y, h[0]


def _loop(
    op: Recurrent,
    step: Callable[..., tuple[Tensor, ...]],
    z: Tensor,
    states: tuple[Tensor, ...],
    mask: Tensor | None,
) -> tuple[Tensor, ...]:
    """Runs ``step(z_t, *states) -> states`` over z (B, T, ...) under the masked-step rule."""
    ys: list[Tensor] = []
    output = torch.zeros_like(states[0])
    for t, z_t in enumerate(z.unbind(1)):
        new = step(z_t, *states)
        if mask is None:
            states, output = new, new[0]
        else:
            valid = mask[:, t, None]
            states = tuple(torch.where(valid, n, old) for n, old in zip(new, states, strict=True))
            held = torch.zeros_like(output) if op.zero_output_for_mask else output
            output = torch.where(valid, new[0], held)
        ys.append(output)
    return torch.stack(ys, 1), *states


def _project(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    return x @ kernel if bias is None else x @ kernel + bias


def loop_lstm(op: Lstm, w: Weights, x: Tensor, h: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    def step(z: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = torch.addmm(z, h, w["recurrent_kernel"]).chunk(4, 1)
        remembered = apply(op.recurrent_activation, f) * c
        c = remembered + apply(op.recurrent_activation, i) * apply(op.activation, g)
        return apply(op.recurrent_activation, o) * apply(op.activation, c), c

    return _loop(op, step, _project(x, w["kernel"], w.get("bias")), (h, c), mask)


def loop_gru(op: Gru, w: Weights, x: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    units = op.units
    bias = w.get("bias")
    recurrent_zr, recurrent_h = w["recurrent_kernel"].split((2 * units, units), 1)

    def candidate_after(z_h: Tensor, reset: Tensor, h: Tensor) -> Tensor:
        inner = h @ recurrent_h if bias is None else torch.addmm(bias[1, 2 * units :], h, recurrent_h)
        return z_h + reset * inner

    def candidate_before(z_h: Tensor, reset: Tensor, h: Tensor) -> Tensor:
        return torch.addmm(z_h, reset * h, recurrent_h)

    candidate = candidate_after if op.reset_after else candidate_before

    def step(z: Tensor, h: Tensor) -> tuple[Tensor]:
        z_zr, z_h = z.split((2 * units, units), 1)
        update, reset = (
            apply(op.recurrent_activation, gate) for gate in torch.addmm(z_zr, h, recurrent_zr).chunk(2, 1)
        )
        proposal = apply(op.activation, candidate(z_h, reset, h))
        return (update * h + (1 - update) * proposal,)

    z = _project(x, w["kernel"], bias if bias is None or not op.reset_after else bias[0])
    if bias is not None and op.reset_after:
        # The update and reset gates see both biases as one sum; only the candidate's stays apart.
        z = z + torch.cat((bias[1, : 2 * units], torch.zeros_like(bias[1, 2 * units :])))
    return _loop(op, step, z, (h,), mask)


def loop_rnn(op: SimpleRnn, w: Weights, x: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    def step(z: Tensor, h: Tensor) -> tuple[Tensor]:
        return (apply(op.activation, torch.addmm(z, h, w["recurrent_kernel"])),)

    return _loop(op, step, _project(x, w["kernel"], w.get("bias")), (h,), mask)
