"""Many numbers to fewer in C, and what is normalized by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lstmcore import ops
from lstmcore.interop.c.code import Array, Code
from lstmcore.interop.c.lengths import Length, product, windows
from lstmcore.interop.c.writers.loops import each, over, place
from lstmcore.interop.c.writers.pointwise import Given, all_of
from lstmcore.program import Node

# function -> what one begins with, and how the next number v comes in
_RULES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "sum": ("0", "{r} += {v};"),
        "mean": ("0", "{r} += {v};"),
        "max": ("-INFINITY", "{r} = {v} > {r} || {v} != {v} ? {v} : {r};"),
        "min": ("INFINITY", "{r} = {v} < {r} || {v} != {v} ? {v} : {r};"),
        "any": ("0", "{r} = {r} || {v};"),
        "all": ("1", "{r} = {r} && {v};"),
    }
)


def reduce(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Reduce)
    (x,) = all_of(inputs)
    return [_reduced(code, x, op.function, op.axes, op.keepdims)]


def _reduced(code: Code, x: Array, function: str, axes: Sequence[int], keepdims: bool) -> Array:
    start, rule = _RULES[function]
    kept = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    y = code.make(kept, x.kind)
    each(code, y, lambda index: start)

    def number(index: list[Length]) -> list[str]:
        r = place(y, [0 if axis in axes else i for axis, i in enumerate(index)])
        return [rule.format(r=r, v=place(x, index))]

    over(code, x.shape, number)
    if function == "mean":
        count = product(n for axis, n in enumerate(x.shape) if axis in axes)
        each(code, y, lambda index: f"{place(y, index)} / {count}")
    shape = y.shape if keepdims else tuple(n for axis, n in enumerate(y.shape) if axis not in axes)
    return Array(y.pointer, shape, x.kind)


def total(code: Code, node: Node, inputs: Given) -> list[Array]:
    raise code.refuse("it adds up all samples of a batch, and C code takes one sample at a time")


def pool(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Pool)
    (x,) = all_of(inputs)
    steps, (batch, length, channels) = x.shape[1], x.shape
    count, left = windows(steps, op.size, op.strides, 1, op.padding)
    y = code.make((batch, count, channels))
    real, start = code.helpers.real, _RULES[op.function][0]

    def window(index: list[Length]) -> list[str]:
        b, t, c = index
        value = place(x, [b, "s", c])
        step = _RULES[op.function][1].format(r="r", v=value)
        result = "r / n" if op.function == "mean" else "r"
        return [
            f"{real} r = {start};",
            "int n = 0;",
            f"for (int k = 0; k < {op.size}; k++) {{",
            f"    const int s = {t} * {op.strides} + k - {left};",
            f"    if (s >= 0 && s < {length}) {{",
            f"        {step}",
            "        n++;",
            "    }",
            "}",
            f"{place(y, index)} = {result};",
            "(void)n;",
        ]

    over(code, y.shape, window)
    return [y]


def causal(code: Code, node: Node, inputs: Given) -> list[Array]:
    (x,) = all_of(inputs)
    y = code.make(x.shape, "bool")
    return [each(code, y, lambda index: f"{index[-1]} <= {index[-2]}")]


def batch_normalize(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.BatchNormalize)
    (x,) = all_of(inputs)
    w = {port: code.helpers.weights[path].pointer for port, path in node.weights.items()}
    sqrt, epsilon = code.helpers.maths("sqrt"), code.helpers.number(op.epsilon)

    def number(index: list[Length]) -> str:
        c = index[-1]
        y = f"({place(x, index)} - {w['moving_mean']}[{c}]) / {sqrt}({w['moving_variance']}[{c}] + {epsilon})"
        y += f" * {w['gamma']}[{c}]" if op.scale else ""
        return y + (f" + {w['beta']}[{c}]" if op.center else "")

    return [each(code, code.make(x.shape), number)]


def layer_normalize(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.LayerNormalize)
    (x,) = all_of(inputs)
    sizes = tuple(x.shape[axis] for axis in op.axes)
    w = {port: Array(code.helpers.weights[path].pointer, sizes) for port, path in node.weights.items()}
    mean = _reduced(code, x, "mean", op.axes, True)
    away = code.make(x.shape)

    def at_mean(index: Sequence[Length]) -> str:
        return place(mean, [0 if axis in op.axes else i for axis, i in enumerate(index)])

    each(code, away, lambda index: f"({place(x, index)} - {at_mean(index)}) * ({place(x, index)} - {at_mean(index)})")
    variance = _reduced(code, away, "mean", op.axes, True)
    sqrt, epsilon = code.helpers.maths("sqrt"), code.helpers.number(op.epsilon)

    def number(index: list[Length]) -> str:
        spread = place(variance, [0 if axis in op.axes else i for axis, i in enumerate(index)])
        own = [index[axis] for axis in op.axes]
        y = f"({place(x, index)} - {at_mean(index)}) / {sqrt}({spread} + {epsilon})"
        y += f" * {place(w['gamma'], own)}" if op.scale else ""
        return y + (f" + {place(w['beta'], own)}" if op.center else "")

    y = code.make(x.shape)
    each(code, y, number)
    for used in (mean, away, variance):
        code.release(used)
    return [y]
