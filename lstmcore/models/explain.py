"""What a backend will do with a program."""

from __future__ import annotations

from lstmcore.contract import Backend, Choice, choose
from lstmcore.program import Program
from lstmcore.tables import table


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
        return {choice.node.name: choice.kernel.name for choice in self.choices}

    def __str__(self) -> str:
        rows = [(choice.node.name, type(choice.node.op).__name__, str(choice)) for choice in self.choices]
        title = f"on {self.backend.name}, device {self.backend.device}, {self.dtype}"
        return f"{self.program}\n\n{title}\n{table(('node', 'op', 'kernel'), rows)}"

    __repr__ = __str__
