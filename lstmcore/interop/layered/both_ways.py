"""Two recurrent nodes, one of which reads backwards, as one `Bidirectional`."""

from __future__ import annotations

from typing import Any

from lstmcore import layers, ops
from lstmcore.interop.layered.site import Site
from lstmcore.program import Node


def both_ways(site: Site, kinds: Any) -> list[Any] | None:
    """What a `Concat` of both directions is as one layer; None where it is another.

    ``kinds``: the layer of each recurrent op. Both begin at zero, without a mask, and nothing reads their last states.
    """
    forward, backward = _forward(site), _backward(site)
    if forward is None or backward is None or forward.op != backward.op or site.op.axis != 2:
        return None
    turned = site.lifting.makers.get(str(backward.inputs[0]))
    if turned is None or not isinstance(turned.op, ops.Reverse) or turned.inputs[0] != forward.inputs[0]:
        return None
    layer = site.make(layers.Bidirectional, kinds(forward.op))
    made = layer(site.lifting.tensors[str(forward.inputs[0])])
    for half, node in ((layer.layer, forward), (layer.backward_layer, backward)):
        site.lifting.weights.append((half, site.lifting.arrays(node)))
    return [made]


def _forward(site: Site) -> Node | None:
    return _plain(site, site.lifting.makers.get(str(site.node.inputs[0]))) if site.op.count == 2 else None


def _backward(site: Site) -> Node | None:
    turned = site.lifting.makers.get(str(site.node.inputs[1])) if site.op.count == 2 else None
    if turned is None or not isinstance(turned.op, ops.Reverse):
        return None
    return _plain(site, site.lifting.makers.get(str(turned.inputs[0])))


def _plain(site: Site, node: Node | None) -> Node | None:
    """The node, if it is recurrent, begins at zero, and its outputs alone are read, by one node."""
    if node is None or not isinstance(node.op, ops.Recurrent):
        return None
    of_node = Site(site.lifting, node, {})
    given = [of_node.state(port) for port in (*node.op.states, "mask", "previous")]
    read = site.lifting.read
    alone = read[node.outputs[0]] == 1 and not any(read[name] for name in node.outputs[1:])
    return node if alone and all(value is None for value in given) else None
