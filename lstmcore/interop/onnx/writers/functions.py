"""The activation functions in ONNX nodes, and those of them that ONNX's recurrent nodes know."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from lstmcore.activations import ALONG_AXIS, Function
from lstmcore.interop.onnx.graph import Graph
from lstmcore.ops import Tensor

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def write(graph: Graph, function: Function, x: str, tensor: Tensor) -> str:
    """``function(x)``; formulas in `lstmcore.activations`."""
    parameters: dict[str, Any] = function.parameters
    if function.name in ALONG_AXIS:
        axis = parameters["axis"] % len(tensor.shape)
        return _ALONG[function.name](graph, x, tensor, axis)
    return FUNCTIONS[function.name](_Maths(graph, x), x, **parameters)


@dataclass(frozen=True)
class _Maths:
    """Formulas with numbers in them."""

    graph: Graph
    x: str

    def __getattr__(self, kind: str) -> Callable[..., str]:
        def made(*given: str | float, **attributes: Any) -> str:
            return self.graph.op(
                kind, *(self.graph.number(v) if not isinstance(v, str) else v for v in given), **attributes
            )

        return made

    def at_most_0(self) -> str:
        return self.Min(self.x, 0.0)

    def tiny_exp(self, power: str) -> str:
        """exp(power) - 1."""
        return self.Sub(self.Exp(power), 1.0)

    def elu(self, alpha: float) -> str:
        return self.Where(self.GreaterOrEqual(self.x, 0.0), self.x, self.Mul(self.tiny_exp(self.at_most_0()), alpha))

    def gate(self, rate: float) -> str:
        """clip(x rate + 1/2, 0, 1)."""
        return self.Clip(self.Add(self.Mul(self.x, rate), 0.5), 0.0, 1.0)

    def softplus(self, x: str) -> str:
        """log(1 + exp(x)); ONNX Runtime has no node for it in float64."""
        if self.graph.dtype == np.float32:
            return self.Softplus(x)
        return self.Add(self.Max(x, 0.0), self.Log(self.Add(self.Exp(self.Neg(self.Abs(x))), 1.0)))

    def softsign(self) -> str:
        if self.graph.dtype == np.float32:
            return self.Softsign(self.x)
        return self.Div(self.x, self.Add(self.Abs(self.x), 1.0))

    def sixth(self) -> str:
        return self.Clip(self.Add(self.Div(self.x, 6.0), 0.5), 0.0, 1.0)


def _relu(m: _Maths, x: str, negative_slope: float, max_value: float | None, threshold: float) -> str:
    if not negative_slope and not threshold:
        y = m.Relu(x)
    else:
        below = m.Mul(m.Sub(x, float(threshold)), float(negative_slope)) if negative_slope else m.graph.number(0.0)
        y = m.Where(m.LessOrEqual(x, float(threshold)), below, x)
    return y if max_value is None else m.Min(y, float(max_value))


def _gelu(m: _Maths, x: str, approximate: bool) -> str:
    if approximate:
        inner = m.Add(x, m.Mul(m.Mul(m.Mul(x, x), x), 0.044715))
        phi = m.Tanh(m.Mul(inner, math.sqrt(2 / math.pi)))
    else:
        phi = m.Erf(m.Div(x, math.sqrt(2)))
    return m.Mul(m.Div(x, 2.0), m.Add(phi, 1.0))


def _sparse_plus(m: _Maths, x: str) -> str:
    bend = m.Add(m.Max(x, -1.0), 1.0)
    return m.Where(m.GreaterOrEqual(x, 1.0), x, m.Div(m.Mul(bend, bend), 4.0))


FUNCTIONS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {
        "celu": lambda m, x, alpha: m.Add(m.Max(x, 0.0), m.Mul(m.tiny_exp(m.Div(m.at_most_0(), alpha)), alpha)),
        "elu": lambda m, x, alpha: m.elu(alpha),
        "exponential": lambda m, x: m.Exp(x),
        "gelu": _gelu,
        "hard_shrink": lambda m, x, threshold: m.Where(m.LessOrEqual(m.Abs(x), threshold), 0.0, x),
        "hard_sigmoid": lambda m, x: m.sixth(),
        "hard_sigmoid_0_2": lambda m, x: m.gate(0.2),
        "hard_silu": lambda m, x: m.Mul(x, m.sixth()),
        "hard_tanh": lambda m, x: m.Clip(x, -1.0, 1.0),
        "leaky_relu": lambda m, x, negative_slope: m.Where(m.GreaterOrEqual(x, 0.0), x, m.Mul(x, negative_slope)),
        "linear": lambda m, x: x,
        "log_sigmoid": lambda m, x: m.Neg(m.softplus(m.Neg(x))),
        "mish": lambda m, x: m.Mul(x, m.Tanh(m.softplus(x))),
        "relu": _relu,
        "relu6": lambda m, x: m.Clip(x, 0.0, 6.0),
        "selu": lambda m, x: m.Mul(m.elu(SELU_ALPHA), SELU_SCALE),
        "sigmoid": lambda m, x: m.Sigmoid(x),
        "silu": lambda m, x: m.Mul(x, m.Sigmoid(x)),
        "soft_shrink": lambda m, x, threshold: m.Sub(x, m.Clip(x, -threshold, threshold)),
        "softplus": lambda m, x: m.softplus(x),
        "softsign": lambda m, x: m.softsign(),
        "sparse_plus": _sparse_plus,
        "sparse_sigmoid": lambda m, x: m.gate(0.5),
        "squareplus": lambda m, x, b: m.Div(m.Add(x, m.Sqrt(m.Add(m.Mul(x, x), b))), 2.0),
        "tanh": lambda m, x: m.Tanh(x),
        "tanh_shrink": lambda m, x: m.Sub(x, m.Tanh(x)),
        "threshold": lambda m, x, threshold, default_value: m.Where(
            m.LessOrEqual(x, threshold), float(default_value), x
        ),
    }
)


def _glu(graph: Graph, x: str, tensor: Tensor, axis: int) -> str:
    value, gate = graph.ops("Split", 2, x, axis=axis)
    return graph.op("Mul", value, graph.op("Sigmoid", gate))


def _sparsemax(graph: Graph, x: str, tensor: Tensor, axis: int) -> str:
    """Martins & Astudillo 2016, as in sorted order: the tau for which the positive part of x - tau sums to 1."""
    rank = len(tensor.shape)
    length = graph.length(x, tensor, axis)
    count = graph.shape([length])
    descending, _ = graph.ops("TopK", 2, x, count, axis=axis)
    one = graph.number(1.0)
    excess = graph.op("Sub", graph.op("CumSum", descending, graph.whole(axis)), one)
    ends = (graph.whole(1), graph.op("Add", graph.axes("Squeeze", count, [0]), graph.whole(1)), graph.whole(1))
    ranks = graph.op("Cast", graph.op("Range", *ends), to=graph.element("float"))
    ranks = graph.reshape(ranks, [-1, *[1] * (rank - 1 - axis)])
    inside = graph.op("Greater", graph.op("Mul", descending, ranks), excess)
    axes, to = graph.whole([axis]), graph.element("float")
    support = graph.op("ReduceSum", graph.op("Cast", inside, to=to), axes, keepdims=1)
    support = graph.op("Max", support, one)
    last = graph.op("Sub", graph.op("Cast", support, to=7), graph.whole(1))
    tau = graph.op("Div", graph.op("GatherElements", excess, last, axis=axis), support)
    return graph.op("Max", graph.op("Sub", x, tau), graph.number(0.0))


_ALONG: Mapping[str, Callable[[Graph, str, Tensor, int], str]] = MappingProxyType(
    {
        "glu": _glu,
        "log_softmax": lambda g, x, tensor, axis: g.op("LogSoftmax", x, axis=axis),
        "softmax": lambda g, x, tensor, axis: g.op("Softmax", x, axis=axis),
        "sparsemax": _sparsemax,
    }
)


@dataclass(frozen=True)
class Gate:
    """An activation function as ONNX's recurrent nodes name it."""

    name: str
    alpha: float | None = None
    beta: float | None = None


