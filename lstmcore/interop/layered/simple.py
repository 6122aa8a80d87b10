"""A program with fewer nodes that computes the same: what exporters say in several nodes, and a layer is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lstmcore import ops
from lstmcore.program import Node, Program

Makers = Mapping[str | None, Node]


def simple(program: Program) -> Program:
    """The program without nodes that nothing needs, and without moves of numbers that end where they began.

    A product and the bias added to it are one `Affine`.
    """
    same = {name: _origin(name, program) for name in program.values}
    nodes = [replace(node, inputs=tuple(n if n is None else same[n] for n in node.inputs)) for node in program.nodes]
    outputs = tuple(same[name] for name in program.outputs)
    return _needed(_biased(_needed(replace(program, nodes=tuple(nodes), outputs=outputs))))


def _makers(program: Program) -> Makers:
    return {name: node for node in program.nodes for name in node.outputs}


def _needed(program: Program) -> Program:
    """Without what nothing that leaves depends on."""
    needed, kept = set(program.outputs), []
    for node in reversed(program.nodes):
        if needed & set(node.outputs):
            needed |= {name for name in node.inputs if name is not None}
            kept.append(node)
    return replace(program, nodes=tuple(reversed(kept)))


def _origin(name: str, program: Program) -> str:
    """The earliest value of which this one has the same numbers in the same places, as far as moves tell."""
    made_by = _makers(program)
    while True:
        found = _before_reshapes(_before_transposes(name, made_by), made_by, program)
        if found == name:
            return name
        name = found


def _before_reshapes(name: str, made_by: Makers, program: Program) -> str:
    """The earliest value that reshapes alone lead from to this one, of its shape; itself where there is none."""
    shape, found, at = program.values[name].shape, name, name
    while at in made_by and isinstance(made_by[at].op, ops.Reshape):
        at = str(made_by[at].inputs[0])
        found = at if program.values[at].shape == shape else found
    return found


def _before_transposes(name: str, made_by: Makers) -> str:
    """The earliest value that transposes alone lead from to this one, with its axes where they were."""
    found, at = name, name
    axes: list[int] = []
    while at in made_by and isinstance(op := made_by[at].op, ops.Transpose):
        at, axes = str(made_by[at].inputs[0]), [op.axes[k] for k in axes or range(len(op.axes))]
        found = at if axes == sorted(axes) else found
    return found


def _biased(program: Program) -> Program:
    """With each bias in the `Affine` that it is added to, where only the sum is read."""
    made_by = _makers(program)
    read = [name for node in program.nodes for name in node.inputs] + list(program.outputs)
    return replace(program, nodes=tuple(_as_affine(node, made_by, read) or node for node in program.nodes))


def _as_affine(node: Node, made_by: Makers, read: Sequence[str | None]) -> Node | None:
    """The `Affine` that a sum of a product and a bias is; None where it is another."""
    if not isinstance(node.op, ops.Binary) or node.op.function != "add":
        return None
    for product, bias in itertools.permutations([made_by.get(name) for name in node.inputs]):
        if product is None or bias is None or read.count(product.outputs[0]) > 1:
            continue
        first, second = product.op, bias.op
        if isinstance(first, ops.Affine) and isinstance(second, ops.Parameter) and second.shape == (first.units,):
            weights = {**product.weights, "bias": bias.weights["value"]}
            if not first.use_bias:
                return replace(product, op=ops.Affine(first.units), weights=weights, outputs=node.outputs)
    return None
