"""A program with fewer nodes that computes the same: what exporters say in several nodes, and a layer is."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lstmcore import ops
from lstmcore.program import Node, Program, live

Makers = Mapping[str | None, Node]


def simple(program: Program) -> Program:
    """The program without nodes that nothing needs, and without moves of numbers that end where they began.

    A product and the bias added to it are one `Affine`; what stands side by side on an axis of its own, and then in
    one, is side by side.
    """
    same = _origins(program)
    nodes = [replace(node, inputs=tuple(n if n is None else same[n] for n in node.inputs)) for node in program.nodes]
    outputs = tuple(same[name] for name in program.outputs)
    found = replace(program, nodes=tuple(nodes), outputs=outputs)
    for change in (_needed, _biased, _side_by_side, _needed):
        found = change(found)
    return found


def _needed(program: Program) -> Program:
    return replace(program, nodes=live(program))


def _makers(program: Program) -> Makers:
    return {name: node for node in program.nodes for name in node.outputs}


def _origins(program: Program) -> dict[str, str]:
    """For each value the earliest one with the same numbers in the same places, as far as moves tell.

    Values that reshapes alone lie between are the same where their shapes are, values that transposes lie between where
    their axes are.
    """
    made_by = _makers(program)
    same = {name: name for name in program.values}
    by_shape: dict[str, dict[Any, str]] = {}
    by_axes: dict[str, tuple[tuple[int, ...], dict[Any, str]]] = {}
    for node in program.nodes:
        if not node.inputs or node.inputs[0] is None:
            continue
        source, made = same[node.inputs[0]], node.outputs[0]
        shape = program.values[source].shape
        if isinstance(node.op, ops.Reshape):
            shapes = by_shape.setdefault(source, {shape: source})
            same[made] = shapes.setdefault(program.values[made].shape, made)
            by_shape[same[made]] = shapes
        elif isinstance(node.op, ops.Transpose):
            own = tuple(range(len(shape)))
            before, places = by_axes.setdefault(source, (own, {own: source}))
            axes = tuple(before[k] for k in node.op.axes)
            same[made] = places.setdefault(axes, made)
            by_axes[same[made]] = axes, places
        elif isinstance(node.op, ops.Slice):
            part = _taken_back(node.op, made_by.get(source), program)
            same[made] = made if part is None else same[part]
    return same


def _taken_back(cut: ops.Slice, joined: Node | None, program: Program) -> str | None:
    """Of a slice that takes one of several values of length 1 that were put side by side, that value."""
    if joined is None or not isinstance(joined.op, ops.Concat) or joined.op.axis != cut.axis:
        return None
    ones = all(program.values[str(n)].shape[cut.axis] == 1 for n in joined.inputs)
    taken = joined.inputs[cut.start : cut.stop] if ones else ()
    return str(taken[0]) if len(taken) == 1 else None


def _biased(program: Program) -> Program:
    """With each bias in the `Affine` that it is added to, where only the sum is read."""
    made_by = _makers(program)
    read = Counter([*(name for node in program.nodes for name in node.inputs), *program.outputs])
    changed: dict[str, Node] = {}
    for node in program.nodes:
        changed |= _with_bias(node, made_by, read)
    return replace(program, nodes=tuple(changed.get(node.name, node) for node in program.nodes))


def _with_bias(node: Node, made_by: Makers, read: Mapping[str | None, int]) -> dict[str, Node]:
    """By name, the nodes that take the place of a sum of a product and a bias; none where it is another.

    Between the two may lie an `Unfold`, where the product is of the steps of all samples.
    """
    if not isinstance(node.op, ops.Binary) or node.op.function != "add":
        return {}
    for ending, bias in itertools.permutations([made_by.get(name) for name in node.inputs]):
        if ending is None or bias is None or not isinstance(bias.op, ops.Parameter):
            continue
        unfold = ending if isinstance(ending.op, ops.Unfold) else None
        product = ending if unfold is None else made_by.get(unfold.inputs[0])
        if product is None or any(read[one.outputs[0]] > 1 for one in (ending, product)):
            continue
        op = product.op
        if isinstance(op, ops.Affine) and not op.use_bias and bias.op.shape == (op.units,):
            weights = {**product.weights, "bias": bias.weights["value"]}
            whole = replace(product, op=ops.Affine(op.units), weights=weights)
            if unfold is None:
                return {node.name: replace(whole, name=node.name, outputs=node.outputs)}
            return {product.name: whole, node.name: replace(unfold, name=node.name, outputs=node.outputs)}
    return {}


def _side_by_side(program: Program) -> Program:
    """With one `Concat` for reshapes to (..., 1, n), a `Concat` of the ones, and a `Reshape` to (..., k n)."""
    made_by = _makers(program)
    return replace(program, nodes=tuple(_as_concat(node, made_by, program) or node for node in program.nodes))


def _as_concat(node: Node, made_by: Makers, program: Program) -> Node | None:
    stacked = made_by.get(node.inputs[0]) if isinstance(node.op, ops.Reshape) else None
    if stacked is None or not isinstance(stacked.op, ops.Concat):
        return None
    wide = [made_by.get(name) for name in stacked.inputs]
    sources = [str(m.inputs[0]) for m in wide if m is not None and isinstance(m.op, ops.Reshape)]
    shapes = {program.values[name].shape for name in sources}
    if len(sources) != len(wide) or len(shapes) != 1:
        return None
    *outer, n = shapes.pop()
    count, last = len(sources), len(outer)
    ones = all(m is not None and program.values[m.outputs[0]].shape == (*outer, 1, n) for m in wide)
    flat = n is not None and program.values[node.outputs[0]].shape == (*outer, count * n)
    if not (ones and flat and stacked.op.axis == last):
        return None
    return replace(node, op=ops.Concat(last, count), inputs=tuple(sources))
