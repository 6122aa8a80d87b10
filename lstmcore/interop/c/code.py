"""One function of C while it is written: its statements, the helpers that it calls, and its place for numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lstmcore.errors import ExportError
from lstmcore.interop.c.lengths import Length, product
from lstmcore.interop.c.text import literal
from lstmcore.program import Node, Program


@dataclass(frozen=True)
class Array:
    """Numbers in C: the name of a pointer to the first, and the lengths of the axes."""

    pointer: str
    shape: tuple[Length, ...]
    kind: str = "float"

    @property
    def size(self) -> Length:
        """How many numbers there are."""
        return product(self.shape)


@dataclass
class _Slot:
    """A part of the scratch memory: ``count`` numbers for each of the ``unit``, an expression or 1."""

    unit: Length
    count: int
    free: bool = False


@dataclass
class Helpers:
    """What the functions of one header share: helper functions by their text, and the model's weights."""

    prefix: str
    dtype: str
    weights: Mapping[str, Array]
    functions: dict[str, str] = field(default_factory=dict)  # text with @NAME for its own name -> name

    def need(self, name: str, text: str) -> str:
        """The name of the helper function with that text, in which @NAME stands for it."""
        if text not in self.functions:
            count = sum(known.split("__")[0] == f"{self.prefix}_{name}" for known in self.functions.values())
            self.functions[text] = f"{self.prefix}_{name}" + (f"__{count + 1}" if count else "")
        return self.functions[text]

    @property
    def real(self) -> str:
        """The type of the numbers."""
        return "float" if self.dtype == "float32" else "double"

    def maths(self, function: str) -> str:
        """A function of <math.h> for that type."""
        return f"{function}f" if self.dtype == "float32" else function

    def number(self, value: float) -> str:
        """A number of that type."""
        return literal(value, self.dtype)


class Code:
    """A function's statements. ``values`` are the arrays of the program's values that are known so far."""

    def __init__(self, helpers: Helpers, program: Program, values: dict[str, Array]) -> None:
        self.helpers, self.program, self.values = helpers, program, values
        self.lines: list[str] = []
        self.slots: list[_Slot] = []
        self.node: Node | None = None
        self._held: dict[str, int] = {}  # the slot of a value's numbers
        self._last = _last_uses(program)

    def say(self, *lines: str) -> None:
        """Adds statements."""
        self.lines += lines

    def refuse(self, why: str) -> ExportError:
        """The error for the node that is written."""
        layer = self.node.name if self.node else self.program.inputs[0]
        return ExportError(f"C code cannot hold layer {layer!r}: {why}")

    def make(self, shape: Sequence[Length], kind: str = "float") -> Array:
        """New numbers in the scratch memory."""
        number = product(n for n in shape if isinstance(n, int))
        unit = product(n for n in shape if isinstance(n, str))
        assert isinstance(number, int)
        k = next((k for k, slot in enumerate(self.slots) if slot.free and slot.unit == unit), None)
        if k is None:
            self.slots.append(_Slot(unit, number))
            k = len(self.slots) - 1
        slot = self.slots[k]
        slot.free, slot.count = False, max(slot.count, number)
        return Array(f"s{k}", tuple(shape), kind)

    def release(self, array: Array) -> None:
        """Its memory may be used again."""
        if array.pointer.startswith("s") and array.pointer[1:].isdigit():
            self.slots[int(array.pointer[1:])].free = True

    def release_after(self, position: int) -> None:
        """Frees what no node after the one at that position reads."""
        live = {
            self.values[name].pointer for name, last in self._last.items() if last > position and name in self.values
        }
        for name in [name for name, last in self._last.items() if last <= position and name in self.values]:
            if self.values[name].pointer not in live:
                self.release(self.values[name])

    def memory(self) -> list[tuple[str, Length]]:
        """The pointers into the scratch memory, each with how many numbers it has."""
        return [(f"s{k}", product((slot.count, slot.unit))) for k, slot in enumerate(self.slots)]


def _last_uses(program: Program) -> dict[str, int]:
    """The position of the last node that reads each value, or of the one that makes it; what leaves is read at last."""
    last: dict[str, int] = {}
    for position, node in enumerate(program.nodes):
        for name in (*node.outputs, *(name for name in node.inputs if name is not None)):
            last[name] = position
    leaving = (*program.outputs, *(carry.after for carry in program.carries))
    return last | dict.fromkeys(leaving, len(program.nodes))
