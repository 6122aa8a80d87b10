"""Reshape, Transpose, Reverse, Last, Concat, Slice, Pad, Repeat, Fold, Unfold."""

from __future__ import annotations

import numpy as np

from lstmcore.interop.onnx.graph import Length
from lstmcore.interop.onnx.site import Site


def reshape(site: Site) -> tuple[str, ...]:
    return (site.graph.reshape(site.x, [0, *site.op.shape]),)


def transpose(site: Site) -> tuple[str, ...]:
    return (site.graph.transpose(site.x, site.op.axes),)


def reverse(site: Site) -> tuple[str, ...]:
    return (site.graph.reverse(site.x),)


def last(site: Site) -> tuple[str, ...]:
    return (site.graph.op("Gather", site.x, site.graph.whole(-1), axis=1),)


def concat(site: Site) -> tuple[str, ...]:
    return (site.graph.op("Concat", *site.inputs, axis=site.op.axis),)


def slice_(site: Site) -> tuple[str, ...]:
    op, graph = site.op, site.graph
    stop = int(np.iinfo(np.int64).max) if op.stop is None else op.stop
    return (graph.op("Slice", site.x, *(graph.whole([k]) for k in (op.start, stop, op.axis))),)


def pad(site: Site) -> tuple[str, ...]:
    op, graph, rank = site.op, site.graph, len(site.tensor.shape)
    pads = [0] * (2 * rank)
    pads[op.axis], pads[rank + op.axis] = op.before, op.after
    return (graph.op("Pad", site.x, graph.whole(pads)),)


def repeat(site: Site) -> tuple[str, ...]:
    op, graph, rank = site.op, site.graph, len(site.tensor.shape)
    wide = graph.axes("Unsqueeze", site.x, [op.axis + 1])
    counts = [op.times if axis == op.axis + 1 else 1 for axis in range(rank + 1)]
    lengths = site.lengths()
    target: list[Length] = [*lengths[: op.axis], -1, *lengths[op.axis + 1 :]]
    return (graph.reshape(graph.op("Expand", wide, graph.whole(counts)), target),)


def fold(site: Site) -> tuple[str, ...]:
    return (site.graph.reshape(site.x, [-1, *site.lengths()[2:]]),)


def unfold(site: Site) -> tuple[str, ...]:
    return (site.graph.reshape(site.x, [*site.lengths(1)[:2], *site.lengths()[1:]]),)
