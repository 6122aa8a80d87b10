"""Which recurrent nodes of a program are the two directions of one PyTorch module."""

from __future__ import annotations

from collections.abc import Mapping

from lstmcore.interop.pytorch.scope import Scope
from lstmcore.interop.pytorch.writers.recurrent import is_native
from lstmcore.ops import Last, Recurrent, Reverse
from lstmcore.program import Node


def pairs(scope: Scope) -> dict[str, Node]:
    """The node that runs backward, by the name of the one that runs forward over the same steps."""
    turned = {node.inputs[0]: node.outputs[0] for node in scope.nodes if isinstance(node.op, Reverse)}
    made = {name: k for k, node in enumerate(scope.nodes) for name in node.outputs}
    recurrent = [node for node in scope.nodes if isinstance(node.op, Recurrent) and is_native(node.op)]
    found: dict[str, Node] = {}
    taken: set[str] = set()
    for first in recurrent:
        for second in recurrent:
            if {first.name, second.name} & taken or first is second or not _mirrors(first, second, turned):
                continue
            if _fits(scope, first, second) and _ready(scope, second, made, made[first.outputs[0]]):
                found[first.name] = second
                taken |= {first.name, second.name}
    return found


def _ports(node: Node) -> dict[str, str | None]:
    return dict(zip((*node.op.inputs, *node.op.optional), node.inputs, strict=True))


def _mirrors(first: Node, second: Node, turned: Mapping[str | None, str]) -> bool:
    """Whether the second takes what the first does, in reverse, with weights of its own."""
    if first.op != second.op or set(first.weights.values()) & set(second.weights.values()):
        return False
    ours, theirs = _ports(first), _ports(second)
    return all(
        ours[port] is None and theirs[port] is None
        if ours[port] is None or theirs[port] is None
        else turned.get(ours[port]) == theirs[port]
        for port in ("x", "mask")
    ) and not (ours["previous"] or theirs["previous"])


def _fits(scope: Scope, first: Node, second: Node) -> bool:
    """Whether the module gives what is read of both.

    With a mask it gives zeros at the masked steps, or else the last outputs, where the states start at zero.
    """
    if _ports(first)["mask"] is None or getattr(first.op, "zero_output_for_mask", False):
        return True
    readers = [k for node in (first, second) for k in scope.readers.get(node.outputs[0], [])]
    only_last = all(k < len(scope.nodes) and isinstance(scope.nodes[k].op, Last) for k in readers)
    starts = [_ports(node)[port] for node in (first, second) for port in node.op.inputs[1:]]
    return only_last and all(value in scope.zeros for value in starts)


def _ready(scope: Scope, second: Node, made: Mapping[str, int], place: int) -> bool:
    """Whether the states that the second starts from are known before the first runs."""
    return all(made.get(str(value), -1) < place for port, value in _ports(second).items() if port not in ("x", "mask"))