# Those that ONNX has, and ONNX Runtime computes right (measured: see tests/interop/onnx/test_recurrent_out.py).
GATES: Mapping[str, Callable[..., Gate | None]] = MappingProxyType(
    {
        "tanh": lambda: Gate("Tanh"),
        "sigmoid": lambda: Gate("Sigmoid"),
        "relu": lambda negative_slope, max_value, threshold: (
            Gate("Relu") if (negative_slope, max_value, threshold) == (0, None, 0) else None
        ),
        "hard_sigmoid": lambda: Gate("HardSigmoid", 1 / 6, 0.5),
        "hard_sigmoid_0_2": lambda: Gate("HardSigmoid", 0.2, 0.5),
        "sparse_sigmoid": lambda: Gate("HardSigmoid", 0.5, 0.5),
        "linear": lambda: Gate("Affine", 1.0, 0.0),
        "leaky_relu": lambda negative_slope: Gate("LeakyRelu", float(negative_slope)),
        "elu": lambda alpha: Gate("Elu", float(alpha)),
        "softsign": lambda: Gate("Softsign"),
        "softplus": lambda: Gate("Softplus"),
    }
)


def gate(function: Function) -> Gate | None:
    """The function in a recurrent node; None where it has none."""
    found = GATES.get(function.name)
    return None if found is None else found(**function.parameters)
