"""Numbers in other places in C."""

from __future__ import annotations

from collections.abc import Sequence

from lstmcore import ops
from lstmcore.interop.c.code import Array, Code
from lstmcore.interop.c.lengths import Length, add, bounds, minus, product, times
from lstmcore.interop.c.writers.loops import each, over, place, split
from lstmcore.interop.c.writers.pointwise import Given, all_of
from lstmcore.program import Node


def reshape(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Reshape)
    (x,) = all_of(inputs)
    known = product(n for n in op.shape if n != -1)
    return [Array(x.pointer, (x.shape[0], *(_left(x.shape[1:], known) if n == -1 else n for n in op.shape)), x.kind)]


def _left(shape: Sequence[Length], known: Length) -> Length:
    """What is left for an open entry: the numbers there are, by those that are spoken for."""
    total = product(shape)
    if isinstance(total, int) and isinstance(known, int):
        return total // max(known, 1)
    for length in shape:
        if isinstance(length, str):
            rest = product(n for n in shape if n is not length)
            if rest == known:
                return length
    return total if known == 1 else f"({total} / {known})"


def fold(code: Code, node: Node, inputs: Given) -> list[Array]:
    (x,) = all_of(inputs)
    return [Array(x.pointer, (times(x.shape[0], x.shape[1]), *x.shape[2:]), x.kind)]


def unfold(code: Code, node: Node, inputs: Given) -> list[Array]:
    x, like = all_of(inputs)
    return [Array(x.pointer, (*like.shape[:2], *x.shape[1:]), x.kind)]


def transpose(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Transpose)
    (x,) = all_of(inputs)
    y = code.make([x.shape[axis] for axis in op.axes], x.kind)
    return [each(code, y, lambda index: place(x, [index[op.axes.index(axis)] for axis in range(len(op.axes))]))]


def reverse(code: Code, node: Node, inputs: Given) -> list[Array]:
    (x,) = all_of(inputs)
    last = minus(x.shape[1], 1)
    y = code.make(x.shape, x.kind)
    return [each(code, y, lambda index: place(x, [index[0], minus(last, index[1]), *index[2:]]))]


def last(code: Code, node: Node, inputs: Given) -> list[Array]:
    (x,) = all_of(inputs)
    end = minus(x.shape[1], 1)
    y = code.make((x.shape[0], *x.shape[2:]), x.kind)
    return [each(code, y, lambda index: place(x, [index[0], end, *index[1:]]))]


def concat(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Concat)
    parts = all_of(inputs)
    total: Length = 0
    for part in parts:
        total = add(total, part.shape[op.axis])
    first = parts[0].shape
    y = code.make((*first[: op.axis], total, *first[op.axis + 1 :]), parts[0].kind)
    begin: Length = 0
    for part in parts:
        _copy(code, part, y, op.axis, begin)
        begin = add(begin, part.shape[op.axis])
    return [y]


def _copy(code: Code, x: Array, y: Array, axis: int, begin: Length) -> None:
    """All of x to y, from ``begin`` on along the axis."""

    def statement(index: list[Length]) -> list[str]:
        there = [*index[:axis], add(begin, index[axis]), *index[axis + 1 :]]
        return [f"{place(y, there)} = {place(x, index)};"]

    over(code, x.shape, statement)


def cut(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Slice)
    (x,) = all_of(inputs)
    begin, end = bounds(x.shape[op.axis], op.start, op.stop)
    y = code.make((*x.shape[: op.axis], minus(end, begin), *x.shape[op.axis + 1 :]), x.kind)
    return [
        each(code, y, lambda i: place(x, [*i[: op.axis], add(begin, i[op.axis]), *i[op.axis + 1 :]])),
    ]


def pad(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Pad)
    (x,) = all_of(inputs)
    before, length, after = split(x.shape, op.axis)
    longer = add(length, op.before + op.after)
    y = code.make((*x.shape[: op.axis], longer, *x.shape[op.axis + 1 :]), x.kind)
    whole, given = Array(y.pointer, (before, longer, after)), Array(x.pointer, (before, length, after))

    def number(index: list[Length]) -> str:
        here = index[1]
        inside = f"{here} >= {op.before} && {here} < {add(length, op.before)}"
        return f"{inside} ? {place(given, [index[0], minus(here, op.before), index[2]])} : 0"

    each(code, whole, number)
    return [y]


def repeat(code: Code, node: Node, inputs: Given) -> list[Array]:
    op = node.op
    assert isinstance(op, ops.Repeat)
    (x,) = all_of(inputs)
    y = code.make((*x.shape[: op.axis], times(x.shape[op.axis], op.times), *x.shape[op.axis + 1 :]), x.kind)

    def number(i: list[Length]) -> str:
        here = i[op.axis]
        source: Length = (
            here // op.times if isinstance(here, int) else here if op.times == 1 else f"{here} / {op.times}"
        )
        source = f"({source})" if isinstance(source, str) and "/" in source else source
        return place(x, [*i[: op.axis], source, *i[op.axis + 1 :]])

    return [each(code, y, number)]
