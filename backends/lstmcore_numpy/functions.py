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


def _where(condition: Array, like: Array) -> Array:
    """1 where it holds, else 0."""
    return condition.astype(like.dtype)


def _relu_slope(x: Array, y: Array, negative_slope: float, max_value: float | None, threshold: float) -> Array:
    if not negative_slope and max_value is None and not threshold:
        return _where(y > 0, y)
    slope = np.where(x > threshold, np.ones_like(x), np.full_like(x, negative_slope))
    return slope if max_value is None else slope * (x <= max_value)


def _gelu_slope(x: Array, y: Array, approximate: bool) -> Array:
    if approximate:
        rate = math.sqrt(2 / math.pi)
        t = np.tanh(rate * (x + 0.044715 * x * x * x))
        return (1 + t) / 2 + x / 2 * (1 - t * t) * rate * (1 + 3 * 0.044715 * x * x)
    phi = np.divide(y, x, out=np.full_like(x, 0.5), where=x != 0)  # Φ(x), as y = x Φ(x)
    return phi + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _hard_slope(x: Array) -> Array:
    return _where(np.abs(x) < 3, x) / 6


def _silu_slope(x: Array, y: Array) -> Array:
    s = sigmoid(x)
    return s + y * (1 - s)


def _mish_slope(x: Array, y: Array) -> Array:
    t = np.tanh(softplus(x))
    return t + x * (1 - t * t) * sigmoid(x)


# The derivatives, from x and y = f(x); that of a function in FROM_Y from y alone. At a kink, what Keras on
# TensorFlow gives (tf.GradientTape, measured): at their bounds hard_tanh, hard_sigmoid_0_2 and relu's max_value pass
# the gradient on, but hard_sigmoid, hard_silu's gate, sparse_sigmoid and relu6 do not; at 0 relu and leaky_relu have
# their negative slope, elu alpha, selu its scale; at their thresholds shrinks and threshold are shut. Unlike there
# celu has 1 at 0, its slope on both sides (there 2), and relu(max_value=6) passes on at 6 as any other (there not).
SLOPES: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "celu": lambda x, y, alpha: np.exp(np.minimum(x, 0) / alpha),
        "elu": lambda x, y, alpha: np.where(x > 0, np.ones_like(x), alpha * np.exp(np.minimum(x, 0))),
        "exponential": lambda x, y: y,
        "gelu": _gelu_slope,
        "hard_shrink": lambda x, y, threshold: _where(np.abs(x) > threshold, x),
        "hard_sigmoid": lambda x, y: _hard_slope(x),
        "hard_sigmoid_0_2": lambda x, y: 0.2 * _where(np.abs(x) <= 2.5, x),
        "hard_silu": lambda x, y: np.clip(x / 6 + 0.5, 0, 1) + x * _hard_slope(x),
        "hard_tanh": lambda x, y: _where(np.abs(x) <= 1, x),
        "leaky_relu": lambda x, y, negative_slope: np.where(x > 0, np.ones_like(x), np.full_like(x, negative_slope)),
        "linear": lambda x, y: np.ones_like(y),
        "log_sigmoid": lambda x, y: -np.expm1(y),
        "mish": _mish_slope,
        "relu": _relu_slope,
        "relu6": lambda x, y: _where((x > 0) & (x < 6), x),
        "selu": lambda x, y: SELU_SCALE * np.where(x >= 0, np.ones_like(x), SELU_ALPHA * np.exp(np.minimum(x, 0))),
        "sigmoid": lambda x, y: y * (1 - y),
        "silu": _silu_slope,
        "soft_shrink": lambda x, y, threshold: _where(np.abs(x) > threshold, x),
        "softplus": lambda x, y: -np.expm1(-y),
        "softsign": lambda x, y: 1 / np.square(1 + np.abs(x)),
        "sparse_plus": lambda x, y: np.clip((x + 1) / 2, 0, 1),
        "sparse_sigmoid": lambda x, y: _where(np.abs(x) < 1, x) / 2,
        "squareplus": lambda x, y, b: (1 + x / np.sqrt(x * x + b)) / 2,
        "tanh": lambda x, y: 1 - y * y,
        "tanh_shrink": lambda x, y: np.square(np.tanh(x)),
        "threshold": lambda x, y, threshold, default_value: _where(x > threshold, x),
    }
)
FROM_Y = frozenset(
    {
        *map(Function, ("exponential", "linear", "log_sigmoid", "log_softmax", "relu")),
        *map(Function, ("sigmoid", "softmax", "softplus", "sparsemax", "tanh")),
    }
)


def _glu_back(dy: Array, x: Array, y: Array, axis: int) -> Array:
    gate = sigmoid(np.split(x, 2, axis)[1])
    return np.concatenate([dy * gate, dy * y * (1 - gate)], axis)


def _sparsemax_back(dy: Array, x: Array, y: Array, axis: int) -> Array:
    support = _where(y > 0, y)
    return support * (dy - (support * dy).sum(axis, keepdims=True) / support.sum(axis, keepdims=True))


# dx from dy, x and y for the functions in which numbers along an axis meet.
BACK_ALONG_AXIS: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "glu": _glu_back,
        "log_softmax": lambda dy, x, y, axis: dy - np.exp(y) * dy.sum(axis, keepdims=True),
        "softmax": lambda dy, x, y, axis: y * (dy - (dy * y).sum(axis, keepdims=True)),
        "sparsemax": _sparsemax_back,
    }
)


def slope(function: Function, x: Array | None, y: Array) -> Array:
    """dy/dx of a function number by number; of one in FROM_Y, x may be None. Not to be written to."""
    return SLOPES[function.name](x, y, **function.parameters)


def backward(function: Function, x: Array | None, y: Array, dy: Array) -> Array:
    """The gradient of x from that of y = function(x)."""
    if function.name in BACK_ALONG_AXIS:
        return BACK_ALONG_AXIS[function.name](dy, x, y, **function.parameters)
    return dy * slope(function, x, y)
