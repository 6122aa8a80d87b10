"""torch's own recurrent kernels, for the options whose formula is ours.

A mask is no obstacle to them: a masked step keeps the states, so the valid steps of each sample
alone, put one after the other, give the same states. Torch runs such sequences of unequal length
packed: the first steps of all samples, the longest sample first, then the second steps, ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lstmcore.contract import Facts
from lstmcore.layouts import LAYOUTS
from lstmcore.ops import Gru, Lstm, Recurrent, SimpleRnn

Weights = Mapping[str, Tensor]
Result = tuple[Tensor, ...]
_RNN: dict[str, Callable[..., Result]] = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}


def _standard(op: Recurrent) -> bool:
    if isinstance(op, SimpleRnn):
        return str(op.activation) in _RNN
    gates = (op.activation.name, op.recurrent_activation.name)  # type: ignore[attr-defined]
    return gates == ("tanh", "sigmoid") and getattr(op, "reset_after", True)


def standard_lstm(op: Lstm, facts: Facts) -> bool:
    """activation tanh, recurrent_activation sigmoid, no mask"""
    return _standard(op) and not facts.masked


def standard_gru(op: Gru, facts: Facts) -> bool:
    """activation tanh, recurrent_activation sigmoid, reset_after, no mask"""
    return _standard(op) and not facts.masked


def standard_rnn(op: SimpleRnn, facts: Facts) -> bool:
    """activation tanh or plain relu, no mask"""
    return _standard(op) and not facts.masked


def masked_lstm(op: Lstm, facts: Facts) -> bool:
    """activation tanh, recurrent_activation sigmoid, a mask"""
    return _standard(op) and facts.masked


def masked_gru(op: Gru, facts: Facts) -> bool:
    """activation tanh, recurrent_activation sigmoid, reset_after, a mask"""
    return _standard(op) and facts.masked


def masked_rnn(op: SimpleRnn, facts: Facts) -> bool:
    """activation tanh or plain relu, a mask"""
    return _standard(op) and facts.masked


def _sorted(a: Tensor) -> Tensor:
    """The gates of a GRU in torch's order."""
    own = dict(zip(Gru.gates, a.chunk(3, -1), strict=True))
    return torch.cat([own[gate] for gate in LAYOUTS["pytorch"][Gru].gates], -1)


def _parameters(op: Recurrent, w: Weights) -> list[Tensor]:
    """Torch's form: rows are gates; two biases."""
    own = {port: _sorted(a) for port, a in w.items()} if isinstance(op, Gru) else w
    matrices = [own["kernel"].t().contiguous(), own["recurrent_kernel"].t().contiguous()]
    if not op.use_bias:
        return matrices
    bias = own["bias"]
    return [*matrices, *(bias if isinstance(op, Gru) else (bias, torch.zeros_like(bias)))]


def _call(op: Recurrent, w: Weights, sequence: tuple[Any, ...], states: Result, *batch_first: bool) -> Result:
    """Torch's kernel on ``sequence``: x alone, or packed rows and the number of samples at each step."""
    options = (op.use_bias, 1, 0.0, torch.is_grad_enabled(), False)  # biases, layers, dropout, train, bidirectional
    function = {Lstm: torch.lstm, Gru: torch.gru}.get(type(op)) or _RNN[str(op.activation)]
    entering = tuple(state[None] for state in states)
    hidden = entering if isinstance(op, Lstm) else entering[0]
    y, *after = function(*sequence, hidden, _parameters(op, w), *options, *batch_first)  # type: ignore[operator]
    return y, *(state[0] for state in after)


def fused(op: Recurrent, w: Weights, x: Tensor, *rest: Any) -> Result:
    *states, _mask, _previous = rest
    return _call(op, w, (x,), tuple(states), True)


def packed(op: Recurrent, w: Weights, x: Tensor, *rest: Any) -> Result:
    *states, mask, previous = rest
    held = x.new_zeros(()) if previous is None or op.zero_output_for_mask else previous[:, None]
    if not mask.any():
        return held.expand(*mask.shape, op.units).clone(), *states
    count = mask.cumsum(1)  # the valid steps up to and including t
    lengths = count[:, -1]
    order = lengths.argsort(descending=True, stable=True)
    sizes = (lengths > torch.arange(int(lengths.max()), device=x.device)[:, None]).sum(1)
    # Row k of sample b, in order of length, is the first of step k plus its place; count == 0 has none.
    first = sizes.cumsum(0) - sizes
    rows = torch.where(count > 0, first[(count - 1).clamp(min=0)] + order.argsort()[:, None], 0)
    valid = x[mask]
    data = torch.empty_like(valid).index_copy(0, rows[mask], valid)
    running = order[: int(sizes[0])]  # samples without any valid step stay outside
    y, *after = _call(op, w, (data, sizes.cpu()), tuple(state[running] for state in states))
    shown = mask if op.zero_output_for_mask else count > 0
    y = torch.where(shown[..., None], y[rows], held)
    return y, *(old.index_copy(0, running, new) for old, new in zip(states, after, strict=True))
