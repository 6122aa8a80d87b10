"""Loops over the axes of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lstmcore.interop.c.code import Array, Code
from lstmcore.interop.c.lengths import Length, add, product, times

Index = Length


def place(array: Array, index: Sequence[Index]) -> str:
    """The number at these indices."""
    offset: Length = 0
    for position, length in zip(index, array.shape, strict=True):
        offset = add(times(offset, length), position)
    return f"{array.pointer}[{offset}]"


def seen(array: Array, index: Sequence[Index]) -> str:
    """The number at these indices of a result, by NumPy's broadcasting."""
    own = index[len(index) - len(array.shape) :]
    return place(array, [0 if n == 1 else i for i, n in zip(own, array.shape, strict=True)])


def over(code: Code, shape: Sequence[Length], body: Callable[[list[Index]], Sequence[str]], first: int = 0) -> None:
    """Statements for all indices of a shape; axes of length 1 have no loop."""
    index: list[Index] = []
    depth = 0
    for axis, length in enumerate(shape):
        if length == 1:
            index.append(0)
            continue
        name = f"i{axis + first}"
        code.say(f"{'    ' * depth}for (int {name} = 0; {name} < {length}; {name}++)")
        index.append(name)
        depth += 1
    statements = list(body(index))
    inner = "    " * depth
    if len(statements) > 1:
        code.lines[-1:] = [f"{code.lines[-1]} {{"] if depth else [*code.lines[-1:], "{"]
        code.say(*(f"{inner or '    '}{line}" for line in statements), f"{inner[4:]}}}")
    else:
        code.say(f"{inner}{statements[0]}")


def each(code: Code, y: Array, number: Callable[[list[Index]], str]) -> Array:
    """Fills y, number by number."""
    over(code, y.shape, lambda index: [f"{place(y, index)} = {number(index)};"])
    return y


def flat(code: Code, y: Array, number: Callable[[str], str]) -> Array:
    """Fills y in row-major order."""
    code.say(f"for (int i = 0; i < {y.size}; i++)", f"    {y.pointer}[i] = {number('i')};")
    return y


def split(shape: Sequence[Length], axis: int) -> tuple[Length, Length, Length]:
    """How many numbers there are before an axis, along it, and after it."""
    return product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
