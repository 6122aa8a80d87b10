"""The activation functions in C, of one number ``x``; formulas in `lstmcore.activations`. NaN passes through all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lstmcore.activations import Function
from lstmcore.interop.c.code import Helpers

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _clip(x: str, low: str, high: str) -> str:
    return f"({x} < {low} ? {low} : {x} > {high} ? {high} : {x})"


def _clipped(h: Helpers, x: str, low: float, high: float) -> str:
    """A helper, so that ``x`` is computed once."""
    text = f"static inline {h.real} @NAME({h.real} x) {{ return {_clip('x', h.number(low), h.number(high))}; }}"
    return f"{h.need('clip', text)}({x})"


def _elu(h: Helpers, alpha: float, scale: float = 1.0) -> str:
    positive, negative = "x", f"{h.number(alpha)} * {h.maths('expm1')}(x)"
    if scale != 1:
        positive, negative = f"{h.number(scale)} * x", f"{h.number(scale)} * ({negative})"
    return f"x >= 0 ? {positive} : {negative}"


def _relu(h: Helpers, negative_slope: float, max_value: float | None, threshold: float) -> str:
    below = f"{h.number(negative_slope)} * (x - {h.number(threshold)})" if negative_slope else h.number(0)
    top = "x" if max_value is None else f"(x > {h.number(max_value)} ? {h.number(max_value)} : x)"
    if max_value is not None:
        below = f"({below} > {h.number(max_value)} ? {h.number(max_value)} : {below})"
    return f"x <= {h.number(threshold)} ? {below} : {top}"


def _gelu(h: Helpers, approximate: bool) -> str:
    if approximate:
        inner = f"{h.number(math.sqrt(2 / math.pi))} * (x + {h.number(0.044715)} * x * x * x)"
        return f"x / 2 * (1 + {h.maths('tanh')}({inner}))"
    return f"x / 2 * (1 + {h.maths('erf')}(x / {h.number(math.sqrt(2))}))"


def _celu(h: Helpers, alpha: float) -> str:
    a = h.number(alpha)
    return f"(x < 0 ? 0 : x) + {a} * {h.maths('expm1')}((x > 0 ? 0 : x) / {a})"


def _softplus(h: Helpers, x: str) -> str:
    bigger = f"({x} < 0 ? 0 : {x})"
    return f"{bigger} + {h.maths('log1p')}({h.maths('exp')}(-{h.maths('fabs')}({x})))"


def _sigmoid(h: Helpers) -> str:
    return f"1 / (1 + {h.maths('exp')}(-x))"


def _sixth(h: Helpers) -> str:
    return _clipped(h, f"x / 6 + {h.number(0.5)}", 0, 1)


def _sparse_plus(h: Helpers) -> str:
    return "x >= 1 ? x : x <= -1 ? 0 : (x + 1) * (x + 1) / 4"


BODIES: Mapping[str, Callable[..., str]] = MappingProxyType(
    {
        "celu": _celu,
        "elu": _elu,
        "exponential": lambda h: f"{h.maths('exp')}(x)",
        "gelu": _gelu,
        "hard_shrink": lambda h, threshold: f"{h.maths('fabs')}(x) <= {h.number(threshold)} ? 0 : x",
        "hard_sigmoid": _sixth,
        "hard_sigmoid_0_2": lambda h: _clipped(h, f"{h.number(0.2)} * x + {h.number(0.5)}", 0, 1),
        "hard_silu": lambda h: f"x * {_sixth(h)}",
        "hard_tanh": lambda h: _clip("x", h.number(-1), h.number(1)),
        "leaky_relu": lambda h, negative_slope: f"x >= 0 ? x : {h.number(negative_slope)} * x",
        "linear": lambda h: "x",
        "log_sigmoid": lambda h: f"-({_softplus(h, '(-x)')})",
        "mish": lambda h: f"x * {h.maths('tanh')}({_softplus(h, 'x')})",
        "relu": _relu,
        "relu6": lambda h: _clip("x", h.number(0), h.number(6)),
        "selu": lambda h: _elu(h, _SELU_ALPHA, _SELU_SCALE),
        "sigmoid": _sigmoid,
        "silu": lambda h: f"x * ({_sigmoid(h)})",
        "soft_shrink": lambda h, threshold: f"x - {_clip('x', h.number(-threshold), h.number(threshold))}",
        "softplus": lambda h: _softplus(h, "x"),
        "softsign": lambda h: f"x / (1 + {h.maths('fabs')}(x))",
        "sparse_plus": _sparse_plus,
        "sparse_sigmoid": lambda h: _clipped(h, f"(x + 1) * {h.number(0.5)}", 0, 1),
        "squareplus": lambda h, b: f"(x + {h.maths('sqrt')}(x * x + {h.number(b)})) / 2",
        "tanh": lambda h: f"{h.maths('tanh')}(x)",
        "tanh_shrink": lambda h: f"x - {h.maths('tanh')}(x)",
        "threshold": lambda h, threshold, default_value: f"x <= {h.number(threshold)} ? {h.number(default_value)} : x",
    }
)


def scalar(helpers: Helpers, function: Function) -> str | None:
    """The name of a C function of one number; None for a function along an axis."""
    if function.name not in BODIES:
        return None
    parameters: dict[str, Any] = function.parameters
    body = BODIES[function.name](helpers, **parameters)
    real = helpers.real
    return helpers.need(function.name, f"static inline {real} @NAME({real} x) {{ return {body}; }}")


PRODUCT = """\
/* y += x k, x of `in` numbers, k (in, out) in rows of `stride`. What is added up are sums of 32 products, which
   rounds less than one long sum. */
