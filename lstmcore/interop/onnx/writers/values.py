"""Constant, Parameter, Zeros, OneHot."""

from __future__ import annotations

import numpy as np

from lstmcore.interop.onnx.site import Site


def constant(site: Site) -> tuple[str, ...]:
    array = np.array(site.op.values).reshape(site.op.shape)
    return (site.graph.constant(array, site.graph.dtype),)


def parameter(site: Site) -> tuple[str, ...]:
    return (site.weight("value"),)


def zeros(site: Site) -> tuple[str, ...]:
    return (site.graph.zeros([site.lengths()[0], *site.op.shape]),)


def one_hot(site: Site) -> tuple[str, ...]:
    # ONNX's OneHot counts negative ids from the end; ours gives zeros.
    graph = site.graph
    ids = graph.axes("Unsqueeze", site.x, [-1])
    same = graph.op("Equal", ids, graph.constant(np.arange(site.op.depth), np.int32))
    return (graph.op("Cast", same, to=graph.element("float")),)
