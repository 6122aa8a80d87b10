"""A cell over time: its step written down as the body of a `Scan`."""

from __future__ import annotations

from collections.abc import Sequence

from lstmcore import ops
from lstmcore.layers.cells import Cell
from lstmcore.ops import Kind, Shape
from lstmcore.program import Builder, Noise, Program, Value


def over_time(
    build: Builder, cell: Cell, x: Value, states: Sequence[Value], mask: Value | None, zero_output_for_mask: bool
) -> Sequence[Value]:
    """All outputs of a cell, (batch, time, ...), and the final states.

    Noise that the step takes is drawn once for the whole sequence: it enters the Scan as further states, which
    the body gives back as they are.
    """
    body, drawn = _body(cell, x.shape[2:], x.kind, build.training)
    for note in body.notes:
        build.note(f"{build.path('')[:-1]}: {note}")
    held = [
        build.noise(noise.name, noise.kind, noise.rate, x, shape=(x.shape[0], *body.values[noise.name].shape[1:]))
        for noise in drawn
    ]
    made = build.op(ops.Scan(body, zero_output_for_mask), x, *states, *held, mask)
    return made[: 1 + len(states)]


def _body(cell: Cell, features: Shape, kind: Kind, training: bool) -> tuple[Program, list[Noise]]:
    """One step of the cell as a program, and the noise among its inputs."""
    build = Builder()
    build.training = training
    x = build.input("x", (None, *features), kind)
    states = [build.input(f"state_{k}", (None, n)) for k, n in enumerate(cell.state_sizes)]
    outputs, _ = cell.lower(build, x, None, states)
    drawn = build.hold_noise()
    return build.finish([*(output.name for output in outputs), *(noise.name for noise in drawn)]), drawn
