"""Oracle 1, arithmetic on paper: one unit, one or two steps, every gate written out with `math`.

Nothing here comes from lstmcore or NumPy, so that no mistake of theirs can agree with itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Sheet:
    """A layer, its weights and inputs, and what must come out (y, h, c: None where the layer has no such output)."""

    layer: str
    options: Mapping[str, Any]
    weights: Mapping[str, Any]
    inputs: Any
    expected: Mapping[str, Any]
    states: tuple[Any, ...] = ()
    mask: Any = None
    about: str = field(default="", compare=False)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Exact in binary, so that float32 and float64 read the same numbers.
LSTM_WEIGHTS = {
    "kernel": [[0.5, -0.75, 1.25, 0.25]],
    "recurrent_kernel": [[-0.5, 0.375, 0.625, -1.0]],
    "bias": [0.125, 0.75, -0.25, -0.375],
}


def lstm_one_step() -> Sheet:
    x, h, c = 0.5, 0.25, 0.75
    i = sigmoid(0.5 * x - 0.5 * h + 0.125)
    f = sigmoid(-0.75 * x + 0.375 * h + 0.75)
    g = math.tanh(1.25 * x + 0.625 * h - 0.25)
    o = sigmoid(0.25 * x - 1.0 * h - 0.375)
    c1 = f * c + i * g
    h1 = o * math.tanh(c1)
    return Sheet(
        "LSTM",
        {"units": 1, "return_state": True},
        LSTM_WEIGHTS,
        [[[x]]],
        {"y": [[h1]], "h": [[h1]], "c": [[c1]]},
        states=([[h]], [[c]]),
    )


def lstm_two_steps_backwards() -> Sheet:
    """go_backwards reads the second number first, and gives its output first."""
    first, second = 0.75, 0.5  # in the order of processing
    i = sigmoid(0.5 * first + 0.125)
    g = math.tanh(1.25 * first - 0.25)
    o = sigmoid(0.25 * first - 0.375)
    c1 = i * g
    h1 = o * math.tanh(c1)
    i = sigmoid(0.5 * second - 0.5 * h1 + 0.125)
    f = sigmoid(-0.75 * second + 0.375 * h1 + 0.75)
    g = math.tanh(1.25 * second + 0.625 * h1 - 0.25)
    o = sigmoid(0.25 * second - 1.0 * h1 - 0.375)
    c2 = f * c1 + i * g
    h2 = o * math.tanh(c2)
    return Sheet(
        "LSTM",
        {"units": 1, "return_sequences": True, "return_state": True, "go_backwards": True},
        LSTM_WEIGHTS,
        [[[0.5], [0.75]]],
        {"y": [[[h1], [h2]]], "h": [[h2]], "c": [[c2]]},
    )


def lstm_masked() -> Sheet:
    """Steps: masked, valid, masked. Zeros before the first valid step, then the output repeats; the states stay."""
    x, h, c = 0.5, 0.25, 0.75
    i = sigmoid(0.5 * x - 0.5 * h + 0.125)
    f = sigmoid(-0.75 * x + 0.375 * h + 0.75)
    g = math.tanh(1.25 * x + 0.625 * h - 0.25)
    o = sigmoid(0.25 * x - 1.0 * h - 0.375)
    c1 = f * c + i * g
    h1 = o * math.tanh(c1)
    return Sheet(
        "LSTM",
        {"units": 1, "return_sequences": True, "return_state": True},
        LSTM_WEIGHTS,
        [[[2.0], [x], [-3.0]]],
        {"y": [[[0.0], [h1], [h1]]], "h": [[h1]], "c": [[c1]]},
        states=([[h]], [[c]]),
        mask=[[False, True, False]],
    )


def gru_reset_after() -> Sheet:
    x, h = 0.75, 0.5
    z = sigmoid(0.5 * x + 0.125 + 0.75 * h - 0.375)
    r = sigmoid(-1.25 * x + 0.5 - 0.625 * h + 0.25)
    g = math.tanh(0.875 * x - 0.25 + r * (1.125 * h + 0.625))
    h1 = z * h + (1 - z) * g
    return Sheet(
        "GRU",
        {"units": 1, "return_state": True},
        {
            "kernel": [[0.5, -1.25, 0.875]],
            "recurrent_kernel": [[0.75, -0.625, 1.125]],
            "bias": [[0.125, 0.5, -0.25], [-0.375, 0.25, 0.625]],
        },
        [[[x]]],
        {"y": [[h1]], "h": [[h1]]},
        states=([[h]],),
    )


def gru_reset_before() -> Sheet:
    """Two units: with one, (r h) U and r (h U) are the same number."""
    x, h0, h1 = 0.75, -0.5, 0.25
    z0 = sigmoid(0.5 * x + 0.125 + 0.75 * h0 - 0.5 * h1)
    z1 = sigmoid(-0.25 * x - 0.25 + 0.375 * h0 + 0.625 * h1)
    r0 = sigmoid(-1.25 * x + 0.5 - 0.625 * h0 + 1.0 * h1)
    r1 = sigmoid(0.75 * x - 0.125 + 0.25 * h0 - 0.75 * h1)
    g0 = math.tanh(0.875 * x - 0.375 + 1.125 * (r0 * h0) - 0.875 * (r1 * h1))
    g1 = math.tanh(-0.5 * x + 0.625 + 0.5 * (r0 * h0) + 1.25 * (r1 * h1))
    y = [[z0 * h0 + (1 - z0) * g0, z1 * h1 + (1 - z1) * g1]]
    return Sheet(
        "GRU",
        {"units": 2, "return_state": True, "reset_after": False},
        {
            "kernel": [[0.5, -0.25, -1.25, 0.75, 0.875, -0.5]],
            "recurrent_kernel": [[0.75, 0.375, -0.625, 0.25, 1.125, 0.5], [-0.5, 0.625, 1.0, -0.75, -0.875, 1.25]],
            "bias": [0.125, -0.25, 0.5, -0.125, -0.375, 0.625],
        },
        [[[x]]],
        {"y": y, "h": y},
        states=([[h0, h1]],),
    )


def simple_rnn_two_steps() -> Sheet:
    h1 = math.tanh(0.75 * 0.5 + 0.625 * 0.25 - 0.125)
    h2 = math.tanh(0.75 * -1.25 + 0.625 * h1 - 0.125)
    return Sheet(
        "SimpleRNN",
        {"units": 1, "return_sequences": True, "return_state": True},
        {"kernel": [[0.75]], "recurrent_kernel": [[0.625]], "bias": [-0.125]},
        [[[0.5], [-1.25]]],
        {"y": [[[h1], [h2]]], "h": [[h2]]},
        states=([[0.25]],),
    )


def dense_softmax() -> Sheet:
    a, b = 0.5 * 1.5 - 0.25 * -0.5 + 0.125, -1.0 * 1.5 + 0.75 * -0.5 - 0.375
    total = math.exp(a) + math.exp(b)
    return Sheet(
        "Dense",
        {"units": 2, "activation": "softmax"},
        {"kernel": [[0.5, -1.0], [-0.25, 0.75]], "bias": [0.125, -0.375]},
        [[1.5, -0.5]],
        {"y": [[math.exp(a) / total, math.exp(b) / total]]},
    )


def gelu_exact() -> Sheet:
    points = [-1.0, -0.25, 0.5, 2.0]
    y = [p * (1 + math.erf(p / math.sqrt(2))) / 2 for p in points]
    return Sheet("Activation", {"activation": "gelu"}, {}, [points], {"y": [y]})


SHEETS: Mapping[str, Callable[[], Sheet]] = MappingProxyType(
    {
        f.__name__: f
        for f in (
            lstm_one_step,
            lstm_two_steps_backwards,
            lstm_masked,
            gru_reset_after,
            gru_reset_before,
            simple_rnn_two_steps,
            dense_softmax,
            gelu_exact,
        )
    }
)
