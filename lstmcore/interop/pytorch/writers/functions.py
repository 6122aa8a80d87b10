"""The activation functions in PyTorch, as expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lstmcore.activations import Function
from lstmcore.interop.pytorch.scope import File
from lstmcore.interop.pytorch.text import atom, number

Writer = Callable[..., str]


def _call(name: str) -> Writer:
    """``name(x)``."""
    return lambda file, x: f"{name}({x})"


def _along(name: str) -> Writer:
    return lambda file, x, axis: f"{name}({x}, dim={axis})"


def _relu(file: File, x: str, negative_slope: float, max_value: float | None, threshold: float) -> str:
    if threshold or max_value is not None:
        most = "None" if max_value is None else number(max_value)
        return f"{file.helper('clipped_relu')}({x}, {number(negative_slope)}, {most}, {number(threshold)})"
    return f"F.leaky_relu({x}, {number(negative_slope)})" if negative_slope else f"torch.relu({x})"


def _softplus(file: File, x: str) -> str:
    # Above its threshold F.softplus is the identity, which float64 can see.
    return f"F.softplus({x})" if file.dtype == "float32" else f"{file.helper('softplus')}({x})"


def _gelu(file: File, x: str, approximate: bool) -> str:
    return f'F.gelu({x}, approximate="tanh")' if approximate else f"F.gelu({x})"


FUNCTIONS: Mapping[str, Writer] = MappingProxyType(
    {
        "celu": lambda file, x, alpha: f"F.celu({x}, {number(alpha)})",
        "elu": lambda file, x, alpha: f"F.elu({x}, {number(alpha)})",
        "exponential": _call("torch.exp"),
        "gelu": _gelu,
        "glu": _along("F.glu"),
        "hard_shrink": lambda file, x, threshold: f"F.hardshrink({x}, {number(threshold)})",
        "hard_sigmoid": _call("F.hardsigmoid"),
        "hard_sigmoid_0_2": lambda file, x: f"{file.helper('hard_sigmoid')}({x})",
        "hard_silu": _call("F.hardswish"),
        "hard_tanh": _call("F.hardtanh"),
        "leaky_relu": lambda file, x, negative_slope: f"F.leaky_relu({x}, {number(negative_slope)})",
        "linear": lambda file, x: x,
        "log_sigmoid": lambda file, x: f"-{_softplus(file, f'-{atom(x)}')}",
        "log_softmax": _along("torch.log_softmax"),
        "mish": _call("F.mish"),
        "relu": _relu,
        "relu6": _call("F.relu6"),
        "selu": _call("torch.selu"),
        "sigmoid": _call("torch.sigmoid"),
        "silu": _call("F.silu"),
        "soft_shrink": lambda file, x, threshold: f"F.softshrink({x}, {number(threshold)})",
        "softmax": _along("torch.softmax"),
        "softplus": _softplus,
        "softsign": _call("F.softsign"),
        "sparse_plus": lambda file, x: f"torch.where({x} > 1, {x}, ({atom(x)}.clamp(min=-1) + 1).square() / 4)",
        "sparse_sigmoid": lambda file, x: f"({atom(x)}.clamp(-1, 1) + 1) / 2",
        "sparsemax": lambda file, x, axis: f"{file.helper('sparsemax')}({x}, dim={axis})",
        "squareplus": lambda file, x, b: f"({x} + torch.sqrt({atom(x)}.square() + {number(b)})) / 2",
        "tanh": _call("torch.tanh"),
        "tanh_shrink": _call("F.tanhshrink"),
        "threshold": lambda file, x, threshold, default_value: (
            f"F.threshold({x}, {number(threshold)}, {number(default_value)})"
        ),
    }
)
TWICE = ("sparse_plus", "squareplus")  # they read x more than once


def written(file: File, function: Function, x: str) -> str:
    """``function(x)``; x is a name where the function is in `TWICE`."""
    return FUNCTIONS[function.name](file, x, **function.parameters)
