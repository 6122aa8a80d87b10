"""Reduce, Total, Pool, Causal."""

from __future__ import annotations

from collections.abc import Sequence

from lstmcore.interop.onnx.graph import Graph
from lstmcore.interop.onnx.library import onnx
from lstmcore.interop.onnx.site import Site
from lstmcore.interop.onnx.writers.linear import padding


def reduce(site: Site) -> tuple[str, ...]:
    op, graph = site.op, site.graph
    if op.function in ("any", "all"):
        y = graph.op("Cast", site.x, to=onnx().TensorProto.INT32)
        y = _reduced(graph, "max" if op.function == "any" else "min", y, op.axes, op.keepdims)
        return (graph.op("Cast", y, to=onnx().TensorProto.BOOL),)
    return (_reduced(graph, op.function, site.x, op.axes, op.keepdims),)


def _reduced(graph: Graph, function: str, x: str, axes: Sequence[int], keepdims: bool) -> str:
    if not axes:
        return x
    if function == "sum":
        return graph.op("ReduceSum", x, graph.whole(list(axes)), keepdims=int(keepdims))
    kind = {"mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}[function]
    return graph.op(kind, x, axes=list(axes), keepdims=int(keepdims))


def total(site: Site) -> tuple[str, ...]:
    axes = range(len(site.tensor.shape) - site.op.kept)
    return (_reduced(site.graph, site.op.function, site.x, axes, False),)


def pool(site: Site) -> tuple[str, ...]:
    op, graph = site.op, site.graph
    x = graph.transpose(site.x, (0, 2, 1))
    shape = {"kernel_shape": [op.size], "strides": [op.strides]}
    time = site.tensor.shape[1]
    if op.padding == "same" and time is None and op.strides > 1:
        y = graph.op(_POOLS[op.function], x, auto_pad="SAME_UPPER", **shape)
    else:
        _, pads = padding(graph, x, time, op.size, op.strides, 1, op.padding)
        y = graph.op(_POOLS[op.function], x, pads=pads, **shape)
    return (graph.transpose(y, (0, 2, 1)),)


_POOLS = {"max": "MaxPool", "mean": "AveragePool"}


def causal(site: Site) -> tuple[str, ...]:
    graph, types = site.graph, onnx().TensorProto
    ones = graph.op(
        "ConstantOfShape", graph.shape(site.lengths()), value=onnx().helper.make_tensor("", types.FLOAT, [1], [1.0])
    )
    return (graph.op("Cast", graph.op("Trilu", ones, upper=0), to=types.BOOL),)
