"""Products with weights and with each other in C."""

from __future__ import annotations

from lstmcore import ops
from lstmcore.interop.c.code import Array, Code
from lstmcore.interop.c.functions import matrix
from lstmcore.interop.c.lengths import Length, product, windows
from lstmcore.interop.c.writers.loops import each, over, place
from lstmcore.interop.c.writers.pointwise import Given, all_of
from lstmcore.program import Node


def affine(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Affine)
    (x,) = all_of(inputs)
    kernel = code.helpers.weights[node.weights["kernel"]]
    y = code.make((*x.shape[:-1], op.units))
    rows, size = product(x.shape[:-1]), x.shape[-1]
    start = f"{code.helpers.weights[node.weights['bias']].pointer}[j]" if op.use_bias else "0"
    code.say(
        f"for (int r = 0; r < {rows}; r++) {{",
        f"    for (int j = 0; j < {op.units}; j++)",
        f"        {y.pointer}[r * {op.units} + j] = {start};",
        f"    {matrix(code.helpers)}({x.pointer} + r * {size}, {size}, {kernel.pointer}, {op.units}, {op.units}, "
        f"{y.pointer} + r * {op.units});",
        "}",
    )
    return [y]


def embed(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Embed)
    (ids,) = all_of(inputs)
    table = code.helpers.weights[node.weights["embeddings"]]
    y = code.make((*ids.shape, op.units))
    return [each(code, y, lambda index: f"{table.pointer}[(int){place(ids, index[:-1])} * {op.units} + {index[-1]}]")]


def einsum(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Einsum)
    x, other = all_of(inputs)
    first, second, output = op.terms
    lengths: dict[str, Length] = {
        **dict(zip(second, other.shape, strict=True)),
        **dict(zip(first, x.shape, strict=True)),
    }
    summed = [letter for letter in dict.fromkeys(first + second) if letter not in output]
    y = code.make([lengths[letter] for letter in output])

    def number(index: list[Length]) -> list[str]:
        here: dict[str, Length] = {**dict(zip(output, index, strict=True)), **{s: f"k{s}" for s in summed}}
        loops = [f"for (int k{s} = 0; k{s} < {lengths[s]}; k{s}++)" for s in summed]
        at = f"{place(x, [here[s] for s in first])} * {place(other, [here[s] for s in second])}"
        return [f"{code.helpers.real} sum = 0;", *loops, f"    sum += {at};", f"{place(y, index)} = sum;"]

    over(code, y.shape, number)
    return [y]


def conv(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Conv)
    (x,) = all_of(inputs)
    batch, steps, channels = x.shape
    assert isinstance(channels, int)
    count, left = windows(steps, op.size, op.strides, op.dilation, op.padding)
    kernel = code.helpers.weights[node.weights["kernel"]]
    y = code.make((batch, count, op.filters))
    start = f"{code.helpers.weights[node.weights['bias']].pointer}[j]" if op.use_bias else "0"
    seen, made = channels // op.groups, op.filters // op.groups

    def window(index: list[Length]) -> list[str]:
        b, t = index
        row = f"({b} * {count} + {t}) * {op.filters}"
        return [
            f"for (int j = 0; j < {op.filters}; j++)",
            f"    {y.pointer}[{row} + j] = {start};",
            f"for (int k = 0; k < {op.size}; k++) {{",
            f"    const int s = {t} * {op.strides} + k * {op.dilation} - {left};",
            f"    if (s >= 0 && s < {steps})",
            f"        for (int g = 0; g < {op.groups}; g++)",
            f"            {matrix(code.helpers)}({x.pointer} + ({b} * {steps} + s) * {channels} + g * {seen}, {seen}, "
            f"{kernel.pointer} + k * {seen * op.filters} + g * {made}, {op.filters}, {made}, "
            f"{y.pointer} + {row} + g * {made});",
            "}",
        ]

    over(code, (batch, count), window)
    return [y]
