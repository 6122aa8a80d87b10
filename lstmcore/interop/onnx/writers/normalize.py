"""BatchNormalize and LayerNormalize."""

from __future__ import annotations

import numpy as np

from lstmcore.interop.onnx.site import Site


def batch_normalize(site: Site) -> tuple[str, ...]:
    op, graph, rank = site.op, site.graph, len(site.tensor.shape)
    features = site.weights.arrays[site.node.weights["moving_mean"]].shape
    gamma = site.weight("gamma") if op.scale else graph.constant(np.ones(features), graph.dtype)
    beta = site.weight("beta") if op.center else graph.constant(np.zeros(features), graph.dtype)
    statistics = site.weight("moving_mean"), site.weight("moving_variance")
    if not graph.holds(op.epsilon):
        deviation = graph.op("Sqrt", graph.op("Add", statistics[1], graph.number(op.epsilon)))
        y = graph.op("Mul", graph.op("Sub", site.x, statistics[0]), graph.op("Div", gamma, deviation))
        return (graph.op("Add", y, beta),)
    if rank == 2:
        return (graph.op("BatchNormalization", site.x, gamma, beta, *statistics, epsilon=float(op.epsilon)),)
    there = (0, rank - 1, *range(1, rank - 1))  # ONNX normalizes along axis 1
    back = (0, *range(2, rank), 1)
    x = graph.transpose(site.x, there)
    return (
        graph.transpose(graph.op("BatchNormalization", x, gamma, beta, *statistics, epsilon=float(op.epsilon)), back),
    )


def layer_normalize(site: Site) -> tuple[str, ...]:
    op, graph, rank = site.op, site.graph, len(site.tensor.shape)
    lengths = tuple(site.tensor.shape[axis] for axis in op.axes)
    last = op.axes == tuple(range(rank - len(lengths), rank))
    if last and graph.holds(op.epsilon) and (op.scale or None not in lengths):
        gamma = site.weight("gamma") if op.scale else graph.constant(np.ones(lengths), graph.dtype)
        beta = site.weight("beta") if op.center else None
        return (graph.op("LayerNormalization", site.x, gamma, beta, axis=op.axes[0], epsilon=float(op.epsilon)),)
    broad = [int(site.tensor.shape[axis] or 1) if axis in op.axes else 1 for axis in range(rank)]
    x = graph.op("Sub", site.x, graph.op("ReduceMean", site.x, axes=list(op.axes), keepdims=1))
    variance = graph.op("ReduceMean", graph.op("Mul", x, x), axes=list(op.axes), keepdims=1)
    y = graph.op("Div", x, graph.op("Sqrt", graph.op("Add", variance, graph.number(op.epsilon))))
    if op.scale:
        y = graph.op("Mul", y, graph.reshape(site.weight("gamma"), broad))
    if op.center:
        y = graph.op("Add", y, graph.reshape(site.weight("beta"), broad))
    return (y,)
