"""The activation functions in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from lstmcore.activations import Function


def softplus(x: Tensor) -> Tensor:
    # F.softplus turns into the identity above a threshold, which float64 can see.
    return torch.logaddexp(x, torch.zeros_like(x))


def relu(x: Tensor, negative_slope: float, max_value: float | None, threshold: float) -> Tensor:
    if threshold == 0:
        y = F.leaky_relu(x, negative_slope) if negative_slope else torch.relu(x)
    else:
        y = torch.where(x <= threshold, negative_slope * (x - threshold), x)
    return y if max_value is None else y.clamp(max=max_value)


def selu(x: Tensor) -> Tensor:
    # torch.selu has at 0 the slope of the other side.
    return 1.0507009873554805 * torch.where(x >= 0, x, 1.6732632423543772 * torch.expm1(x.clamp(max=0)))


def gelu(x: Tensor, approximate: bool) -> Tensor:
    # F.gelu(inf) is NaN in float32 on the CPU (2.13, measured).
    if approximate:
        return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return x / 2 * (1 + torch.erf(x / math.sqrt(2)))


def sparsemax(x: Tensor, axis: int) -> Tensor:
    z = x.movedim(axis, -1)
    ordered = z.sort(-1, descending=True).values
    excess = ordered.cumsum(-1) - 1
    rank = torch.arange(1, z.shape[-1] + 1, dtype=x.dtype, device=x.device)
    support = (ordered * rank > excess).sum(-1, keepdim=True).clamp(min=1)
    tau = excess.gather(-1, support - 1) / support
    return (z - tau).clamp(min=0).movedim(-1, axis)


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        # F.celu's backward is only as good as float32 (2.13, measured).
        "celu": lambda x, alpha: torch.where(x >= 0, x, alpha * torch.expm1(x.clamp(max=0) / alpha)),
        "elu": lambda x, alpha: F.elu(x, alpha),
        "exponential": torch.exp,
        "gelu": gelu,
        "glu": lambda x, axis: F.glu(x, axis),
        "hard_shrink": lambda x, threshold: F.hardshrink(x, threshold),
        # F.hardsigmoid's backward is only as good as float32 (2.13, measured).
        "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
        "hard_sigmoid_0_2": lambda x: (0.2 * x + 0.5).clamp(0, 1),
        "hard_silu": F.hardswish,
        "hard_tanh": lambda x: x.clamp(-1, 1),
        "leaky_relu": lambda x, negative_slope: F.leaky_relu(x, negative_slope),
        "linear": lambda x: x,
        "log_sigmoid": lambda x: -softplus(-x),
        "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
        "mish": lambda x: x * torch.tanh(softplus(x)),
        "relu": relu,
        "relu6": F.relu6,
        "selu": selu,
        "sigmoid": torch.sigmoid,
        "silu": F.silu,
        "soft_shrink": lambda x, threshold: F.softshrink(x, threshold),
        "softmax": lambda x, axis: torch.softmax(x, axis),
        "softplus": softplus,
        "softsign": F.softsign,
        "sparse_plus": lambda x: torch.where(x >= 1, x, (x.clamp(min=-1) + 1).square() / 4),
        "sparse_sigmoid": lambda x: torch.where(x.abs() < 1, x, x.detach().clamp(-1, 1)) / 2 + 0.5,
        "sparsemax": sparsemax,
        "squareplus": lambda x, b: (x + (x.square() + b).sqrt()) / 2,
        "tanh": torch.tanh,
        "tanh_shrink": F.tanhshrink,
        "threshold": lambda x, threshold, default_value: torch.where(
            x <= threshold, torch.full_like(x, default_value), x
        ),
    }
)


def apply(function: Function, x: Tensor) -> Tensor:
    return FUNCTIONS[function.name](x, **function.parameters)
