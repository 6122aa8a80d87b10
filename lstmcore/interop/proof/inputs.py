"""Inputs to prove a conversion with: of the right shapes and kinds, several samples and lengths, from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import ops
from lstmcore.errors import SpecError
from lstmcore.interop import vectors
from lstmcore.interop.proof.subject import Subject
from lstmcore.program import Node, Program
from lstmcore.random import Stream
from lstmcore.runtime.feed import fixed_batch

Array = NDArray[Any]
SAMPLES = 3
STEPS = (5, 9)
TOKENS = 10  # where nothing says how many there are
MOST_STEPS = 4096


@dataclass(frozen=True)
class Case:
    """Arrays by the names of the values that enter, batch first."""

    values: Mapping[str, Array]

    @property
    def samples(self) -> int:
        """How many samples."""
        return len(next(iter(self.values.values())))


def cases(subject: Subject, shapes: Mapping[str, Sequence[int | None]], limits: Mapping[str, int]) -> list[Case]:
    """Two cases. ``shapes`` are those of the entering values, None where open; ids of ``limits`` are below them.

    The floats are those of float32. Where steps are masked out by a value (Masking, mask_zero), the first sample of
    three has none, the second ends in some, the third begins with some. States are not zero.
    """
    samples = next((shape[0] for shape in shapes.values() if shape[0] is not None), SAMPLES)
    found = []
    for number, wanted in enumerate(STEPS):
        steps = _enough(subject.program, shapes, wanted)
        stream = Stream(number)
        filled = {name: _filled(shape, samples, steps) for name, shape in shapes.items()}
        vectors.worth(subject.program, {name: filled[name] for name in subject.program.inputs})
        found.append(Case({name: _draw(subject, name, filled[name], limits, stream) for name in subject.entering}))
    return found


def _filled(shape: Sequence[int | None], samples: int, steps: int) -> tuple[int, ...]:
    return (samples, *(steps if n is None else n for n in shape[1:]))


def _enough(program: Program, shapes: Mapping[str, Sequence[int | None]], steps: int) -> int:
    """As many steps as the ops need. SpecError where no number is enough."""
    while True:
        try:
            program.infer({name: (None, *_filled(shapes[name], 1, steps)[1:]) for name in program.inputs})
        except SpecError:
            if steps > MOST_STEPS:
                raise
            steps *= 2
        else:
            return steps


def _draw(subject: Subject, name: str, shape: tuple[int, ...], limits: Mapping[str, int], stream: Stream) -> Array:
    kind = subject.program.values[name].kind
    if kind == "bool":
        return _steps(shape)
    paddings = list(dict.fromkeys(_paddings(subject.program, name)))
    if kind == "int":
        limit = limits.get(name, TOKENS)
        free = [token for token in range(min(limit, 2 * len(paddings) + 2)) if token not in paddings]
        low = free[0] if free else 0
        array: Array = np.floor(low + stream.child(name).uniform(shape) * (limit - low)).astype(np.int32)
    else:
        scale = 1.0 if name in subject.program.inputs else 0.5
        array = (scale * stream.child(name).normal(shape)).astype(np.float32).astype(np.float64)
    for value in paddings[:1]:
        if kind == "float" or value < limits.get(name, TOKENS):
            array[~_steps(shape)] = value
    return array


def _steps(shape: tuple[int, ...]) -> Array:
    """Which steps count, as a mask of the whole shape: one axis beside the batch is time."""
    counts = np.ones(shape, bool)
    if len(shape) > 1 and shape[1] > 1:
        gone = max(shape[1] // 3, 1)
        counts[1::3, -gone:] = False
        counts[2::3, :gone] = False
    return counts


def _paddings(program: Program, name: str) -> Iterator[float]:
    """The values that mark steps of an input as none."""
    makers: dict[str, Node] = {output: node for node in program.nodes for output in node.outputs}
    for node in program.nodes:
        source = node.inputs[0] if node.inputs else None
        while source in makers and makers[source].op.moves:
            source = makers[source].inputs[0]
        if isinstance(node.op, ops.NotEqual) and source == name:
            yield node.op.value


def token_range(subject: Subject) -> dict[str, int]:
    """How many tokens an input may name, of those that name some."""
    return dict(subject.program.limits)


def own_batch(*subjects: Subject) -> int | None:
    """The batch size that one of them was built for."""
    return next((size for s in subjects if (size := fixed_batch(s.program)) is not None), None)
