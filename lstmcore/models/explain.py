"""What a backend will do with a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lstmcore.contract import Backend, Choice, choose
from lstmcore.program import Program
from lstmcore.tables import table


def _rows(
    choices: Sequence[Choice], told: Callable[[Choice], str] = str, inside: str = ""
) -> Iterator[tuple[str, str, str]]:
    """(node, op, kernel) of each choice; the nodes of a body come after the op that runs it."""
    for choice in choices:
        name = f"{inside}{choice.node.name}"
        yield name, type(choice.node.op).__name__, told(choice)
        yield from _rows(choice.body, told, f"{name} / ")


class Explanation:
    """The program, and for each node the kernel chosen and why; prints as text."""

    def __init__(self, program: Program, backend: Backend, dtype: str) -> None:
        self.program = program
        self.backend = backend
        self.dtype = dtype
        self.choices: tuple[Choice, ...] = choose(backend, program, dtype)

    @property
    def kernels(self) -> dict[str, str]:
        """Node name -> name of the kernel chosen."""
        return {name: kernel for name, _, kernel in _rows(self.choices, lambda choice: choice.kernel.name)}

    def __str__(self) -> str:
        rows = list(_rows(self.choices))
        title = f"on {self.backend.name}, device {self.backend.device}, {self.dtype}"
        return f"{self.program}\n\n{title}\n{table(('node', 'op', 'kernel'), rows)}"

    __repr__ = __str__
