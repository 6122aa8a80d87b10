"""The activation functions in NumPy. Written so that NaN passes through and float32 stays float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore.activations import Function

Array = NDArray[Any]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)); where exp overflows, the result is the 0 that it should round to."""
    y = np.exp(-x)
    y += 1
    return np.reciprocal(y, out=y)


def softplus(x: Array) -> Array:
    return np.logaddexp(x, np.zeros_like(x))


def relu(x: Array, negative_slope: float, max_value: float | None, threshold: float) -> Array:
    below = negative_slope * (x - threshold) if negative_slope else np.zeros_like(x)
    y = np.where(x <= threshold, below, x)
    return y if max_value is None else np.minimum(y, x.dtype.type(max_value))


def elu(x: Array, alpha: float) -> Array:
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x: Array, alpha: float) -> Array:
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha)


def gelu(x: Array, approximate: bool) -> Array:
    if approximate:
        return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    phi = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype(x.dtype)
    return x / 2 * (1 + phi)


def glu(x: Array, axis: int) -> Array:
    value, gate = np.split(x, 2, axis)
    return value * sigmoid(gate)


def softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def sparsemax(x: Array, axis: int) -> Array:
    """Martins & Astudillo 2016: subtract the tau for which the positive part sums to 1."""
    z = np.moveaxis(x, axis, -1)
    descending = np.sort(z, -1)[..., ::-1]  # a NaN comes first, and so reaches the whole row
    excess = np.cumsum(descending, -1) - 1
    rank = np.arange(1, z.shape[-1] + 1, dtype=x.dtype)
    support = np.maximum((descending * rank > excess).sum(-1, keepdims=True), 1)
    tau = np.take_along_axis(excess, support - 1, -1) / support.astype(x.dtype)
    return np.moveaxis(np.maximum(z - tau, 0), -1, axis)


FUNCTIONS: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "celu": celu,
        "elu": elu,
        "exponential": np.exp,
        "gelu": gelu,
        "glu": glu,
        "hard_shrink": lambda x, threshold: np.where(np.abs(x) <= threshold, np.zeros_like(x), x),
        "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
        "hard_sigmoid_0_2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
        "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        "hard_tanh": lambda x: np.clip(x, -1, 1),
        "leaky_relu": lambda x, negative_slope: np.where(x >= 0, x, negative_slope * x),
        "linear": lambda x: x,
        "log_sigmoid": lambda x: -softplus(-x),
        "log_softmax": log_softmax,
        "mish": lambda x: x * np.tanh(softplus(x)),
        "relu": relu,
        "relu6": lambda x: np.clip(x, 0, 6),
        "selu": lambda x: SELU_SCALE * elu(x, SELU_ALPHA),
        "sigmoid": sigmoid,
        "silu": lambda x: x * sigmoid(x),
        "soft_shrink": lambda x, threshold: x - np.clip(x, -threshold, threshold),
        "softmax": softmax,
        "softplus": softplus,
        "softsign": lambda x: x / (1 + np.abs(x)),
        "sparse_plus": lambda x: np.where(x >= 1, x, (np.maximum(x, -1) + 1) ** 2 / 4),
        "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
        "sparsemax": sparsemax,
        "squareplus": lambda x, b: (x + np.sqrt(x * x + b)) / 2,
        "tanh": np.tanh,
        "tanh_shrink": lambda x: x - np.tanh(x),
        "threshold": lambda x, threshold, default_value: np.where(x <= threshold, np.full_like(x, default_value), x),
    }
)


def apply(function: Function, x: Array) -> Array:
    return FUNCTIONS[function.name](x, **function.parameters)
