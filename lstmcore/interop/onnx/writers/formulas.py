"""Lstm, Gru, SimpleRnn with functions that ONNX's recurrent nodes have no names for: their formulas in a Scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lstmcore import ops
from lstmcore.activations import ALONG_AXIS, Function
from lstmcore.interop.onnx.graph import Graph
from lstmcore.interop.onnx.site import Site
from lstmcore.interop.onnx.writers import functions
from lstmcore.interop.onnx.writers.scan import Loop
from lstmcore.ops import Recurrent, Tensor


def write(site: Site) -> tuple[str, ...]:
    """The recurrence step by step; what does not depend on the state is computed before, for all steps at once."""
    op, graph = site.op, site.graph
    bias = site.weight("bias") if op.use_bias else None
    beside_state = None
    if bias is not None and isinstance(op, ops.Gru) and op.reset_after:
        beside_state = graph.op("Gather", bias, graph.whole(1), axis=0)
        bias = graph.op("Gather", bias, graph.whole(0), axis=0)
    z = graph.op("MatMul", site.x, site.weight("kernel"))
    z = z if bias is None else graph.op("Add", z, bias)
    kernel = site.weight("recurrent_kernel")

    def step(inner: Graph, now: str, states: list[str]) -> tuple[str, list[str]]:
        after = _STEPS[type(op)](_Step(inner, op, kernel, beside_state), now, *states)
        return after[0], list(after)

    batch = site.tensor.shape[0]
    unit = Tensor((batch, op.units))
    wide = Tensor((batch, site.tensor.shape[1], len(op.gates) * op.units))
    return Loop(site, z, wide, [unit] * len(op.states), unit, step).write()


class _Step:
    """One step of an op in a graph of its own."""

    def __init__(self, graph: Graph, op: Recurrent, kernel: str, bias: str | None) -> None:
        self.graph, self.op, self.kernel, self.bias = graph, op, kernel, bias

    def parts(self, z: str, count: int) -> tuple[str, ...]:
        lengths = self.graph.whole([self.op.units] * count)
        return self.graph.ops("Split", count, z, lengths, axis=1)

    def state(self, h: str, kernel: str | None = None) -> str:
        return self.graph.op("MatMul", h, kernel or self.kernel)

    def function(self, name: str, x: str) -> str:
        function: Function = getattr(self.op, name)
        if function.name in ALONG_AXIS:
            function = Function(function.name)  # along the units, the last axis
        return functions.write(self.graph, function, x, Tensor((None, self.op.units)))

    def add(self, a: str, b: str | None) -> str:
        return a if b is None else self.graph.op("Add", a, b)

    def multiply(self, a: str, b: str) -> str:
        return self.graph.op("Mul", a, b)


def _lstm(s: _Step, z: str, h: str, c: str) -> tuple[str, ...]:
    i, f, g, o = s.parts(s.add(z, s.state(h)), 4)
    i, f, o = (s.function("recurrent_activation", part) for part in (i, f, o))
    kept = s.multiply(f, c)
    c = s.add(kept, s.multiply(i, s.function("activation", g)))
    return s.multiply(o, s.function("activation", c)), c


def _gru(s: _Step, z: str, h: str) -> tuple[str, ...]:
    of_x = s.parts(z, 3)
    if s.op.reset_after:  # type: ignore[attr-defined]  # it is a Gru
        of_h = s.parts(s.add(s.state(h), s.bias), 3)
    else:
        kernels = s.graph.ops("Split", 3, s.kernel, s.graph.whole([s.op.units] * 3), axis=1)
        of_h = (s.state(h, kernels[0]), s.state(h, kernels[1]), kernels[2])
    update, reset = (s.function("recurrent_activation", s.add(of_x[k], of_h[k])) for k in (0, 1))
    if s.op.reset_after:  # type: ignore[attr-defined]
        inner = s.multiply(reset, of_h[2])
    else:
        inner = s.state(s.multiply(reset, h), of_h[2])
    candidate = s.function("activation", s.add(of_x[2], inner))
    rest = s.graph.op("Sub", s.graph.number(1.0), update)
    return (s.add(s.multiply(update, h), s.multiply(rest, candidate)),)


def _simple_rnn(s: _Step, z: str, h: str) -> tuple[str, ...]:
    return (s.function("activation", s.add(z, s.state(h))),)


_STEPS: Mapping[type[Recurrent], Callable[..., tuple[str, ...]]] = MappingProxyType(
    {ops.Lstm: _lstm, ops.Gru: _gru, ops.SimpleRnn: _simple_rnn}
)
