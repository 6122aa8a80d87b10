"""Affine, Embed, Einsum, Conv."""

from __future__ import annotations

from lstmcore.interop.onnx.graph import Graph
from lstmcore.interop.onnx.site import Site
from lstmcore.ops.windows import windows


def affine(site: Site) -> tuple[str, ...]:
    y = site.graph.op("MatMul", site.x, site.weight("kernel"))
    return (site.graph.op("Add", y, site.weight("bias")) if site.op.use_bias else y,)


def embed(site: Site) -> tuple[str, ...]:
    return (site.graph.op("Gather", site.weight("embeddings"), site.x, axis=0),)


def einsum(site: Site) -> tuple[str, ...]:
    return (site.graph.op("Einsum", site.x, site.at(1), equation=site.op.equation),)


def conv(site: Site) -> tuple[str, ...]:
    op, graph = site.op, site.graph
    x = graph.transpose(site.x, (0, 2, 1))
    attributes = {"strides": [op.strides], "dilations": [op.dilation], "group": op.groups, "kernel_shape": [op.size]}
    padded, pads = padding(graph, x, site.tensor.shape[1], op.size, op.strides, op.dilation, op.padding)
    kernel = graph.op("Transpose", site.weight("kernel"), perm=[2, 1, 0])
    bias = site.weight("bias") if op.use_bias else None
    return (graph.transpose(graph.op("Conv", padded, kernel, bias, pads=pads, **attributes), (0, 2, 1)),)


def padding(
    graph: Graph, x: str, time: int | None, size: int, strides: int, dilation: int, kind: str
) -> tuple[str, list[int]]:
    """x (batch, channels, time), and the pads of a Conv or a pool over it.

    Where the padding depends on a length that is not known, x comes padded, and the pads are zero.
    """
    reach = dilation * (size - 1) + 1
    if kind == "valid":
        return x, [0, 0]
    if kind == "causal":
        return x, [reach - 1, 0]
    if time is not None:
        _, left, right = windows(time, size, strides, dilation, kind)
        return x, [left, right]
    if strides == 1:
        return x, [(reach - 1) // 2, reach - 1 - (reach - 1) // 2]
    return padded_to_fit(graph, x, reach, strides), [0, 0]


def padded_to_fit(graph: Graph, x: str, reach: int, strides: int) -> str:
    """missing = max((⌈T / strides⌉ - 1) strides + reach - T, 0) zeros, the smaller half of them before."""
    time = graph.op("Shape", x, start=2, end=3)
    whole = graph.whole
    steps = graph.op("Div", graph.op("Add", time, whole([strides - 1])), whole([strides]))
    spanned = graph.op("Add", graph.op("Mul", graph.op("Sub", steps, whole([1])), whole([strides])), whole([reach]))
    missing = graph.op("Max", graph.op("Sub", spanned, time), whole([0]))
    left = graph.op("Div", missing, whole([2]))
    right = graph.op("Sub", missing, left)
    return graph.op("Pad", x, graph.op("Concat", whole([0, 0]), left, whole([0, 0]), right, axis=0))
