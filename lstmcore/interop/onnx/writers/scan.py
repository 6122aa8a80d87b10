"""Scan: a cell over time, under the masked-step rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lstmcore.interop.onnx.graph import Graph
from lstmcore.interop.onnx.library import onnx
from lstmcore.interop.onnx.site import Site
from lstmcore.ops import Tensor

Step = Callable[[Graph, str, list[str]], tuple[str, list[str]]]


def write(site: Site) -> tuple[str, ...]:
    """The op's body, written by the same writers."""
    from lstmcore.interop.onnx.program import write_nodes

    body = site.op.body
    values = body.values

    def step(inner: Graph, x: str, states: list[str]) -> tuple[str, list[str]]:
        known = dict(zip(body.inputs, (x, *states), strict=True))
        paths = {own: site.node.weights[own] for own in body.weights}
        made = write_nodes(inner, body, site.weights, known, frozenset(), paths)
        y, *after = (made[name] for name in body.outputs)
        return y, after

    batch = site.tensor.shape[0]
    states = [Tensor((batch, *values[name].shape[1:])) for name in body.inputs[1:]]
    y = Tensor((batch, *values[body.outputs[0]].shape[1:]))
    return Loop(site, site.x, site.tensor, states, y, step).write()


@dataclass(frozen=True)
class Loop:
    """An ONNX Scan of ``step(graph, x_t, states) -> y_t, next states`` over x (batch, time, ...).

    ``site`` gives the initial states, the mask and what y is before the first step that counts. ``states`` and ``y``
    are what is known of them at one step.
    """

    site: Site
    x: str
    tensor: Tensor
    states: Sequence[Tensor]
    y: Tensor
    step: Step

    def write(self) -> tuple[str, ...]:
        """y (batch, time, ...), and the states after the last step."""
        site, graph = self.site, self.site.graph
        mask = site.inputs[site.port("mask")]
        holds = mask is not None and not site.op.zero_output_for_mask
        initial = [site.at(1 + k) for k in range(len(self.states))]
        if holds:
            previous = site.inputs[site.port("previous")]
            initial.append(previous or graph.zeros([site.lengths()[0], *self.y.shape[1:]]))  # type: ignore[list-item]
        scanned = [self.x] if mask is None else [self.x, mask]
        body = self._body(mask is not None, holds)
        *after, y = graph.ops(
            "Scan",
            len(initial) + 1,
            *initial,
            *scanned,
            body=body,
            num_scan_inputs=len(scanned),
            scan_input_axes=[1] * len(scanned),
            scan_output_axes=[1],
        )
        return (y, *after[: len(self.states)])

    def _body(self, masked: bool, holds: bool) -> object:
        inner = self.site.graph.inner()
        x_t = Tensor((self.tensor.shape[0], *self.tensor.shape[2:]), self.tensor.kind)
        states = [self._declared(inner, f"state_{k}", tensor) for k, tensor in enumerate(self.states)]
        held = [self._declared(inner, "held", self.y)] if holds else []
        x = self._declared(inner, "x", x_t)
        mask = [self._declared(inner, "mask", Tensor((self.tensor.shape[0],), "bool"))] if masked else []
        y, after = self.step(inner, x[0], [name for name, _ in states])
        if masked:
            y, after = self._masked(inner, mask[0][0], y, after, [n for n, _ in states], held[0][0] if held else None)
        made = [*after, *([y] if holds else []), y]
        kinds = [*self.states, *([self.y] if holds else []), self.y]
        outputs = [self._output(inner, name, tensor) for name, tensor in zip(made, kinds, strict=True)]
        inner.prune([name for name, _ in outputs])
        inputs = [*states, *held, x, *mask]
        return onnx().helper.make_graph(
            inner.nodes, inner.name("step"), [info for _, info in inputs], [info for _, info in outputs]
        )

    def _masked(
        self, graph: Graph, mask: str, y: str, after: list[str], before: list[str], held: str | None
    ) -> tuple[str, list[str]]:
        ranks = {len(tensor.shape) for tensor in (*self.states, self.y)}
        valid = {r: graph.axes("Unsqueeze", mask, range(1, r)) if r > 1 else mask for r in sorted(ranks)}
        states = [
            graph.op("Where", valid[len(tensor.shape)], new, old)
            for tensor, new, old in zip(self.states, after, before, strict=True)
        ]
        return graph.op("Where", valid[len(self.y.shape)], y, held or graph.number(0.0)), states

    def _declared(self, graph: Graph, word: str, tensor: Tensor) -> tuple[str, object]:
        name = graph.name(f"{graph.scope}/{word}")
        return name, onnx().helper.make_tensor_value_info(name, graph.element(tensor.kind), list(tensor.shape))

    def _output(self, graph: Graph, value: str, tensor: Tensor) -> tuple[str, object]:
        """A name of its own for each output of the body: ONNX wants each to be made within."""
        name = graph.op("Identity", value)
        return name, onnx().helper.make_tensor_value_info(name, graph.element(tensor.kind), list(tensor.shape))