static inline void @NAME(const @REAL *x, int in, const @REAL *k, int stride, int out, @REAL *y)
{
    for (int j = 0; j < out; j += 8) {
        const int width = out - j < 8 ? out - j : 8;
        @REAL total[8] = {0};
        for (int begin = 0; begin < in; begin += 32) {
            const int end = in - begin < 32 ? in : begin + 32;
            @REAL sum[8] = {0};
            for (int i = begin; i < end; i++)
                for (int w = 0; w < width; w++)
                    sum[w] += x[i] * k[(size_t)i * stride + j + w];
            for (int w = 0; w < width; w++)
                total[w] += sum[w];
        }
        for (int w = 0; w < width; w++)
            y[j + w] += total[w];
    }
}"""

# What each recurrent op does with the gates of one step: z has them side by side, x W + b already in it.
STEPS: Mapping[str, str] = MappingProxyType(
    {
        "Lstm": """\
        /* z = x_t @ kernel + h @ recurrent_kernel + bias, gates i, f, c, o side by side
           c = f * c + i * g,  h = o * @ACT(c) */
        @PRODUCT(h, units, recurrent, 4 * units, 4 * units, z);
        for (int u = 0; u < units; u++) {
            const @REAL remembered = @GATE(z[units + u]) * c[u];
            const @REAL added = @GATE(z[u]) * @ACT(z[2 * units + u]);
            c[u] = remembered + added;
            h[u] = @GATE(z[3 * units + u]) * @ACT(c[u]);
        }
""",
        "GruAfter": """\
        /* gates z, r, h side by side; reset_after:
           h' = @ACT(x W_h + b_h + r * (h U_h + d_h)),  h = z * h + (1 - z) * h' */
        @REAL *inner = z + 3 * units;
        for (int j = 0; j < 3 * units; j++)
            inner[j] = bias ? bias[3 * units + j] : 0;
        @PRODUCT(h, units, recurrent, 3 * units, 3 * units, inner);
        for (int u = 0; u < units; u++) {
            const @REAL update = @GATE(z[u] + inner[u]);
            const @REAL reset = @GATE(z[units + u] + inner[units + u]);
            const @REAL candidate = @ACT(z[2 * units + u] + reset * inner[2 * units + u]);
            h[u] = update * h[u] + (1 - update) * candidate;
        }
""",
        "GruBefore": """\
        /* gates z, r, h side by side; not reset_after:
           h' = @ACT(x W_h + b_h + (r * h) U_h),  h = z * h + (1 - z) * h' */
        @REAL *heard = z + 3 * units;
        @PRODUCT(h, units, recurrent, 3 * units, 2 * units, z);
        for (int u = 0; u < units; u++)
            heard[u] = @GATE(z[units + u]) * h[u];
        @PRODUCT(heard, units, recurrent + 2 * units, 3 * units, units, z + 2 * units);
        for (int u = 0; u < units; u++) {
            const @REAL update = @GATE(z[u]);
            h[u] = update * h[u] + (1 - update) * @ACT(z[2 * units + u]);
        }
""",
        "SimpleRnn": """\
        /* h = @ACT(x_t @ kernel + h @ recurrent_kernel + bias) */
        @PRODUCT(h, units, recurrent, units, units, z);
        for (int u = 0; u < units; u++)
            h[u] = @ACT(z[u]);
""",
    }
)
GATES: Mapping[str, int] = MappingProxyType({"Lstm": 4, "GruAfter": 3, "GruBefore": 3, "SimpleRnn": 1})
NAMES: Mapping[str, str] = MappingProxyType(
    {"Lstm": "lstm", "GruAfter": "gru", "GruBefore": "gru_before", "SimpleRnn": "simple_rnn"}
)
ROOM: Mapping[str, int] = MappingProxyType({"Lstm": 4, "GruAfter": 6, "GruBefore": 4, "SimpleRnn": 1})

RECURRENT = """\
/* Over `steps` steps; h and c go in as the states before, and come out as those after. A step whose mask is 0 keeps
   the states and repeats the output before it, at first `previous`. */
static inline void @NAME(const @REAL *x, int steps, int in, int units, const @REAL *kernel, const @REAL *recurrent,
    const @REAL *bias, const @REAL *mask, const @REAL *previous, int zero_output, @REAL *h, @REAL *c, @REAL *z,
    @REAL *y)
{
    (void)c;
    for (int t = 0; t < steps; t++) {
        @REAL *out = y + (size_t)t * units;
        if (mask && !mask[t]) {
            const @REAL *before = t > 0 ? out - units : previous;
            for (int u = 0; u < units; u++)
                out[u] = zero_output || !before ? 0 : before[u];
            continue;
        }
        for (int j = 0; j < @GATES * units; j++)
            z[j] = bias ? bias[j] : 0;
        @PRODUCT(x + (size_t)t * in, in, kernel, @GATES * units, @GATES * units, z);
@STEP        for (int u = 0; u < units; u++)
            out[u] = h[u];
    }
}"""


def recurrent(helpers: Helpers, kind: str, gate: str, function: str) -> str:
    """The helper that runs a recurrent op of that kind with these functions."""
    words = {
        "@REAL": helpers.real,
        "@GATE": gate,
        "@ACT": function,
        "@GATES": str(GATES[kind]),
        "@PRODUCT": matrix(helpers),
    }
    text = RECURRENT.replace("@STEP", STEPS[kind])
    return helpers.need(NAMES[kind], _with(text, words))


def matrix(helpers: Helpers) -> str:
    """The helper for products with a matrix."""
    return helpers.need("product", _with(PRODUCT, {"@REAL": helpers.real}))


def _with(text: str, words: Mapping[str, str]) -> str:
    for word, value in sorted(words.items(), key=lambda item: -len(item[0])):
        text = text.replace(word, value)
    return text
