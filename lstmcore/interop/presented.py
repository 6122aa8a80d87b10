"""What a model shows to the outside in a file: its program, and the names of all that enters and leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lstmcore.errors import ExportError
from lstmcore.layers.options import POSITIVE, checked
from lstmcore.naming import unique
from lstmcore.program import Program

if TYPE_CHECKING:
    from lstmcore.models.base import BaseModel


@dataclass(frozen=True)
class Presented:
    """A program with the names of its inputs and outputs, in order.

    ``carries`` maps each state that enters and leaves to its names before and after; the others start at zero.
    """

    program: Program
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    carries: Mapping[str, tuple[str, str]]

    @property
    def entering(self) -> dict[str, str]:
        """What each value that enters is called."""
        states = {carry.before: self.carries[carry.name][0] for carry in self.program.carries if self.has(carry.name)}
        return {**dict(zip(self.program.inputs, self.inputs, strict=True)), **states}

    @property
    def leaving(self) -> dict[str, str]:
        """What each value that leaves is called; a state that is an output too goes by the output's name."""
        states = {carry.after: self.carries[carry.name][1] for carry in self.program.carries if self.has(carry.name)}
        return {**states, **dict(zip(self.program.outputs, self.outputs, strict=True))}

    @property
    def names(self) -> dict[str, Any]:
        """What a file says of them: inputs and outputs in order, states by the name of each; JSON values."""
        states = {name: list(pair) for name, pair in self.carries.items()}
        return {"inputs": list(self.inputs), "outputs": list(self.outputs), "states": states}

    def has(self, state: str) -> bool:
        """Whether that state enters and leaves."""
        return state in self.carries


def present(
    model: BaseModel, streams: bool = False, batch_size: int | None = None, clean: Callable[[str], str] = str
) -> Presented:
    """The model as a file shows it, whole or a piece at a time; ``clean`` makes names that the format takes.

    A state ``layer/h`` enters under that name and leaves as ``layer/h/next``, before ``clean``.
    """
    program, states = to_write(model, streams, batch_size)
    taken: set[str] = set()

    def name(wanted: str) -> str:
        taken.add(found := unique(clean(wanted), taken))
        return found

    inputs = tuple(map(name, program.inputs))
    befores = list(map(name, states))
    outputs = tuple(map(name, model.output_names))
    afters = [name(f"{state}/next") for state in states]
    return Presented(program, inputs, outputs, dict(zip(states, zip(befores, afters, strict=True), strict=True)))


def to_write(model: BaseModel, streams: bool, batch_size: int | None) -> tuple[Program, list[str]]:
    """The program, and its states that are inputs and outputs."""
    if not streams:
        if batch_size is not None:
            raise ExportError("batch_size is for streaming=True; the batch size of the model is in its Input")
        program = model.program
        return program, [carry.name for carry in program.carries if carry.stateful]
    from lstmcore.runtime.feed import fixed_batch

    size = fixed_batch(model.program) or 1
    program, _ = model.streaming_program(checked("write", "batch_size", POSITIVE, batch_size or size))
    return program, [carry.name for carry in program.carries]


def output_names(model: BaseModel, program: Program) -> list[str]:
    """The model's names for its outputs; one that is also an input's gets a number."""
    taken = set(program.inputs)
    names: list[str] = []
    for name in model.output_names:
        names.append(unique(name, taken))
        taken.add(names[-1])
    return names


__all__: Sequence[str] = ("Presented", "output_names", "present", "to_write")
